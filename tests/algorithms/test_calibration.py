import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorithms.calibration import expected_calibration_error, reliability_table

pytestmark = pytest.mark.unit


def slow_ece(p: list[float], y: list[float], bins: int) -> float:
    """Bins of equal width, by definition."""
    total = 0.0
    for i in range(bins):
        own = [
            (a, b) for a, b in zip(p, y, strict=True) if i / bins <= a < (i + 1) / bins or (a == 1 and i == bins - 1)
        ]
        if own:
            gap = sum(a for a, _ in own) / len(own) - sum(b for _, b in own) / len(own)
            total += len(own) / len(p) * abs(gap)
    return total


@given(st.lists(st.tuples(st.integers(0, 64), st.integers(0, 1)), min_size=1, max_size=60), st.integers(1, 16))
def test_the_error_of_equal_widths_is_the_definition(rows: list[tuple[int, int]], bins: int):
    bins = 2 ** (bins % 5)  # edges that floats hold exactly
    p, y = [a / 64 for a, _ in rows], [float(b) for _, b in rows]
    table = reliability_table(p, y, bins=bins, by="width")
    assert expected_calibration_error(table) == pytest.approx(slow_ece(p, y, bins))
    assert len(table) == bins
    assert sum(row.count for row in table) == len(p)


def test_bins_of_equal_mass_hold_as_many_each_in_order():
    p = [0.9, 0.1, 0.8, 0.2, 0.7, 0.3]
    table = reliability_table(p, [1, 0, 1, 0, 0, 1], bins=3, by="mass")
    assert [(row.low, row.high, row.count) for row in table] == [(0.1, 0.2, 2), (0.3, 0.7, 2), (0.8, 0.9, 2)]
    assert [row.mean_label for row in table] == [0.0, 0.5, 1.0]
    assert expected_calibration_error(table) == pytest.approx((0.15 + 0.0 + 0.15) / 3)


def test_a_calibrated_model_has_a_small_error_and_a_confident_one_a_large_one():
    random = np.random.default_rng(0)
    p = random.random(20_000)
    y = random.random(20_000) < p
    assert expected_calibration_error(reliability_table(p, y, bins=10, by="mass")) < 0.02
    overconfident = np.where(p > 0.5, 0.99, 0.01)
    assert expected_calibration_error(reliability_table(overconfident, y, bins=10, by="width")) > 0.2


def test_few_predictions_and_bad_ones():
    assert [row.count for row in reliability_table([0.5, 0.6], [1, 0], bins=10, by="mass")] == [1, 1]
    assert math.isnan(expected_calibration_error(reliability_table([], [], bins=4, by="width")))
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        reliability_table([1.2], [1], bins=4, by="width")
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        reliability_table([math.nan], [1], bins=4, by="width")
    with pytest.raises(ValueError, match="one label for each"):
        reliability_table([0.5, 0.5], [1], bins=4, by="width")
