"""Supervised fine-tuning: cross-entropy on the response tokens. Also the cold start of reinforcement learning.

The next batch is built in a thread while the learner trains on the current one.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from configs.prompts import Schedule, SftStage
from data.records import Batch, Sequence, StepReport
from trainers.ports import Learner, TraceStream, Tracker
from trainers.schedule import learning_rate_share
from trainers.together import together


@dataclass(frozen=True, slots=True)
class SftReport:
    """What a stage did."""

    steps_done: int  # of the stage; fewer than asked for after a stop
    version: int | None  # of the learner at the end; None when no step was left to do
    tokens: int  # trained response tokens
    first_loss: float | None  # mean over the step's response tokens, in nats
    last_loss: float | None


async def run_sft_stage(
    stage: SftStage,
    source: TraceStream,
    learner: Learner,
    tracker: Tracker,
    *,
    tracker_step: int = 0,
    first_step: int = 0,
    stop_requested: Callable[[], bool] = lambda: False,
    after_step: Callable[[int, dict[str, Any], StepReport], Awaitable[None]] | None = None,
) -> SftReport:
    """Run the optimizer steps `first_step` ... `stage.steps - 1` of a stage.

    Metrics go to the tracker as `sft/*` at `tracker_step` plus steps done, so that stages follow one another.
    `after_step(steps_done, cursor, report)`: called between steps, with the source's cursor as it was before any later
    batch was read: what a checkpoint keeps. With `first_step` > 0 (a resume) the learner has been restored by the
    caller and is not begun anew. Raises what the learner and the source raise.
    """
    if first_step == 0:
        await learner.begin(stage.optimizer)
    tokens, losses, report, steps_done = 0, list[float](), None, first_step
    upcoming = await asyncio.to_thread(_build, stage, source, first_step) if first_step < stage.steps else None
    while upcoming is not None and not stop_requested():
        batch, cursor = upcoming
        async with together() as tasks:
            training = tasks.create_task(learner.train(batch))
            if batch.step + 1 < stage.steps:
                building = tasks.create_task(asyncio.to_thread(_build, stage, source, batch.step + 1))
            else:
                building = None
        report, upcoming = training.result(), None if building is None else building.result()
        steps_done = batch.step + 1
        tokens += sum(len(s.response_ids) for s in batch.sequences)
        if "train/loss" in report.metrics:
            losses.append(report.metrics["train/loss"])
        metrics = {f"sft/{name.removeprefix('train/')}": value for name, value in report.metrics.items()}
        tracker.log_step(tracker_step + steps_done, metrics)
        if after_step is not None:
            await after_step(steps_done, cursor, report)
    return SftReport(
        steps_done=steps_done,
        version=None if report is None else report.version,
        tokens=tokens,
        first_loss=losses[0] if losses else None,
        last_loss=losses[-1] if losses else None,
    )


def build_sft_batch(source: TraceStream, *, sequences: int, step: int, steps: int, schedule: Schedule) -> Batch:
    """The next rows as one step: each response token weighs 1 / response tokens of the whole step."""
    rows = [source.take() for _ in range(sequences)]
    share = np.float32(1.0 / max(sum(len(response_ids) for _, response_ids in rows), 1))
    return Batch(
        step=step,
        sequences=tuple(Sequence(p, r, np.full(len(r), share, dtype=np.float32)) for p, r in rows),
        objective="cross_entropy",
        learning_rate_share=learning_rate_share(schedule, step, steps),
    )


def _build(stage: SftStage, source: TraceStream, step: int) -> tuple[Batch, dict[str, Any]]:
    """A batch, and the source's cursor right after it."""
    batch = build_sft_batch(
        source, sequences=stage.sequences_per_step, step=step, steps=stage.steps, schedule=stage.schedule
    )
    return batch, source.state()
