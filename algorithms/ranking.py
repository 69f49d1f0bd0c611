"""Does a score order right before wrong? The area under the ROC curve, and accuracy on the pairs within a problem.

Intervals are percentiles of a bootstrap over *problems*: solutions of one problem resemble each other and count for
less than independent ones. Equal scores count half.

Shapes: N solutions, P problems.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 1000
Floats = NDArray[np.float64]


def auc(scores_N: ArrayLike, right_N: ArrayLike, weights_N: ArrayLike | None = None) -> float:
    """Chance that a right solution scores above a wrong one, over all such pairs; NaN when one kind is missing.

    `weights_N`: how often each solution counts; once when None.
    """
    scores, right = np.asarray(scores_N, dtype=np.float64), np.asarray(right_N, dtype=bool)
    weights = np.ones(len(scores)) if weights_N is None else np.asarray(weights_N, dtype=np.float64)
    return _Auc(scores, right)(weights)


def auc_interval(scores_N: ArrayLike, right_N: ArrayLike, problems_N: ArrayLike, *, seed: int) -> tuple[float, float]:
    """95 % interval of `auc`; (0, 1) when no resample has both kinds."""
    statistic = _Auc(np.asarray(scores_N, dtype=np.float64), np.asarray(right_N, dtype=bool))
    number_N = np.unique(np.asarray(problems_N), return_inverse=True)[1]
    return bootstrap_interval(lambda counts_P: statistic(counts_P[number_N]), int(number_N.max(initial=-1)) + 1, seed)


def problem_pair_shares(scores_N: ArrayLike, right_N: ArrayLike, problems_N: ArrayLike) -> Floats:
    """[P] of each problem with right and wrong solutions: its pairs in which the right one scores above the wrong."""
    scores, right = np.asarray(scores_N, dtype=np.float64), np.asarray(right_N, dtype=bool)
    number_N = np.unique(np.asarray(problems_N), return_inverse=True)[1]
    shares: list[float] = []
    for number in range(int(number_N.max(initial=-1)) + 1):
        own = number_N == number
        if 0 < right[own].sum() < own.sum():
            shares.append(auc(scores[own], right[own]))
    return np.array(shares, dtype=np.float64)


def mean_interval(shares_P: Floats, *, seed: int) -> tuple[float, float]:
    """95 % interval of the mean of one number for each problem; (0, 1) without problems."""
    return bootstrap_interval(lambda counts_P: float(counts_P @ shares_P / counts_P.sum()), len(shares_P), seed)


def bootstrap_interval(statistic: Callable[[Floats], float], problems: int, seed: int) -> tuple[float, float]:
    """2.5 and 97.5 percentiles of `statistic` of [P] counts, which say how often a resample holds each problem."""
    if not problems:
        return 0.0, 1.0
    random = np.random.default_rng(seed)
    shares = np.full(problems, 1 / problems)
    values = [statistic(random.multinomial(problems, shares).astype(np.float64)) for _ in range(RESAMPLES)]
    finite = [value for value in values if np.isfinite(value)]
    if not finite:
        return 0.0, 1.0
    low, high = np.percentile(finite, [2.5, 97.5])
    return float(low), float(high)


class _Auc:
    """Sorts once, so that a resample costs one pass."""

    def __init__(self, scores_N: Floats, right_N: NDArray[np.bool_]) -> None:
        self._order_N = np.argsort(scores_N, kind="stable")
        self._right_N = right_N[self._order_N]
        ordered_N = scores_N[self._order_N]
        self._starts = np.flatnonzero(np.r_[True, ordered_N[1:] != ordered_N[:-1]]) if len(ordered_N) else None

    def __call__(self, weights_N: Floats) -> float:
        if self._starts is None:
            return float("nan")
        weights_N = weights_N[self._order_N]
        # One entry for each different score, from the lowest up.
        right = np.add.reduceat(np.where(self._right_N, weights_N, 0.0), self._starts)
        wrong = np.add.reduceat(np.where(self._right_N, 0.0, weights_N), self._starts)
        pairs = right.sum() * wrong.sum()
        below = np.cumsum(wrong) - wrong
        return float((right * (below + wrong / 2)).sum() / pairs) if pairs else float("nan")
