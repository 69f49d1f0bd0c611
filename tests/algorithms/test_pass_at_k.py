"""pass@k against enumeration, and the intervals against known values and coverage."""

from itertools import combinations

import pytest

from algorithms.pass_at_k import clustered_interval, pass_at_k, wilson_interval

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("samples", "correct"), [(6, 0), (6, 1), (6, 3), (6, 6), (1, 1)])
def test_pass_at_k_is_the_share_of_subsets_with_a_correct_sample(samples: int, correct: int) -> None:
    for k in range(1, samples + 1):
        subsets = list(combinations([i < correct for i in range(samples)], k))
        assert pass_at_k(samples, correct, k) == pytest.approx(sum(map(any, subsets)) / len(subsets), abs=1e-12)


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="3 correct of 2"):
        pass_at_k(2, 3, 1)
    with pytest.raises(ValueError, match="pass@4 needs at least 4 samples"):
        pass_at_k(2, 1, 4)
    with pytest.raises(ValueError, match="5 successes in 4"):
        wilson_interval(5, 4)


def test_wilson_interval_has_its_known_values_and_ends() -> None:
    assert wilson_interval(10, 20) == pytest.approx((0.2993, 0.7007), abs=1e-4)
    low, high = wilson_interval(0, 10)
    assert low == 0.0
    assert high == pytest.approx(0.2775, abs=1e-4)
    assert wilson_interval(10, 10)[1] == 1.0
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_wilson_limits_are_where_the_normal_test_just_accepts() -> None:
    for successes, trials in [(3, 17), (40, 512), (500, 512)]:
        for limit in wilson_interval(successes, trials):
            z = (successes / trials - limit) / (limit * (1 - limit) / trials) ** 0.5
            assert abs(z) == pytest.approx(1.959964, abs=1e-5)


def test_one_sample_per_problem_is_wilson() -> None:
    outcomes = [1, 0, 0, 1, 1, 0, 1]
    assert clustered_interval(outcomes, [1] * 7) == pytest.approx(wilson_interval(4, 7), abs=1e-12)
    assert clustered_interval([1, 1], [1, 1]) == wilson_interval(2, 2)


def test_samples_that_agree_within_a_problem_count_once() -> None:
    """With problems always or never solved, more samples of each teach nothing about the share."""
    solved = [8, 0, 8, 8, 0, 8]
    assert clustered_interval(solved, [8] * 6) == pytest.approx(wilson_interval(4, 6), abs=1e-12)
    assert clustered_interval([8] * 6, [8] * 6) == wilson_interval(6, 6)
    assert clustered_interval([0] * 6, [8] * 6) == wilson_interval(0, 6)


def test_samples_that_scatter_alike_in_every_problem_count_in_full() -> None:
    assert clustered_interval([4] * 6, [8] * 6) == pytest.approx(wilson_interval(24, 48), abs=1e-12)
