"""Advantages against slow references in plain Python, and the rules for masked and equal rewards."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.advantages import compute_advantages

pytestmark = pytest.mark.unit

KINDS = ["grpo", "dr_grpo", "rloo", "reinforce_pp_baseline", "maxrl"]
GROUPS = [[1.0, 0.0, 0.0, 1.0, 0.25], [0.0, 0.5, 1.0], [0.1, 0.1, 0.1], [0.0, 0.0, 0.0, 2.0]]


def arrays(groups: list[list[float]]) -> list[np.ndarray]:
    return [np.array(group) for group in groups]


def reference(kind: str, groups: list[list[float]]) -> list[list[float]]:
    centred = [[r - statistics.fmean(group) for r in group] for group in groups]
    spread = statistics.pstdev([a for group in centred for a in group])
    results: list[list[float]] = []
    for group, middle in zip(groups, centred, strict=True):
        mean = statistics.fmean(group)
        if kind == "grpo":
            results.append([a / (statistics.pstdev(group) + 1e-6) for a in middle])
        elif kind == "dr_grpo":
            results.append(middle)
        elif kind == "rloo":
            results.append([r - statistics.fmean(group[:i] + group[i + 1 :]) for i, r in enumerate(group)])
        elif kind == "reinforce_pp_baseline":
            results.append([a / (spread + 1e-6) for a in middle])
        else:
            results.append([a / mean for a in middle])
    return results


@pytest.mark.parametrize("kind", KINDS)
def test_advantages_equal_the_reference(kind: str) -> None:
    for got, expected in zip(compute_advantages(kind, arrays(GROUPS)), reference(kind, GROUPS), strict=True):
        assert got == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_masked_completion_gets_zero_and_leaves_the_others_as_if_it_were_absent(kind: str) -> None:
    masked = arrays([[1.0, math.nan, 0.0, 0.5], [math.nan, 0.0, 1.0]])
    got = compute_advantages(kind, masked)
    absent = compute_advantages(kind, arrays([[1.0, 0.0, 0.5], [0.0, 1.0]]))
    for rewards, with_mask, without in zip(masked, got, absent, strict=True):
        assert (with_mask[np.isnan(rewards)] == 0).all()
        assert with_mask[~np.isnan(rewards)] == pytest.approx(without, abs=1e-15)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_rewards_give_exactly_zero(kind: str) -> None:
    # The mean of seven times 0.1 is not 0.1 in floating point: a deviation would see a difference here.
    groups = arrays([[0.1] * 7, [0.1, math.nan, 0.1], [0.3], [math.nan, math.nan], []])
    assert all((advantages == 0).all() for advantages in compute_advantages(kind, groups))


def test_maxrl_is_zero_when_the_mean_is_not_positive() -> None:
    first, second = compute_advantages("maxrl", arrays([[-1.0, 1.0], [-2.0, 1.0]]))
    assert (first == 0).all()
    assert (second == 0).all()


def test_maxrl_averages_the_correct_completions() -> None:
    (advantages,) = compute_advantages("maxrl", arrays([[1.0, 0.0, 0.0, 0.0, 1.0]]))
    # Mean score of the two correct ones minus mean score of all five, as factors of each completion's score.
    expected = np.array([1 / 2, 0, 0, 0, 1 / 2]) - 1 / 5
    assert advantages / 5 == pytest.approx(expected, abs=1e-15)


REWARDS = st.integers(-16, 16).map(lambda eighths: eighths / 8) | st.just(math.nan)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(REWARDS, max_size=8), max_size=5), st.sampled_from(KINDS))
def test_advantages_are_finite_and_centred(groups: list[list[float]], kind: str) -> None:
    for rewards, advantages in zip(groups, compute_advantages(kind, arrays(groups)), strict=True):
        assert np.isfinite(advantages).all()
        assert advantages.shape == (len(rewards),)
        assert abs(advantages.sum()) <= 1e-6 * max(1.0, np.abs(advantages).sum())


def test_an_unknown_kind_and_an_infinite_reward_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'gae' is unknown; use one of grpo"):
        compute_advantages("gae", [])
    with pytest.raises(ValueError, match="not finite"):
        compute_advantages("grpo", arrays([[1.0, math.inf]]))
