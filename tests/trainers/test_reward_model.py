"""Training of score models on a learner that has one weight per token, and what the evaluation says of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from configs.run import RewardModelRun
from data.records import Batch, StepReport
from data.records import Sequence as Row
from data.scored_examples import Example, ExampleSet, PreferencePair, ScoredSolution
from trainers.reward_evaluation import evaluate_scores
from trainers.reward_model import build_reward_model_summary, build_score_batch, train_reward_model

pytestmark = pytest.mark.unit
PROMPT = np.array([1, 2], dtype=np.int32)
GOOD, BAD = 5, 6


class Scorer:
    """The score of a prefix is the sum of its tokens' weights; steps go down the gradient of the true loss."""

    def __init__(self, weights: Mapping[int, float] | None = None) -> None:
        self.weights = np.zeros(20)
        for token, weight in (weights or {}).items():
            self.weights[token] = weight
        self.batches: list[Batch] = []
        self.logged: list[tuple[int, dict[str, float]]] = []

    async def begin(self, optimizer: object) -> None:
        pass

    async def scores(self, sequences: Sequence[Row]) -> list[Any]:
        return [np.cumsum(self.weights[row.response_ids]).astype(np.float32) for row in sequences]

    async def train(self, batch: Batch) -> StepReport:
        self.batches.append(batch)
        sign = 1.0
        for row in batch.sequences:
            for position in np.flatnonzero(row.loss_weights):
                seen = row.response_ids[: position + 1]
                target = sign if row.labels is None else 2 * float(row.labels[position]) - 1
                np.add.at(self.weights, seen, 2.0 * row.loss_weights[position] * target)
            sign = -sign
        return StepReport(len(self.batches), False, {"train/loss": 0.5, "train/accuracy": 0.5}, 0.0)

    def log_step(self, step: int, metrics: Mapping[str, float]) -> None:
        self.logged.append((step, dict(metrics)))

    def log_samples(self, step: int, rows: object) -> None:
        pass


def solution(problem: str, tokens: list[int], labels: dict[int, float], right: bool) -> ScoredSolution:
    ids = np.array(tokens, dtype=np.int32)
    positions = np.array(list(labels), dtype=np.int32)
    return ScoredSolution(problem, PROMPT, ids, positions, np.array(list(labels.values()), np.float32), right)


def outcome_examples(problems: int) -> list[ScoredSolution]:
    return [
        solution(f"p{i}", [10 + i % 3, token, 9], {2: float(token == GOOD)}, token == GOOD)
        for i in range(problems)
        for token in (GOOD, BAD)
    ]


def make_run(**changes: Any) -> RewardModelRun:
    raw: dict[str, Any] = {
        "method": "reward_model",
        "name": "test",
        "policy": {"type": "scratch", "vocabulary": "characters"},
        "examples": {"type": "rollouts", "path": "runs/x"},
        "examples_per_step": 8,
        "epochs": 3,
        "optimizer": {"type": "adamw", "learning_rate": 1.0},
        **changes,
    }
    return TypeAdapter(RewardModelRun).validate_python(raw)


def example_set(kind: Any, examples: Sequence[Example]) -> ExampleSet:
    held_out = {f"p{i}" for i in range(4)}
    train = tuple(e for e in examples if e.problem not in held_out)
    return ExampleSet(kind, (), train, tuple(e for e in examples if e.problem in held_out))


async def test_every_example_is_seen_once_an_epoch_and_held_out_problems_never():
    run, examples, scorer = make_run(), example_set("outcome", outcome_examples(12)), Scorer()
    result = await train_reward_model(run, examples, scorer, scorer)
    assert result.steps == 6
    seen = [row.response_ids.tobytes() for batch in scorer.batches[:2] for row in batch.sequences]
    assert sorted(seen) == sorted(e.response_ids.tobytes() for e in examples.train if not isinstance(e, PreferencePair))
    assert all(float(sum(r.loss_weights.sum() for r in b.sequences)) == pytest.approx(1.0) for b in scorer.batches)
    assert (result.before.figures["auc"], result.after.figures["auc"]) == (0.5, 1.0)
    assert result.after.figures["ranking_accuracy"] == 1.0
    assert [step for step, metrics in scorer.logged if "reward_model_eval/auc" in metrics] == [0, 6]
    summary = build_reward_model_summary(run, examples, result, checkpoint="here")
    assert (summary["status"], summary["held_out_after"]["problems"], summary["train_problems"]) == ("finished", 4, 8)


async def test_a_stop_ends_the_training_and_is_told():
    run, examples, scorer = make_run(), example_set("outcome", outcome_examples(12)), Scorer()
    result = await train_reward_model(run, examples, scorer, scorer, stop_requested=lambda: len(scorer.batches) == 2)
    assert (result.steps, result.stopped, result.after.step) == (2, True, 2)


def test_a_process_step_weighs_every_label_alike_and_a_pair_has_two_sequences():
    examples = [
        solution("a", [3, 4, 5, 6], {0: 1.0, 3: 0.5}, True),
        solution("b", [3, 4], {0: 1.0, 1: 0.0}, False),
    ]
    batch = build_score_batch("process", examples, step=0, learning_rate_share=1.0)
    assert batch.objective == "binary_cross_entropy"
    assert batch.sequences[0].loss_weights.tolist() == [0.25, 0.0, 0.0, 0.25]
    assert batch.sequences[0].labels is not None
    assert batch.sequences[0].labels.tolist() == [1.0, 0.0, 0.0, 0.5]
    pair = PreferencePair("a", PROMPT, np.array([3, GOOD], np.int32), np.array([BAD], np.int32))
    batch = build_score_batch("preference", [pair, pair], step=0, learning_rate_share=1.0)
    assert batch.objective == "bradley_terry"
    assert [s.loss_weights.tolist() for s in batch.sequences] == [[0.0, 0.5], [0.5]] * 2


async def test_figures_of_a_process_model_are_of_steps_and_of_solutions():
    """The model knows BAD: its first wrong steps are right, except where the mistake cannot be seen."""
    scorer = Scorer({GOOD: 2.0, BAD: -9.0})
    examples = [
        solution("p0", [GOOD, GOOD], {0: 1.0, 1: 1.0}, True),
        solution("p0", [GOOD, BAD], {0: 1.0, 1: 0.0}, False),
        solution("p1", [BAD, GOOD], {0: 0.0, 1: 0.0}, False),
        solution("p1", [GOOD, GOOD], {0: 1.0, 1: 0.0}, False),
    ]
    figures = (await evaluate_scores("process", examples, scorer, seed=0, step=3)).figures
    assert figures["accuracy"] == 7 / 8
    assert figures["first_wrong_step_accuracy"] == pytest.approx(2 / 3)
    assert figures["solution_auc_min"] == pytest.approx(2.5 / 3)
    assert (figures["ranking_accuracy"], figures["ranking_problems"]) == (1.0, 1.0)
    logits = np.array([2, 4, 2, -7, -9, -7, 2, 4.0])
    labels = np.array([1, 1, 1, 0, 0, 0, 1, 0.0])
    p = 1 / (1 + np.exp(-logits))
    assert figures["loss"] == pytest.approx(-np.mean(labels * np.log(p) + (1 - labels) * np.log(1 - p)), rel=1e-6)


async def test_figures_of_a_preference_model_are_of_margins():
    scorer = Scorer({GOOD: 1.0, BAD: -1.0})
    good, bad = np.array([GOOD], np.int32), np.array([BAD], np.int32)
    pairs = [PreferencePair(f"p{i}", PROMPT, good, bad) for i in range(3)]
    pairs.append(PreferencePair("p3", PROMPT, bad, good))
    figures = (await evaluate_scores("preference", pairs, scorer, seed=0, step=0)).figures
    assert figures["accuracy"] == figures["ranking_accuracy"] == 0.75
    assert figures["loss"] == pytest.approx((3 * np.log1p(np.exp(-2.0)) + np.log1p(np.exp(2.0))) / 4)
    assert figures["accuracy_low"] < 0.75 < figures["accuracy_high"]
    assert "auc" not in figures
