"""What a model that scores is worth on held-out problems: loss, accuracy, ranking, calibration; with intervals.

Legend: N predictions, P problems, K scored tokens of a solution.
"""

from collections import Counter
from collections.abc import Sequence as Seq
from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from algorithms.calibration import Bin, expected_calibration_error, reliability_table
from algorithms.pass_at_k import clustered_interval
from algorithms.ranking import auc, auc_interval, mean_interval, problem_pair_shares
from algorithms.step_labels import first_wrong_step
from algorithms.step_scores import Aggregation, aggregate
from data.records import Sequence
from data.reward_card import Kind
from data.scored_examples import Example, PreferencePair, ScoredSolution
from trainers.ports import ScoringLearner

BINS = 10
PREFIX = "reward_model_eval"
_TOKENS_PER_CALL = 262_144  # bounds what travels at once, not what a rank holds
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ScoreReport:
    """The figures after `step` optimizer steps."""

    step: int
    figures: dict[str, float]  # without the prefix; those without data are left out
    reliability: tuple[Bin, ...]  # bins of equal mass; of pairs, the probability of the response that scored higher

    def metrics(self) -> dict[str, float]:
        """`reward_model_eval/*`."""
        return {f"{PREFIX}/{name}": value for name, value in self.figures.items()}

    def summary(self) -> dict[str, Any]:
        """For `summary.json`."""
        return self.figures | {"reliability": [asdict(row) for row in self.reliability]}


async def evaluate_scores(
    kind: Kind, examples: Seq[Example], learner: ScoringLearner, *, seed: int, step: int
) -> ScoreReport:
    """Score all examples and compare with their labels. `seed`: of the bootstrap."""
    pairs = [example for example in examples if isinstance(example, PreferencePair)]
    solutions = [example for example in examples if isinstance(example, ScoredSolution)]
    if kind == "preference":
        rows = [_row(pair.prompt_ids, ids) for pair in pairs for ids in (pair.chosen_ids, pair.rejected_ids)]
        last = [float(scores_T[-1]) for scores_T in await _scores(learner, rows)]
        return _report_pairs(pairs, np.array(last[0::2]) - np.array(last[1::2]), step)
    rows = [_row(solution.prompt_ids, solution.response_ids) for solution in solutions]
    scores = await _scores(learner, rows)
    logits = [s_T[e.positions].astype(np.float64) for s_T, e in zip(scores, solutions, strict=True)]
    report = _report_labels(solutions, logits, seed, step)
    if kind == "outcome":
        ranking = _ranking([e.problem for e in solutions], np.concatenate(logits), _right(solutions), seed)
        return ScoreReport(step, report.figures | ranking, report.reliability)
    return ScoreReport(step, report.figures | _solution_figures(solutions, logits, seed), report.reliability)


def sigmoid(logits: Floats) -> Floats:
    """Probabilities, without overflow."""
    return np.exp(-np.logaddexp(0.0, -logits))


async def _scores(learner: ScoringLearner, rows: list[Sequence]) -> list[NDArray[np.float32]]:
    found: list[NDArray[np.float32]] = []
    start = 0
    while start < len(rows):
        end, tokens = start, 0
        while end < len(rows) and (end == start or tokens + rows[end].num_tokens <= _TOKENS_PER_CALL):
            tokens += rows[end].num_tokens
            end += 1
        found += await learner.scores(rows[start:end])
        start = end
    return found


def _row(prompt_ids: NDArray[np.int32], response_ids: NDArray[np.int32]) -> Sequence:
    return Sequence(prompt_ids, response_ids, np.zeros(len(response_ids), dtype=np.float32))


def _report_pairs(pairs: Seq[PreferencePair], margins_N: Floats, step: int) -> ScoreReport:
    won_N = margins_N > 0
    low, high = _clustered([pair.problem for pair in pairs], won_N)
    table = reliability_table(sigmoid(np.abs(margins_N)), won_N, bins=BINS, by="mass")
    figures = {
        "examples": float(len(pairs)),
        "problems": float(len({pair.problem for pair in pairs})),
        "loss": float(np.logaddexp(0.0, -margins_N).mean()),
        "accuracy": float(won_N.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        # Of pairs, to rank is all there is to get right; equal scores count half here.
        "ranking_accuracy": float(((margins_N > 0) + 0.5 * (margins_N == 0)).mean()),
        "ece": expected_calibration_error(table),
    }
    return ScoreReport(step, figures, tuple(table))


def _report_labels(solutions: Seq[ScoredSolution], logits: list[Floats], seed: int, step: int) -> ScoreReport:
    """Over all labels: of solutions, or of steps."""
    s_N, y_N = np.concatenate(logits), np.concatenate([e.labels for e in solutions]).astype(np.float64)
    problems_N = [e.problem for e in solutions for _ in e.labels]
    hit_N = (s_N > 0) == (y_N >= 0.5)
    low, high = _clustered(problems_N, hit_N)
    table = reliability_table(sigmoid(s_N), y_N, bins=BINS, by="mass")
    figures = {
        "examples": float(len(solutions)),
        "labels": float(len(y_N)),
        "problems": float(len({e.problem for e in solutions})),
        "positive_share": float((y_N >= 0.5).mean()),
        "loss": float((np.logaddexp(0.0, s_N) - y_N * s_N).mean()),
        "accuracy": float(hit_N.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "ece": expected_calibration_error(table),
    }
    return ScoreReport(step, figures | _auc("auc", s_N, y_N >= 0.5, problems_N, seed), tuple(table))


def _solution_figures(solutions: Seq[ScoredSolution], logits: list[Floats], seed: int) -> dict[str, float]:
    """Of a process model: whole solutions by each aggregation, ranking by the weakest step, the first wrong step."""
    figures: dict[str, float] = {}
    known = [i for i, solution in enumerate(solutions) if solution.right is not None]
    problems, right_N = [solutions[i].problem for i in known], _right([solutions[i] for i in known])
    for how in get_args(Aggregation):
        values = np.array([aggregate(sigmoid(logits[i]).tolist(), how) for i in known])
        figures |= _auc(f"solution_auc_{how}", values, right_N, problems, seed)
        if how == "min":
            figures |= _ranking(problems, values, right_N, seed)
    found: list[bool] = []
    for solution, s_K in zip(solutions, logits, strict=True):
        truth = first_wrong_step([int(label >= 0.5) for label in solution.labels])
        if truth is not None:
            found.append(first_wrong_step([int(s > 0) for s in s_K]) == truth)
    if found:
        figures |= {"wrong_solutions": float(len(found)), "first_wrong_step_accuracy": float(np.mean(found))}
    return figures


def _ranking(problems_N: Seq[str], scores_N: Floats, right_N: NDArray[np.bool_], seed: int) -> dict[str, float]:
    shares_P = problem_pair_shares(scores_N, right_N, problems_N)
    if not len(shares_P):
        return {}
    low, high = mean_interval(shares_P, seed=seed)
    return {
        "ranking_accuracy": float(shares_P.mean()),
        "ranking_accuracy_low": low,
        "ranking_accuracy_high": high,
        "ranking_problems": float(len(shares_P)),
    }


def _auc(name: str, scores_N: Floats, right_N: NDArray[np.bool_], problems_N: Seq[str], seed: int) -> dict[str, float]:
    value = auc(scores_N, right_N)
    if not np.isfinite(value):
        return {}
    low, high = auc_interval(scores_N, right_N, problems_N, seed=seed)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _right(solutions: Seq[ScoredSolution]) -> NDArray[np.bool_]:
    return np.array([bool(solution.right) for solution in solutions], dtype=bool)


def _clustered(problems_N: Seq[str], hit_N: NDArray[np.bool_]) -> tuple[float, float]:
    trials = Counter(problems_N)
    successes = Counter(problem for problem, hit in zip(problems_N, hit_N, strict=True) if hit)
    return clustered_interval([successes[problem] for problem in trials], list(trials.values()))
