"""Searches are right in every figure, answers are valid under strict scoring, and the split ignores disguises."""

import ast
import operator
import re
from collections import Counter
from itertools import permutations
from random import Random
from typing import Any, Literal

import pytest

from configs.prompts import CountdownPrompts
from data import countdown
from data.countdown import CountdownProblem
from data.errors import DataError

pytestmark = pytest.mark.unit

OPERATORS: dict[type, Any] = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}
Order = Literal["given", "any"]


def evaluate(expression: str) -> int:
    def value(node: Any) -> int:
        if isinstance(node, ast.BinOp):
            return OPERATORS[type(node.op)](value(node.left), value(node.right))
        assert isinstance(node, ast.Constant)
        assert isinstance(node.value, int)
        return node.value

    return value(ast.parse(expression, mode="eval").body)


def parts(text: str) -> tuple[str, str]:
    match = re.fullmatch(r"<think>(.*)</think><answer>(.*)</answer>", text)
    assert match is not None, text
    return match[1], match[2]


def draws(count: int, numbers: int, order: Order, seed: int = 0) -> list[CountdownProblem]:
    rng = Random(seed)
    config = CountdownPrompts(numbers=numbers, order=order)
    return [countdown.draw(config, rng, "train") for _ in range(count)]


def test_the_search_of_the_example() -> None:
    assert countdown.careful(CountdownProblem((8, 2, 1), 5, "given"), 99) == (
        "<think>8+2=10,+1=11,-1=9,*1=10;8-2=6,+1=7,-1=5</think><answer>8-2-1</answer>"
    )
    assert countdown.careful(CountdownProblem((8, 2, 1), 10, "given"), 99).endswith("<answer>(8+2)*1</answer>")
    assert countdown.careless(CountdownProblem((8, 2, 1), 5, "given"), 99) == (
        "<think>8+2=10,+1=11</think><answer>8+2+1</answer>"
    )


@pytest.mark.parametrize("order", ["given", "any"])
@pytest.mark.parametrize("numbers", [2, 3, 4])
def test_careful_answers_reach_the_target_with_each_number_once(numbers: int, order: Order) -> None:
    for problem in draws(150, numbers, order):
        _, answer = parts(countdown.careful(problem, 99))
        used = [int(number) for number in re.findall(r"\d+", answer)]
        assert evaluate(answer) == problem.target
        assert Counter(used) == Counter(problem.numbers)
        if order == "given":
            assert tuple(used) == problem.numbers


@pytest.mark.parametrize("order", ["given", "any"])
@pytest.mark.parametrize("numbers", [2, 3, 4])
def test_every_equation_of_a_search_holds_and_only_its_last_result_is_the_target(numbers: int, order: Order) -> None:
    for problem in draws(60, numbers, order):
        trace, _ = parts(countdown.careful(problem, 99))
        leaves: list[int] = []
        for branch in trace.split(";"):
            chain, *ends = branch.split(",")
            value = int(re.match(r"\d+", chain)[0])  # pyright: ignore[reportOptionalSubscript]
            for sign, number, result in re.findall(r"([+*-])(\d+)=(\d+)", chain):
                value = evaluate(f"{value}{sign}{number}")
                assert value == int(result)
            for end in ends:
                step, result = end.split("=")
                assert evaluate(f"{value}{step}") == int(result)
                leaves.append(int(result))
        assert all(0 <= leaf <= 99 for leaf in leaves)
        assert problem.target not in leaves[:-1]
        assert leaves[-1] == problem.target


def test_the_any_order_search_misses_nothing_that_some_order_reaches_from_left_to_right() -> None:
    reached: set[int] = set()
    for numbers in permutations((7, 3, 5)):
        values = {numbers[0]}
        for number in numbers[1:]:
            steps = {result for v in values for result in (v + number, v - number, v * number)}
            values = {result for result in steps if 0 <= result <= 99}
        reached |= values
    for target in range(100):
        problem = CountdownProblem((3, 7, 5), target, "any")
        if target in reached:
            assert evaluate(parts(countdown.careful(problem, 99))[1]) == target
        else:
            with pytest.raises(ValueError, match="cannot be reached"):
                countdown.careful(problem, 99)


def test_any_order_problems_are_not_all_solvable_in_the_order_shown() -> None:
    unsolved = 0
    for problem in draws(200, 3, "any"):
        try:
            countdown.careful(CountdownProblem(problem.numbers, problem.target, "given"), 99)
        except ValueError:
            unsolved += 1
    assert unsolved > 20


def test_about_a_tenth_is_held_out_and_no_reordering_crosses_the_split() -> None:
    problems = {p.prompt_id: p for p in draws(300, 3, "any")}.values()
    for problem in problems:
        for numbers in permutations(problem.numbers):
            for order in ("given", "any"):
                assert CountdownProblem(numbers, problem.target, order).split == "train"
    grid = [CountdownProblem((a, b), t, "given") for a in range(1, 30) for b in range(a, 30) for t in range(30)]
    share = sum(problem.split == "held_out" for problem in grid) / len(grid)
    assert 0.08 < share < 0.12


def test_the_split_is_the_same_in_every_process() -> None:
    assert CountdownProblem((8, 2, 1), 10, "given").split == "held_out"
    assert CountdownProblem((8, 2, 1), 14, "given").split == "train"


def test_results_stay_within_max_value() -> None:
    rng = Random(1)
    config = CountdownPrompts(numbers=3, max_number=9, max_value=12)
    for _ in range(50):
        problem = countdown.draw(config, rng, "train")
        trace, _ = parts(countdown.careful(problem, 12))
        assert max(int(result) for result in re.findall(r"=(\d+)", trace)) <= 12


def test_a_split_without_problems_is_refused_with_the_settings() -> None:
    config = CountdownPrompts(numbers=2, max_number=2)
    with pytest.raises(DataError, match=r"no held_out countdown problem .* max_number = 2"):
        countdown.draw(config, Random(0), "held_out")
