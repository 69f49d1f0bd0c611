import pytest

from configs.rewards import CosineLengthOptions
from rewards.length import cosine_length, overlong_penalty
from rewards.sample import Sample

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("tokens", "penalty"), [(0, 0), (80, 0), (85, -0.25), (90, -0.5), (100, -1), (130, -1)])
def test_the_penalty_falls_over_the_buffer_before_the_limit(tokens: int, penalty: float):
    assert overlong_penalty(tokens, limit=100, buffer=20) == pytest.approx(penalty)


def test_no_buffer_is_no_penalty():
    assert overlong_penalty(1000, limit=100, buffer=0) == 0


def test_a_buffer_above_the_limit_is_refused():
    with pytest.raises(ValueError, match="200 tokens does not fit below the limit of 100"):
        overlong_penalty(1, limit=100, buffer=200)


def cosine(tokens: int, correct: bool, limit: int = 100, **options: float) -> float:
    sample = Sample("", "", {}, tokens, limit, "length" if tokens >= limit else "stop")
    return cosine_length(sample, correct, **CosineLengthOptions(**options).model_dump()).value


def test_the_cosine_goes_from_the_short_to_the_long_end():
    assert cosine(0, True) == 1.0
    assert cosine(50, True) == pytest.approx((1 + 11 / 12) / 2)
    assert cosine(99, True) == pytest.approx(11 / 12, abs=1e-3)
    assert cosine(0, False) == 0.0
    assert cosine(99, False) == pytest.approx(10 / 12, abs=1e-3)
    assert cosine(25, False, wrong_long=1.0) == pytest.approx((1 - 0.5**0.5) / 2)


def test_right_is_better_short_and_wrong_is_better_long_and_cut_is_worst():
    rights = [cosine(tokens, True) for tokens in range(0, 100, 10)]
    wrongs = [cosine(tokens, False) for tokens in range(0, 100, 10)]
    assert rights == sorted(rights, reverse=True)
    assert wrongs == sorted(wrongs)
    assert min(rights) > max(wrongs)
    assert cosine(100, True) == cosine(100, False) == 0.0


def test_the_cosine_needs_a_limit():
    with pytest.raises(ValueError, match="max_completion_tokens is 0"):
        cosine(0, True, limit=0)
