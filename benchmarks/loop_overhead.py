"""What the loop itself costs per group: the real GRPO loop on ports that answer at once."""

import asyncio
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rows import Row
from data.records import (
    Batch,
    Completion,
    Group,
    GroupRequest,
    Sampling,
    ScoredGroup,
    StepReport,
    SyncReport,
    Verdict,
)
from tests.trainers.fakes import World, make_loop, make_prompt, make_run

GROUP_SIZE = 8
COMPLETION_TOKENS = 40
ROUNDS = 3


class InstantWorld(World):
    """Every port answers in the next turn of the event loop and keeps nothing."""

    async def train(self, batch: Batch) -> StepReport:
        await asyncio.sleep(0)
        self.version += 1
        return StepReport(self.version, False, {"train/loss": 0.0}, 0.0)

    async def publish(self, version: int) -> SyncReport:
        self.serving = version
        return SyncReport(version, 1, 0.0, 0.0, 0, None)

    async def generate(self, request: GroupRequest) -> Group:
        await asyncio.sleep(0)
        generator = np.random.default_rng(request.seed)
        tokens = generator.integers(0, 60, (request.group_size, COMPLETION_TOKENS), dtype=np.int32)
        logprobs_T = np.full(COMPLETION_TOKENS, -0.5, np.float32)
        versions_T = np.full(COMPLETION_TOKENS, self.serving, np.int32)
        completions = tuple(
            Completion(ids_T, logprobs_T, versions_T, "x" * COMPLETION_TOKENS, "stop") for ids_T in tokens
        )
        return Group(request.group_id, request.prompt, completions, "worker-0", 0.1)

    async def score(self, group: Group) -> ScoredGroup:
        await asyncio.sleep(0)
        verdicts = tuple(
            Verdict("ok", float(i % 2), bool(i % 2), {"exact_number": float(i % 2), "format": 1.0})
            for i in range(len(group.completions))
        )
        return ScoredGroup(group, verdicts, 0.0, 0.0)

    def log_step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Keeps nothing."""

    def log_samples(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keeps nothing."""

    def write(self, step: int, groups: Sequence[ScoredGroup], *, advantages: Mapping[int, Any], kind: str) -> None:
        """Keeps nothing."""


def run_loop(prompts_per_step: int, steps: int) -> tuple[float, float]:
    """Wall and processor milliseconds per group."""
    run = make_run(
        prompts_per_step=prompts_per_step,
        steps=steps,
        rollout={"group_size": GROUP_SIZE, "max_completion_tokens": 64},
        algorithm__staleness__max_staleness=2,
    )
    with tempfile.TemporaryDirectory() as folder:
        loop = make_loop(InstantWorld(), run, Path(folder))
        wall, processor = time.perf_counter(), time.process_time()
        asyncio.run(loop.run())
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
    groups = prompts_per_step * steps
    return wall / groups * 1e3, processor / groups * 1e3


def run_ports(groups: int) -> float:
    """Processor milliseconds per group of the fakes alone."""

    async def ask() -> None:
        world = InstantWorld()
        for i in range(groups):
            await world.score(await world.generate(GroupRequest(i, make_prompt(i), GROUP_SIZE, Sampling(1.0, 64), i)))

    start = time.process_time()
    asyncio.run(ask())
    return (time.process_time() - start) / groups * 1e3


def measure(quick: bool) -> list[Row]:
    """Groups of 8 completions of 40 tokens, at two sizes of step."""
    rows: list[Row] = []
    for prompts_per_step, steps in ((16, 20 if quick else 100), (512, 1 if quick else 5)):
        fakes = min(run_ports(prompts_per_step * steps) for _ in range(ROUNDS))
        rounds = [run_loop(prompts_per_step, steps) for _ in range(ROUNDS)]
        step = f"per group, {prompts_per_step} groups a step"
        rows.append(Row(f"loop, wall time {step}", min(wall for wall, _ in rounds), "ms"))
        processor = min(processor for _, processor in rounds) - fakes
        rows.append(Row(f"loop, processor time {step}, fakes deducted", processor, "ms"))
    return rows
