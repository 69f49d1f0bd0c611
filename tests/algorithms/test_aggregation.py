"""Loss weights carry the denominator of the whole step."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.aggregation import loss_weights

pytestmark = pytest.mark.unit

KINDS = ["token_mean", "sequence_mean", "constant_length"]
MASKS = [np.array(m, dtype=bool) for m in ([1, 1, 1, 1], [0, 1, 1], [0, 0], [1])]
LOSSES = [np.array(x) for x in ([1.0, 2.0, 3.0, 4.0], [9.0, 5.0, 6.0], [9.0, 9.0], [7.0])]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("token_mean", (1 + 2 + 3 + 4 + 5 + 6 + 7) / 7),
        ("sequence_mean", ((1 + 2 + 3 + 4) / 4 + (5 + 6) / 2 + 7) / 3),
        ("constant_length", (1 + 2 + 3 + 4 + 5 + 6 + 7) / (10 * 3)),
    ],
)
def test_weighted_sum_is_the_mean_and_untrained_sequences_do_not_count(kind: str, expected: float) -> None:
    weights = loss_weights(kind, MASKS, max_completion_tokens=10)
    assert all(w.dtype == np.float32 for w in weights)
    total = sum(float((w * x).sum()) for w, x in zip(weights, LOSSES, strict=True))
    assert total == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_without_trained_tokens_every_weight_is_zero(kind: str) -> None:
    weights = loss_weights(kind, [np.zeros(3, bool), np.zeros(0, bool)], max_completion_tokens=4)
    assert [w.tolist() for w in weights] == [[0.0, 0.0, 0.0], []]
    assert loss_weights(kind, [], max_completion_tokens=4) == []


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.booleans(), max_size=6), max_size=6), st.sampled_from(KINDS))
def test_weight_is_positive_exactly_where_the_mask_is_set(masks: list[list[bool]], kind: str) -> None:
    for mask, weights in zip(
        masks, loss_weights(kind, [np.array(m, dtype=bool) for m in masks], max_completion_tokens=6), strict=True
    ):
        assert (weights > 0).tolist() == mask


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'mean' is unknown; use token_mean"):
        loss_weights("mean", [], max_completion_tokens=1)
