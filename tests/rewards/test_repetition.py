import time

import pytest

from rewards.repetition import repetition
from rewards.sample import Sample

pytestmark = pytest.mark.unit


def score(text: str, n: int = 20) -> float:
    return repetition(Sample("", text, {}), ngram_words=n).value


def test_text_without_a_repeated_run_scores_one():
    assert score(" ".join(map(str, range(500)))) == 1.0
    assert score("too short") == 1.0
    assert score("") == 1.0


def test_the_score_is_the_share_of_distinct_runs():
    assert score("a b a b a b", n=2) == pytest.approx(2 / 5)
    assert score("a b c d", n=2) == 1.0


def test_a_loop_scores_near_zero():
    assert score("wait, let me think again. " * 500) < 0.01
    assert score("我们再想一想。" * 500) < 0.01


def test_signs_and_case_are_words_of_their_own():
    assert score("a + b a - b", n=3) == 1.0
    assert score("A b a b", n=2) == 1.0


def test_a_long_response_costs_little():
    started = time.process_time()
    score("word " * 40_000)
    assert time.process_time() - started < 2.0
