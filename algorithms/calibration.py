"""Calibration: of what is given the probability p, does a share p come true?

Shapes: N predictions.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Bin:
    """A row of the reliability table."""

    low: float  # smallest probability in it (equal mass), or the bin's lower edge (equal width)
    high: float
    count: int
    mean_probability: float  # NaN without predictions
    mean_label: float  # the share that came true; NaN without predictions


def reliability_table(
    probabilities_N: ArrayLike, labels_N: ArrayLike, *, bins: int, by: Literal["mass", "width"]
) -> list[Bin]:
    """Predictions in bins of as many predictions each (`mass`) or of equal width; labels may be soft.

    Equal predictions may fall into neighbouring bins of equal mass. With fewer predictions than bins there is one bin
    for each. Raises ValueError for probabilities or labels outside [0, 1] and for lengths that differ.
    """
    p_N, y_N = _checked("probabilities", probabilities_N), _checked("labels", labels_N)
    if len(p_N) != len(y_N):
        raise ValueError(f"{len(p_N)} probabilities and {len(y_N)} labels; give one label for each")
    if bins < 1:
        raise ValueError(f"bins is {bins}; a table has at least 1")
    if by == "mass":
        order_N = np.argsort(p_N, kind="stable")
        parts = [part for part in np.array_split(order_N, bins) if len(part)]
        return [_bin(p_N[part].min(), p_N[part].max(), p_N[part], y_N[part]) for part in parts]
    number_N = np.minimum((p_N * bins).astype(np.int64), bins - 1)  # 1 belongs to the last bin
    return [_bin(i / bins, (i + 1) / bins, p_N[number_N == i], y_N[number_N == i]) for i in range(bins)]


def expected_calibration_error(table: list[Bin]) -> float:
    """ECE (arXiv 1706.04599, equation 3): mean of |probability - share that came true|, weighted by the bins' counts.

    It is above 0 for a perfect model too, since shares of finite bins scatter. NaN without predictions.
    """
    total = sum(row.count for row in table)
    if not total:
        return float("nan")
    return sum(row.count * abs(row.mean_probability - row.mean_label) for row in table if row.count) / total


def _bin(low: float, high: float, p: NDArray[np.float64], y: NDArray[np.float64]) -> Bin:
    nothing = float("nan")
    means = (float(p.mean()), float(y.mean())) if len(p) else (nothing, nothing)
    return Bin(float(low), float(high), len(p), *means)


def _checked(name: str, values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if len(array) and not (array.min() >= 0 and array.max() <= 1):  # also refuses NaN
        raise ValueError(f"{name} lie between {array.min()} and {array.max()}; they must be in [0, 1]")
    return array
