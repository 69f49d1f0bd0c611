"""The fine-tuning of one STaR iteration: cross-entropy on the accepted rationales, each under its problem's prompt."""

import math
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.star import Tuning
from data.rationales import Rationale
from data.records import Int32Array
from data.rows import ShuffledOrder
from trainers.ports import RestartingLearner, Tracker
from trainers.sft import build_sft_batch

_MOST_SKIPPED_IN_A_ROW = 5


class TuningDiverged(RuntimeError):
    """Too many optimizer steps in a row had a gradient that is not finite."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a fine-tuning did."""

    version: int  # of the learner afterwards
    steps: int
    loss: float | None  # of the last step that was not skipped, in nats per token


class RationaleStream:
    """Trace stream over rationales: epoch after epoch, each in an order that hangs on (seed, epoch)."""

    def __init__(self, rationales: Seq[Rationale], seed: int) -> None:
        self._rationales = rationales
        self._order = ShuffledOrder(len(rationales), seed)
        self._taken = 0

    def take(self) -> tuple[Int32Array, Int32Array]:
        """The problem's prompt, without hint, and the tokens as they were sampled, eos among them."""
        rationale = self._rationales[self._order.row(self._taken)]
        self._taken += 1
        return rationale.problem.token_ids, rationale.completion.token_ids

    def state(self) -> dict[str, Any]:
        return {"taken": self._taken}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._taken = int(state["taken"])


def tuning_steps(tuning: Tuning, rationales: int) -> int:
    """Optimizer steps of an iteration: its epochs over so many rationales, at least one step."""
    return max(1, math.ceil(tuning.epochs * rationales / tuning.sequences_per_step))


async def fine_tune(
    rationales: Seq[Rationale],
    tuning: Tuning,
    learner: RestartingLearner,
    tracker: Tracker,
    *,
    model: Path | None,
    version: int,
    seed: int,
    stop_requested: Callable[[], bool],
) -> Tuned | None:
    """Start a stage from `model` (None: from the present weights) and train; versions go on from `version`.

    Metrics go to the tracker as `sft/*` at the version. None when a stop came before the last step: the weights are
    then of no use. Raises TuningDiverged, and what the learner raises.
    """
    await learner.begin(tuning.optimizer, model=model, version=version)
    stream, steps = RationaleStream(rationales, seed), tuning_steps(tuning, len(rationales))
    loss, skipped_in_a_row = None, 0
    for step in range(steps):
        if stop_requested():
            return None
        batch = build_sft_batch(
            stream, sequences=tuning.sequences_per_step, step=step, steps=steps, schedule=tuning.schedule
        )
        report = await learner.train(batch)
        if report.version != version + (not report.skipped):
            raise RuntimeError(
                f"the learner reports version {report.version} after a {'skipped ' if report.skipped else ''}step at "
                f"version {version}; versions count optimizer steps, so loop and learner have lost each other"
            )
        version = report.version
        skipped_in_a_row = skipped_in_a_row + 1 if report.skipped else 0
        if skipped_in_a_row >= _MOST_SKIPPED_IN_A_ROW:
            raise TuningDiverged(
                f"{skipped_in_a_row} steps in a row had a gradient that is not finite. Lower "
                "star.tuning.optimizer.learning_rate, or look at the batches in dumps/."
            )
        loss = loss if report.skipped else report.metrics.get("train/loss", loss)
        metrics = {f"sft/{name.removeprefix('train/')}": value for name, value in report.metrics.items()}
        tracker.log_step(version, metrics)
    return Tuned(version, steps, loss)
