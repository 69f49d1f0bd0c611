"""Soft distillation on the supervised loop: a batch's tokens are joined by what the teacher says at each of them.

The teacher scores the next batch while the student trains on the present one. Hard distillation is rejection sampling
followed by the same loop without a teacher; on-policy distillation is the GRPO loop with the reverse KL as advantage.
"""

from dataclasses import replace

from configs.divergence import Divergence
from data.records import Batch
from trainers.ports import Teacher
from trainers.sft import Enrich


def teach(teacher: Teacher, divergence: Divergence) -> Enrich:
    """What completes a supervised batch: the teacher's top tokens, and the objective that follows them."""

    async def enrich(batch: Batch) -> Batch:
        tops = await teacher.top_tokens(batch.sequences, divergence.top_k, divergence.temperature)
        sequences = tuple(replace(s, teacher=top) for s, top in zip(batch.sequences, tops, strict=True))
        return replace(batch, sequences=sequences, objective="distillation", divergence=divergence)

    return enrich
