"""`rayzero train` with `method: rejection`: engines that serve a folder, rewards, and no learner."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from actors.scratch_policy import write_scratch_policy
from cli.prepare import Prepared
from cli.recorder import Recorder
from cli.sampling import Sampler, Teacher, open_sampler, open_teacher
from cli.stop import StopRequest
from configs.policy import ScratchPolicy
from configs.run import RejectionRun
from data.store import RolloutStore
from trainers.checkpoints import MANIFEST
from trainers.rejection import Lineage, RejectionLoop, RejectionResult
from trainers.ungraded import UngradedRewards


async def run_rejection(prepared: Prepared, run: RejectionRun, recorder: Recorder, stop: StopRequest) -> dict[str, Any]:
    """The whole run, from the engines' start to the figures of summary.json."""
    result = await sample_rows_of(prepared, run, recorder, stop, resume_from=prepared.resume_from)
    return result.summary()


async def sample_rows_of(
    prepared: Prepared, run: RejectionRun, recorder: Recorder, stop: StopRequest, *, resume_from: Path | None
) -> RejectionResult:
    """Start engines and rewards, sample into the run's folder, end them."""
    assert prepared.prompts is not None
    if run.teacher is None and isinstance(run.policy, ScratchPolicy) and not prepared.model.exists():
        await asyncio.to_thread(write_scratch_policy, run.policy, prepared.model, run.seed)
    async with _sampler(prepared, run) as (sampler, lineage):
        loop = RejectionLoop(
            run.rejection,
            run.rollout,
            run.rewards,
            seed=run.seed,
            prompts=prepared.prompts,
            fleet=sampler.fleet,
            service=sampler.rewards or UngradedRewards(),
            tracker=recorder,
            store=RolloutStore(prepared.folder / "rollouts"),
            folder=prepared.folder,
            lineage=lineage,
            shown_rows=run.tracking.sample_rows,
            announce=recorder.stage,
        )
        if resume_from is not None:
            recorder.stage(f"resuming from {resume_from.name}")
            loop.resume(resume_from)
        stop.watch(loop)
        recorder.gauges = sampler.gauges
        result = await loop.run()
        recorder.gauges = dict[str, float]
        return result


@contextlib.asynccontextmanager
async def _sampler(prepared: Prepared, run: RejectionRun) -> AsyncIterator[tuple[Sampler | Teacher, Lineage]]:
    """What samples, and which weights these are: the run's policy on engines of its own, or a teacher's endpoint."""
    if run.teacher is not None:
        limit = run.rollout.max_completion_tokens
        async with open_teacher(run.teacher, prepared.tokenizer, run.rewards, limit, prepared.folder) as teacher:
            yield teacher, Lineage(teacher.fleet.name, 0)
        return
    lineage = Lineage(str(prepared.model), version_of(prepared.model))
    async with open_sampler(
        prepared.model,
        dtype=run.policy.dtype,
        max_model_len=run.policy.max_model_len,
        rollout=run.rollout,
        rewards=run.rewards,
        folder=prepared.folder,
        version=lineage.version,
    ) as sampler:
        yield sampler, lineage


def version_of(model: Path) -> int:
    """Optimizer steps in the weights of a checkpoint's `policy` folder, by its manifest; 0 for any other folder."""
    try:
        return int(json.loads((model.parent / MANIFEST).read_text(encoding="utf-8"))["version"])
    except (OSError, ValueError, KeyError):
        return 0
