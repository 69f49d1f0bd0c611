"""Nested answers print what the steps give, flat ones mostly do not, and the split follows the rule."""

import re
import subprocess
import sys
from random import Random

import pytest

from configs.prompts import ProgramPrompts, ProgramTraces
from data import programs
from data.programs import INPUTS, ProgramProblem
from data.vocabulary import build_tokenizer

pytestmark = pytest.mark.unit


def answer(trace: str) -> str:
    match = re.fullmatch(r"<think></think><answer>(.*)</answer>", trace)
    assert match is not None
    return match[1]


def printed(trace: str, x: int) -> int:
    """What our own arithmetic expression gives for x, without running it as a program."""
    expression = answer(trace).removeprefix("print(").removesuffix(")").replace("int(input())", f"({x})")
    assert re.fullmatch(r"[-+*()0-9]+", expression)
    return int(eval(expression))


def test_traces_of_the_example():
    problem = ProgramProblem(("+4", "*3", "-2"))
    assert problem.text == "+4*3-2:"
    assert problem.prompt_id == "programs:+4*3-2"
    assert answer(programs.nested(problem)) == "print(((int(input())+4)*3)-2)"
    assert answer(programs.flat(problem)) == "print(int(input())+4*3-2)"
    assert problem.reference["tests"][1] == {"stdin": "1\n", "stdout": "13\n"}


def test_a_nested_program_prints_the_answer_when_python_runs_it():
    problem = ProgramProblem(("-9", "*2", "+5", "*7"))
    program = answer(programs.nested(problem))
    for test in problem.reference["tests"]:
        run = subprocess.run(
            [sys.executable, "-I", "-c", program], input=test["stdin"], capture_output=True, text=True, check=True
        )
        assert run.stdout == test["stdout"]


@pytest.mark.parametrize("steps", [2, 3, 6])
def test_nested_is_always_right_and_flat_is_wrong_exactly_when_a_product_follows_a_sum(steps: int):
    rng = Random(steps)
    for _ in range(200):
        problem = programs.draw(ProgramPrompts(steps=steps), rng, "train")
        operators = "".join(step[0] for step in problem.steps)
        assert all(printed(programs.nested(problem), x) == problem.value(x) for x in INPUTS)
        flat_is_right = all(printed(programs.flat(problem), x) == problem.value(x) for x in INPUTS)
        assert flat_is_right == (re.search(r"[-+]\*", operators) is None)


@pytest.mark.parametrize("steps", [2, 3, 6])
def test_draws_keep_to_their_side_of_the_split_and_to_the_number_of_steps(steps: int):
    rng = Random(0)
    sides = {
        split: {programs.draw(ProgramPrompts(steps=steps), rng, split) for _ in range(200)}
        for split in ("train", "held_out")
    }
    assert not sides["train"] & sides["held_out"]
    assert {len(problem.steps) for side in sides.values() for problem in side} == {steps}


def test_no_prompt_is_longer_than_the_longest_and_all_are_spelled_in_characters():
    tokenizer = build_tokenizer("characters")
    rng = Random(1)
    config = ProgramTraces(steps=4)
    longest = len(programs.longest(config).text)
    for _ in range(50):
        problem = programs.draw(config, rng, "train")
        assert len(problem.text) <= longest
        for text in (problem.text, programs.nested(problem), programs.flat(problem)):
            assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=True) == text
