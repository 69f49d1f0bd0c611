"""Learner throughput: LearnerGroup (Ray, DeepSpeed, one rank) against a bare PyTorch loop on the same sequences.

Ours includes everything that a step costs the loop: planning, the way of the batch to the rank, packing, statistics.
The bare loop has its micro-batches packed before the clock starts. Both clip the gradient and use fused AdamW, on one
thread.
"""

import asyncio
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.processes import in_fresh_process, local_ray
from benchmarks.rows import Row
from configs.algorithm import Algorithm
from configs.engines import Learner
from configs.policy import ScratchPolicy
from configs.prompts import AdamW
from data.records import Batch, Sequence

LEARNER = Learner(ranks=1, tokens_per_microbatch=8192)
OPTIMIZER = AdamW(learning_rate=1e-4)
TARGET = 0.8
POLICIES = {
    "demo policy": ScratchPolicy(vocabulary="characters"),
    "wider policy": ScratchPolicy(
        vocabulary="characters", hidden_size=256, layers=6, heads=8, kv_heads=4, mlp_size=768, max_model_len=256
    ),
}
SEQUENCES = {"demo policy": 128, "wider policy": 64}
WARM_UP = 2


def make_batch(sequences: int, longest: int) -> Batch:
    """Prompts of 9 tokens, responses of `longest` / 2 to `longest`."""
    generator = np.random.default_rng(0)
    made: list[Sequence] = []
    for _ in range(sequences):
        tokens = int(generator.integers(longest // 2, longest))
        made.append(
            Sequence(
                generator.integers(7, 60, 9).astype(np.int32),
                generator.integers(7, 60, tokens).astype(np.int32),
                np.full(tokens, 1 / (sequences * longest), np.float32),
                advantage=float(generator.normal()),
                behaviour_logprobs=np.full(tokens, -4.0, np.float32),
            )
        )
    return Batch(0, tuple(made), "policy", 1.0)


def bare_step_s(folder: str, batch: Batch, rounds: int) -> float:
    """Seconds of the fastest step of a plain training loop, in a process of its own."""
    from torch import set_num_threads
    from torch.nn.utils import clip_grad_norm_
    from torch.optim import AdamW as TorchAdamW

    from actors.policy_module import load_policy
    from algorithms.losses import policy_loss
    from data.packing import pack, plan_microbatches

    set_num_threads(1)
    module = load_policy(folder, dtype="float32", chunk_tokens=LEARNER.logits_chunk_tokens)
    optimizer = TorchAdamW(
        module.parameters(),
        lr=OPTIMIZER.learning_rate,
        betas=OPTIMIZER.betas,
        eps=OPTIMIZER.eps,
        weight_decay=OPTIMIZER.weight_decay,
        fused=True,
    )
    plan = plan_microbatches([s.num_tokens for s in batch.sequences], LEARNER.tokens_per_microbatch, 1)[0]
    microbatches = [pack([batch.sequences[i] for i in indices]) for indices in plan]
    times: list[float] = []
    for _ in range(WARM_UP + rounds):
        start = time.perf_counter()
        for packed in microbatches:
            assert packed.behaviour_logprobs_R is not None
            output = policy_loss(
                Algorithm(),
                logprobs_R=module(packed, batch.temperature),
                behaviour_R=packed.behaviour_logprobs_R,
                advantages_R=packed.advantages_R,
                weights_R=packed.weights_R,
                segment_R=packed.segment_R,
            )
            output.loss.backward()
        clip_grad_norm_(module.parameters(), LEARNER.gradient_clip)
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - start)
    return min(times[WARM_UP:])


async def our_step_s(folder: Path, batch: Batch, rounds: int) -> float:
    """Seconds of the fastest step as the loop sees it."""
    from actors.learner_group import LearnerGroup

    group = await LearnerGroup.start(
        model=str(folder), dtype="float32", learner=LEARNER, algorithm=Algorithm(), seed=0, run_folder=folder / "run"
    )
    try:
        await group.begin(OPTIMIZER)
        times: list[float] = []
        for _ in range(WARM_UP + rounds):
            start = time.perf_counter()
            report = await group.train(batch)
            times.append(time.perf_counter() - start)
            if report.skipped:
                raise RuntimeError("a step was skipped: its gradient was not finite, so its time means nothing")
        return min(times[WARM_UP:])
    finally:
        await group.close()


def measure(quick: bool) -> list[Row]:
    """Tokens (prompt and response) per second of one rank; the quick form takes the demo's policy alone."""
    from actors.scratch_policy import write_scratch_policy

    rows: list[Row] = []
    rounds = 4 if quick else 8
    with local_ray():
        for name in list(POLICIES)[: 1 if quick else None]:
            policy = POLICIES[name]
            batch = make_batch(SEQUENCES[name], policy.max_model_len // 2)
            tokens = sum(sequence.num_tokens for sequence in batch.sequences)
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch)
                write_scratch_policy(policy, folder, seed=0)
                environment = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
                bare = in_fresh_process(bare_step_s, environment, str(folder), batch, rounds)
                ours = asyncio.run(our_step_s(folder, batch, rounds))
            rows.append(Row(f"learner, {name}", tokens / ours, "tokens/s", "bare PyTorch loop", tokens / bare, TARGET))
    return rows
