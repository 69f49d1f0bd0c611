"""What sampling ahead gives: the real loop, engines and learner with `max_staleness: 2` against the same with 0.

The lengths have a long tail, as those of reasoning models have: each group's limit is drawn from a lognormal, the same
draw for the same group on both sides, and the policy is untrained, so that an end of sequence is as rare as one symbol
in 128. With 0 the engine drains while the last long answers of a step are sampled, and learner and engine take turns;
with 2 it always has work, and both run side by side, one core each. Processes are the same for both sides.

The rows below the ratio are the arithmetic: seconds of a step that each side needs when it has the other's result at
hand, and the ratio if they only overlapped, without filling the engine: (g + t) / max(g, t).
"""

import asyncio
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.processes import local_ray
from benchmarks.rows import Row
from configs.load import parse_run
from configs.run import GrpoRun
from data.records import Group, GroupRequest
from data.store import RolloutStore

PROMPTS_PER_STEP, GROUP_SIZE = 8, 8
LONGEST = 240
MEDIAN, SIGMA = 40.0, 1.0  # of the lognormal, in tokens
WARM_UP, TAIL = 3, 3
TARGET = 1.5


def make_run(folder: Path, max_staleness: int, steps: int) -> GrpoRun:
    """One rollout worker and one rank, a core each."""
    tree: dict[str, Any] = {
        "method": "grpo",
        "name": f"staleness-{max_staleness}",
        "runs_folder": str(folder),
        "policy": {"type": "scratch", "vocabulary": "countdown", "max_model_len": 256},
        "prompts": {"type": "countdown"},
        "prompts_per_step": PROMPTS_PER_STEP,
        "steps": steps,
        "optimizer": {"type": "adamw", "learning_rate": 1e-5},
        "rollout": {"group_size": GROUP_SIZE, "max_completion_tokens": LONGEST, "kv_cache_gib": 1, "eager": True},
        "rewards": {"parts": [{"type": "countdown"}]},
        "algorithm": {"staleness": {"max_staleness": max_staleness}},
        "weight_transfer": {"backend": "host"},
        "cluster": {"cpus": 2},
    }
    run = parse_run(tree)
    assert isinstance(run, GrpoRun)
    return run


class LongTailed:
    """A fleet whose groups have limits of their own, each a function of the group's seed."""

    def __init__(self, fleet: Any) -> None:
        self._fleet = fleet

    async def generate(self, request: GroupRequest) -> Group:
        """Samples the group up to its own limit."""
        drawn = np.random.default_rng(request.group_id).lognormal(np.log(MEDIAN), SIGMA)
        sampling = replace(request.sampling, max_completion_tokens=int(np.clip(drawn, 4, LONGEST)))
        return await self._fleet.generate(replace(request, sampling=sampling))


@dataclass(slots=True)
class Times:
    """Tracker that keeps when each step ended, and its metrics."""

    ends: list[float] = field(default_factory=list[float])
    metrics: list[dict[str, float]] = field(default_factory=list[dict[str, float]])

    def log_step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Keeps it."""
        self.ends.append(time.perf_counter())
        self.metrics.append(dict(metrics))

    def log_samples(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keeps nothing."""

    @property
    def samples_per_s(self) -> float:
        """Without the first steps, which warm up, and the last, for which nothing is sampled ahead."""
        measured = len(self.ends) - WARM_UP - TAIL
        return measured * PROMPTS_PER_STEP * GROUP_SIZE / (self.ends[-TAIL - 1] - self.ends[WARM_UP - 1])

    def seconds(self, share: str) -> float:
        """Mean per step that the clock gives to a share."""
        rows = self.metrics[WARM_UP:-TAIL]
        return float(np.mean([row[f"time/{share}_share"] * row["time/step_s"] for row in rows]))


async def run_loop(session: Any, run: GrpoRun, prepared: Any) -> Times:
    """One whole loop on a session that is up."""
    from data.prompt_source import PromptSource
    from trainers.grpo import GrpoLoop

    times = Times()
    folder = prepared.folder / run.name
    limit = run.policy.max_model_len - run.rollout.max_completion_tokens
    loop = GrpoLoop(
        run,
        prompts=PromptSource(run.prompts, prepared.tokenizer, run.seed, max_prompt_tokens=limit),
        fleet=LongTailed(session.fleet),
        rewards=session.rewards,
        learner=session.learner,
        publisher=session.publisher,
        tracker=times,
        store=RolloutStore(folder / "rollouts"),
        checkpoint_folder=folder / "checkpoints",
    )
    await loop.run()
    return times


async def run_both(folder: Path, steps: int, rounds: int) -> dict[int, Times]:
    """The faster of the rounds for each bound, which take turns."""
    from cli.prepare import prepare
    from cli.session import open_session

    prepared = prepare(make_run(folder, 2, steps), resume=False, overwrite=False)
    best: dict[int, Times] = {}
    async with open_session(prepared) as session:
        await session.wait_for_fleet()
        for number in range(rounds):
            for max_staleness in (0, 2):
                run = make_run(folder, max_staleness, steps).model_copy(update={"name": f"s{max_staleness}-{number}"})
                times = await run_loop(session, run, prepared)
                if max_staleness not in best or times.samples_per_s > best[max_staleness].samples_per_s:
                    best[max_staleness] = times
    return best


def measure(quick: bool) -> list[Row]:
    """8 prompts of 8 samples a step."""
    steps, rounds = (14, 1) if quick else (22, 2)
    with tempfile.TemporaryDirectory() as scratch, local_ray(cpus=2):
        times = asyncio.run(run_both(Path(scratch), steps, rounds))
    synchronous, ahead = times[0], times[2]
    generate, train, sync = (synchronous.seconds(share) for share in ("generate", "train", "sync"))
    turn = train + sync
    return [
        Row(
            "GRPO, long-tailed lengths, max_staleness 2",
            ahead.samples_per_s,
            "samples/s",
            "max_staleness 0",
            synchronous.samples_per_s,
            TARGET,
        ),
        Row("a synchronous step: sampling", generate, "s"),
        Row("a synchronous step: training and sync", turn, "s"),
        Row("its ratio if they only overlapped", (generate + turn) / max(generate, turn), ""),
    ]
