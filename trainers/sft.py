"""Supervised fine-tuning: cross-entropy on the response tokens. Also the cold start of reinforcement learning.

The next batch is built in a thread, and completed by `enrich` where there is more to say of it than its tokens, while
the learner trains on the current one.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import Any

import numpy as np

from configs.prompts import Schedule, Supervision
from data.records import Batch, Int32Array, Sequence, StepReport
from trainers.ports import Learner, PairStream, TraceStream, Tracker
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
    held_out_losses: tuple[tuple[int, float], ...] = ()  # (steps done, mean per response token); of what was measured


Pair = tuple[Int32Array, Int32Array]  # [P] prompt ids, [T] response ids
Enrich = Callable[[Batch], Awaitable[Batch]]


def stage_steps(stage: Supervision, rows: int | None) -> int:
    """Optimizer steps of a stage over a source of so many rows: its `steps`, or those of its epochs, at least one.

    Raises ValueError for epochs of a source that has no end.
    """
    if stage.steps is not None:
        return stage.steps
    if stage.epochs is None or rows is None:
        raise ValueError(f"epochs = {stage.epochs}: the source has no rows to pass over; give `steps`")
    return max(1, math.ceil(stage.epochs * rows / stage.sequences_per_step))


async def run_sft_stage(
    stage: Supervision,
    source: TraceStream,
    learner: Learner,
    tracker: Tracker,
    *,
    tracker_step: int = 0,
    first_step: int = 0,
    stop_requested: Callable[[], bool] = lambda: False,
    after_step: Callable[[int, dict[str, Any], StepReport], Awaitable[None]] | None = None,
    held_out: Seq[Pair] = (),
    enrich: Enrich | None = None,
) -> SftReport:
    """Run the optimizer steps `first_step` ... `stage_steps(stage, source.rows) - 1` of a stage.

    Metrics go to the tracker as `sft/*` at `tracker_step` plus steps done, so that stages follow one another. The loss
    on `held_out` is measured before the first step, as often as the stage says, and at the end. `enrich` completes
    each batch, held-out ones too.
    `after_step(steps_done, cursor, report)`: called between steps, with the source's cursor as it was before any later
    batch was read: what a checkpoint keeps. With `first_step` > 0 (a resume) the learner has been restored by the
    caller and is not begun anew. Raises what the learner and the source raise.
    """
    steps = stage_steps(stage, source.rows)
    if first_step == 0:
        await learner.begin(stage.optimizer)
    gauge = _HeldOutGauge(stage, held_out, learner, tracker, enrich)
    tokens, losses, report, steps_done = 0, list[float](), None, first_step

    async def build(step: int) -> tuple[Batch, dict[str, Any]]:
        batch, cursor = await asyncio.to_thread(_build, stage, source, step, steps)
        return (batch if enrich is None else await enrich(batch)), cursor

    upcoming = await build(first_step) if first_step < steps else None
    if first_step == 0 and upcoming is not None and not stop_requested():
        await gauge.measure(0, tracker_step)
    while upcoming is not None and not stop_requested():
        batch, cursor = upcoming
        async with together() as tasks:
            training = tasks.create_task(learner.train(batch))
            building = tasks.create_task(build(batch.step + 1)) if batch.step + 1 < steps else None
        report, upcoming = training.result(), None if building is None else building.result()
        steps_done = batch.step + 1
        tokens += sum(len(s.response_ids) for s in batch.sequences)
        if "train/loss" in report.metrics:
            losses.append(report.metrics["train/loss"])
        metrics = {f"sft/{name.removeprefix('train/')}": value for name, value in report.metrics.items()}
        tracker.log_step(tracker_step + steps_done, metrics)
        if gauge.due(steps_done) or steps_done == steps:
            await gauge.measure(steps_done, tracker_step)
        if after_step is not None:
            await after_step(steps_done, cursor, report)
    return SftReport(
        steps_done=steps_done,
        version=None if report is None else report.version,
        tokens=tokens,
        first_loss=losses[0] if losses else None,
        last_loss=losses[-1] if losses else None,
        held_out_losses=tuple(gauge.measured),
    )


class _HeldOutGauge:
    """Measures the loss on pairs that are not trained on, in batches of a step's size."""

    def __init__(
        self, stage: Supervision, pairs: Seq[Pair], learner: Learner, tracker: Tracker, enrich: Enrich | None
    ) -> None:
        self._stage, self._pairs, self._learner = stage, pairs, learner
        self._tracker, self._enrich = tracker, enrich
        self.measured: list[tuple[int, float]] = []

    def due(self, steps_done: int) -> bool:
        """Whether the interval ends after so many steps."""
        every = self._stage.held_out.every_steps if self._stage.held_out else 0
        return bool(every) and steps_done % every == 0

    async def measure(self, steps_done: int, tracker_step: int) -> None:
        """Mean loss over all response tokens of the pairs; nothing without pairs."""
        if not self._pairs:
            return
        size, total = self._stage.sequences_per_step, 0.0
        tokens = sum(len(response_ids) for _, response_ids in self._pairs)
        for start in range(0, len(self._pairs), size):
            batch = _batch(self._pairs[start : start + size], share=1.0 / tokens, step=steps_done, rate=0.0)
            total += await self._learner.loss(batch if self._enrich is None else await self._enrich(batch))
        self.measured.append((steps_done, total))
        self._tracker.log_step(tracker_step + steps_done, {"sft/held_out_loss": total})


def build_sft_batch(source: PairStream, *, sequences: int, step: int, steps: int, schedule: Schedule) -> Batch:
    """The next rows as one step: each response token weighs 1 / response tokens of the whole step."""
    rows = [source.take() for _ in range(sequences)]
    share = 1.0 / max(sum(len(response_ids) for _, response_ids in rows), 1)
    return _batch(rows, share=share, step=step, rate=learning_rate_share(schedule, step, steps))


def _batch(pairs: Seq[Pair], *, share: float, step: int, rate: float) -> Batch:
    return Batch(
        step=step,
        sequences=tuple(Sequence(p, r, np.full(len(r), share, dtype=np.float32)) for p, r in pairs),
        objective="cross_entropy",
        learning_rate_share=rate,
    )


def _build(stage: Supervision, source: TraceStream, step: int, steps: int) -> tuple[Batch, dict[str, Any]]:
    """A batch, and the source's cursor right after it."""
    batch = build_sft_batch(source, sequences=stage.sequences_per_step, step=step, steps=steps, schedule=stage.schedule)
    return batch, source.state()
