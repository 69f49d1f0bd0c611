"""Sequence means and the correction of hand-made ratios."""

import math

import pytest
import torch

from algorithms.off_policy import bounded, correct, out_of_bounds, segment_mean
from configs.algorithm import OffPolicy

pytestmark = pytest.mark.unit

RATIOS = torch.tensor([4.0, 1.0, 0.25, 3.0, 3.0, 0.6, 9.0], dtype=torch.float64)
TRAINED = torch.tensor([True, True, True, True, True, True, False])
SEGMENT = torch.tensor([3, 3, 3, 4, 4, 7, 7])


def test_segment_mean_takes_trained_tokens_of_the_own_sequence() -> None:
    values = torch.tensor([1.0, 3.0, 100.0, 5.0, 8.0])
    trained = torch.tensor([True, True, False, False, True])
    assert segment_mean(values, trained, torch.tensor([0, 0, 0, 2, 9])).tolist() == [2, 2, 2, 0, 8]
    assert segment_mean(values[:0], trained[:0], torch.tensor([], dtype=torch.int64)).shape == (0,)


@pytest.mark.parametrize(
    ("kind", "weights", "kept"),
    [
        ("none", [1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]),
        ("truncated", [2, 1, 0.25, 2, 2, 0.6], [1, 1, 1, 1, 1, 1]),
        ("icepop", [0, 1, 0, 0, 0, 0.6], [0, 1, 0, 0, 0, 1]),
        # Geometric means: 1, 3 and 0.6; the untrained 9 does not count.
        ("sequence_mask", [2, 1, 0.25, 0, 0, 0.6], [1, 1, 1, 0, 0, 1]),
    ],
)
def test_weights_and_masks(kind: str, weights: list[float], kept: list[int]) -> None:
    off_policy = OffPolicy.model_validate({"type": kind, "minimum": 0.5, "maximum": 2.0})
    correction = correct(off_policy, RATIOS.log(), TRAINED, SEGMENT)
    assert correction.weight_R[TRAINED].tolist() == pytest.approx(weights)
    assert correction.kept_R[TRAINED].tolist() == [bool(k) for k in kept]
    capped = [w == 2 for w in weights] if kind in ("truncated", "sequence_mask") else [False] * 6
    assert correction.capped_R[TRAINED].tolist() == capped


def test_bounds_keep_what_is_within_and_pass_nan_on() -> None:
    ratios = torch.tensor([-30.0, -20.0, 0.5, 20.0, math.inf])
    assert bounded(ratios).tolist() == [-20, -20, 0.5, 20, 20]
    assert out_of_bounds(ratios).tolist() == [True, False, False, False, True]
    assert bounded(torch.tensor([math.nan])).isnan().all()
