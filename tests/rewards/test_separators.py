"""The demo's stand-ins for language consistency."""

import pytest

from rewards.sample import Sample
from rewards.separators import one_mark, semicolon_share

pytestmark = pytest.mark.unit


def sample(thought: str, answer: str = "912") -> Sample:
    return Sample("676+236:", f"<think>{thought}</think><answer>{answer}</answer>", {"answer": "912"})


@pytest.mark.parametrize(
    ("thought", "share"),
    [("6+6+0=12;7+3+1=11;6+2+1=09", 1.0), ("6+6+0=12;7+3+1=11,6+2+1=09", 0.5), ("a,b,c", 0.0), ("", 1.0)],
)
def test_the_share_counts_the_marks_of_the_thought(thought: str, share: float):
    assert semicolon_share(sample(thought)).value == share


def test_marks_of_the_answer_do_not_count():
    assert semicolon_share(sample("a;b", answer="9,1,2")).value == 1.0


@pytest.mark.parametrize(
    ("thought", "readable"),
    [
        ("6+6+0=12;7+3+1=11;6+2+1=09", 1.0),
        ("6+6+0=12,7+3+1=11,6+2+1=09", 1.0),
        ("6+6+0=12,7+3+1=11;6+2+1=09", 0.0),
        ("", 0.0),
    ],
)
def test_readable_is_a_thought_in_one_mark(thought: str, readable: float):
    assert one_mark(sample(thought)).value == readable
