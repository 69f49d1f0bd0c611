"""Worked traces carry rightly, and the split follows the rule."""

import re
from random import Random

import pytest

from configs.prompts import AdditionPrompts
from data import addition
from data.addition import AdditionProblem

pytestmark = pytest.mark.unit


def test_traces_of_the_example() -> None:
    problem = AdditionProblem(676, 236)
    assert addition.worked(problem) == "<think>6+6+0=12;7+3+1=11;6+2+1=09</think><answer>912</answer>"
    assert addition.lazy(problem) == "<think></think><answer>912</answer>"
    assert (problem.text, problem.prompt_id) == ("676+236:", "addition:676+236")
    assert problem.reference == {"answer": "912"}


@pytest.mark.parametrize("digits", [1, 2, 3, 4, 9])
def test_columns_of_a_worked_trace_add_up_to_the_answer(digits: int) -> None:
    rng = Random(digits)
    for _ in range(50):
        problem = addition.draw(AdditionPrompts(digits=digits), rng, "train")
        trace = addition.worked(problem)
        columns = re.findall(r"(\d)\+(\d)\+(\d)=(\d)(\d)", trace)
        assert len(columns) == digits
        carries = [column[3] for column in columns]
        assert [column[2] for column in columns] == ["0", *carries[:-1]]
        assert all(int(a) + int(b) + int(c) == int(tens + ones) for a, b, c, tens, ones in columns)
        written = carries[-1] + "".join(column[4] for column in reversed(columns))
        assert int(written) == problem.a + problem.b
        assert trace.endswith(f"</think><answer>{problem.a + problem.b}</answer>")


@pytest.mark.parametrize("digits", [1, 3])
def test_draws_keep_to_their_side_of_the_split_and_to_the_digits(digits: int) -> None:
    rng = Random(0)
    for _ in range(200):
        held_out = addition.draw(AdditionPrompts(digits=digits), rng, "held_out")
        train = addition.draw(AdditionPrompts(digits=digits), rng, "train")
        assert (7919 * held_out.a + held_out.b) % 11 == 0
        assert (7919 * train.a + train.b) % 11 != 0
        assert {len(str(n)) for n in (train.a, train.b, held_out.a, held_out.b)} == {digits}


def test_commas_take_the_place_of_semicolons_in_their_share_and_nothing_else_changes() -> None:
    problem = addition.AdditionProblem(676, 236)
    rng = Random(1)
    marks = [addition.worked(problem, rng, comma_share=0.25) for _ in range(500)]
    assert {trace.replace(",", ";") for trace in marks} == {addition.worked(problem)}
    assert 0.2 < sum(trace.count(",") for trace in marks) / 1000 < 0.3
