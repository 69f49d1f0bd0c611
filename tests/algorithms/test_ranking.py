import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorithms.ranking import auc, auc_interval, mean_interval, problem_pair_shares

pytestmark = pytest.mark.unit


def slow_auc(scores: list[int], right: list[bool], weights: list[int]) -> float:
    """Every pair by definition."""
    above = pairs = 0.0
    for s, r, w in zip(scores, right, weights, strict=True):
        for t, q, v in zip(scores, right, weights, strict=True):
            if r and not q:
                pairs += w * v
                above += w * v * (1.0 if s > t else 0.5 if s == t else 0.0)
    return above / pairs if pairs else math.nan


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans(), st.integers(0, 3)), max_size=25))
def test_the_area_is_the_share_of_pairs_in_order(rows: list[tuple[int, bool, int]]):
    scores, right, weights = [r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows]
    assert auc(scores, right, weights) == pytest.approx(slow_auc(scores, right, weights), nan_ok=True)
    ones = [1] * len(rows)
    assert auc(scores, right) == pytest.approx(slow_auc(scores, right, ones), nan_ok=True)


def test_pairs_are_within_a_problem_and_problems_of_one_kind_have_none():
    scores = [2.0, 1.0, 0.0, 5.0, 9.0, 3.0]
    right = [True, False, True, True, False, False]
    problems = ["a", "a", "a", "b", "c", "c"]
    assert problem_pair_shares(scores, right, problems).tolist() == [0.5]
    assert len(problem_pair_shares([], [], [])) == 0


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    """Twenty sets from one model; an interval that is much too narrow would miss more than a few."""
    held = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        right = random.random(300) < 0.5
        scores = random.normal(size=300) + right
        low, high = auc_interval(scores, right, np.arange(300), seed=seed)
        held += low < 0.7602 < high  # Phi(1 / sqrt 2)
    assert held >= 17


def test_copies_of_solutions_do_not_narrow_the_interval():
    random = np.random.default_rng(3)
    right = random.random(40) < 0.5
    scores = random.normal(size=40) + right
    once = auc_interval(scores, right, np.arange(40), seed=1)
    copies = auc_interval(np.tile(scores, 10), np.tile(right, 10), np.tile(np.arange(40), 10), seed=1)
    apart = auc_interval(np.tile(scores, 10), np.tile(right, 10), np.arange(400), seed=1)
    assert copies == pytest.approx(once)
    assert apart[1] - apart[0] < 0.6 * (once[1] - once[0])


def test_without_data_the_interval_says_nothing():
    assert auc_interval([], [], [], seed=0) == (0.0, 1.0)
    assert auc_interval([1.0, 2.0], [True, True], [0, 1], seed=0) == (0.0, 1.0)
    assert mean_interval(np.array([]), seed=0) == (0.0, 1.0)
    low, high = mean_interval(np.array([0.0, 1.0] * 50), seed=0)
    assert 0.38 < low < 0.45
    assert 0.55 < high < 0.62
