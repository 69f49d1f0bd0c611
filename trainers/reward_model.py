"""Training of models that score: outcome, process and preference models (algorithms/score_losses.py).

Examples come in shuffled epochs. A step's loss is the mean over its labels (steps or solutions), or over its pairs.
"""

import math
import time
from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.run import RewardModelRun
from data.records import Batch, Sequence
from data.reward_card import Kind
from data.rows import ShuffledOrder
from data.scored_examples import Example, ExampleSet, PreferencePair
from trainers.ports import ScoringLearner, Tracker
from trainers.reward_evaluation import ScoreReport, evaluate_scores
from trainers.schedule import learning_rate_share


@dataclass(frozen=True, slots=True)
class RewardModelResult:
    """How the training ended."""

    steps: int  # optimizer steps done
    stopped: bool  # by request, before the last step
    before: ScoreReport  # of held-out problems
    after: ScoreReport
    train_s: float  # evaluations included


def optimizer_steps(run: RewardModelRun, examples: int) -> int:
    """The epochs over so many examples, at least one step."""
    return max(1, math.ceil(run.epochs * examples / run.examples_per_step))


async def train_reward_model(
    run: RewardModelRun,
    examples: ExampleSet,
    learner: ScoringLearner,
    tracker: Tracker,
    *,
    stop_requested: Callable[[], bool] = lambda: False,
) -> RewardModelResult:
    """Evaluate, train, evaluate. Metrics go to the tracker as `reward_model/*` and `reward_model_eval/*`.

    Raises what the learner raises.
    """
    started = time.perf_counter()
    await learner.begin(run.optimizer)

    async def evaluate(step: int) -> ScoreReport:
        report = await evaluate_scores(examples.kind, examples.held_out, learner, seed=run.seed, step=step)
        tracker.log_step(step, report.metrics())
        return report

    before = after = await evaluate(0)
    order, steps = ShuffledOrder(len(examples.train), run.seed), optimizer_steps(run, len(examples.train))
    done = 0
    while done < steps and not stop_requested():
        first = done * run.examples_per_step
        chosen = [examples.train[order.row(first + i)] for i in range(run.examples_per_step)]
        batch = build_score_batch(
            examples.kind, chosen, step=done, learning_rate_share=learning_rate_share(run.schedule, done, steps)
        )
        report = await learner.train(batch)
        done += 1
        metrics = {f"reward_model/{name.removeprefix('train/')}": value for name, value in report.metrics.items()}
        tracker.log_step(done, metrics)
        if run.evaluate_every_steps and done % run.evaluate_every_steps == 0 and done < steps:
            await evaluate(done)
    if done:
        after = await evaluate(done)
    return RewardModelResult(done, done < steps, before, after, time.perf_counter() - started)


def build_score_batch(kind: Kind, examples: Seq[Example], *, step: int, learning_rate_share: float) -> Batch:
    """One optimizer step: every label weighs 1 / labels of the step, every pair 1 / pairs."""
    sequences: list[Sequence] = []
    if kind == "preference":
        for example in examples:
            assert isinstance(example, PreferencePair)
            for ids in (example.chosen_ids, example.rejected_ids):
                last = np.array([len(ids) - 1])
                sequences.append(_sequence(example.prompt_ids, ids, last, None, 1 / len(examples)))
        return Batch(step, tuple(sequences), "bradley_terry", learning_rate_share)
    labels = sum(0 if isinstance(example, PreferencePair) else len(example.labels) for example in examples)
    for example in examples:
        assert not isinstance(example, PreferencePair)
        sequences.append(
            _sequence(example.prompt_ids, example.response_ids, example.positions, example.labels, 1 / labels)
        )
    return Batch(step, tuple(sequences), "binary_cross_entropy", learning_rate_share)


def build_reward_model_summary(
    run: RewardModelRun, examples: ExampleSet, result: RewardModelResult, *, checkpoint: str
) -> dict[str, Any]:
    """Fields of `summary.json`."""
    return {
        "status": "stopped" if result.stopped else "finished",
        "kind": examples.kind,
        "steps": result.steps,
        "train_s": result.train_s,
        "checkpoint": checkpoint,
        "examples": run.examples.path,
        "train_examples": len(examples.train),
        "train_problems": len({example.problem for example in examples.train}),
        "held_out_before": result.before.summary(),
        "held_out_after": result.after.summary(),
    }


def _sequence(
    prompt_ids: NDArray[np.int32],
    response_ids: NDArray[np.int32],
    positions: NDArray[Any],
    labels: NDArray[np.float32] | None,
    weight: float,
) -> Sequence:
    weights_T = np.zeros(len(response_ids), dtype=np.float32)
    weights_T[positions] = weight
    labels_T = None
    if labels is not None:
        labels_T = np.zeros(len(response_ids), dtype=np.float32)
        labels_T[positions] = labels
    return Sequence(prompt_ids, response_ids, weights_T, labels=labels_T)
