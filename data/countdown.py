"""Countdown: reach a target with given numbers (TinyZero's task); the traces of a program that searches depth first.

Contract: problems are solvable by + - * from left to right with every result in 0..max_value. The side of the split
hangs on the target and the numbers regardless of their order, so that no config's training problem is another config's
held-out problem in disguise.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import permutations
from random import Random
from typing import Any, Literal

from configs.prompts import CountdownPrompts, CountdownTraces, Split
from data.errors import DataError

MAX_DRAWS = 10_000  # in a row without a problem: the settings leave nothing to draw


@dataclass(frozen=True, slots=True)
class CountdownProblem:
    """Numbers, the target, and whether the numbers must be used in the order shown."""

    numbers: tuple[int, ...]
    target: int
    order: Literal["given", "any"]

    @property
    def text(self) -> str:
        """The prompt, such as `14=8,2,1:`."""
        return f"{self.target}={','.join(map(str, self.numbers))}:"

    @property
    def prompt_id(self) -> str:
        """Name of the problem in every run."""
        return f"countdown:{self.order}:{self.text[:-1]}"

    @property
    def reference(self) -> dict[str, Any]:
        """What the rewards need."""
        return {"numbers": list(self.numbers), "target": self.target, "order": self.order}

    @property
    def split(self) -> Split:
        """The side of the split that the problem is on: one problem in ten is held out, by a stable hash."""
        key = f"{self.target}={','.join(map(str, sorted(self.numbers)))}"
        digest = int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big")
        return "held_out" if digest % 10 == 0 else "train"


def draw(config: CountdownPrompts | CountdownTraces, rng: Random, split: Split) -> CountdownProblem:
    """Uniform numbers, and as the target what uniform operators make of them. Raises DataError if none can be found."""
    for _ in range(MAX_DRAWS):
        numbers = [rng.randint(1, config.max_number) for _ in range(config.numbers)]
        target = _random_result(numbers, config.max_value, rng)
        if target is None:
            continue
        if config.order == "any":  # or the numbers would always stand in an order that solves the problem
            rng.shuffle(numbers)
        problem = CountdownProblem(tuple(numbers), target, config.order)
        if problem.split == split:
            return problem
    raise DataError(
        f"no {split} countdown problem came up in {MAX_DRAWS} draws of {config.numbers} numbers up to max_number = "
        f"{config.max_number} with results up to max_value = {config.max_value}; raise max_value or change max_number."
    )


def problem_of(reference: Mapping[str, Any]) -> CountdownProblem:
    """The problem that a prompt's reference describes."""
    return CountdownProblem(tuple(reference["numbers"]), reference["target"], reference["order"])


def longest(config: CountdownPrompts | CountdownTraces) -> CountdownProblem:
    """A problem whose prompt is at least as long as any that `draw` gives (it need not be solvable)."""
    return CountdownProblem((config.max_number,) * config.numbers, config.max_value, config.order)


def hinted_text(problem: CountdownProblem, max_value: int) -> str:
    """The prompt with the first solution of the search shown, such as `5=8,2,1[8-2-1]:`. Raises as `careful` does."""
    _, hit = _search(problem, max_value)
    return f"{problem.text[:-1]}[{hit}]:"


def careful(problem: CountdownProblem, max_value: int) -> str:
    """The search up to the hit: each branch down to its last but one number, then every result one number further.

    14=8,2,1 searches `8+2=10,+1=11,-1=9,*1=10;8-2=6,+1=7,…`; results outside 0..max_value are left out. With two
    numbers the branch is the first number itself. Raises ValueError for a problem that no such search solves.
    """
    trace, hit = _search(problem, max_value)
    return f"<think>{trace}</think><answer>{hit}</answer>"


def _search(problem: CountdownProblem, max_value: int) -> tuple[str, str]:
    """The trace up to the hit, and the expression that hits. Raises ValueError when none does."""
    trace = ""
    for node in _walk(problem, max_value):
        trace += node.text
        if node.leaf and node.value == problem.target:
            return trace, node.expression
    raise ValueError(f"{problem.text[:-1]} cannot be reached from left to right with results in 0..{max_value}")


def careless(problem: CountdownProblem, max_value: int) -> str:
    """The first result of the same search, whatever it is."""
    trace = ""
    for node in _walk(problem, max_value):
        trace += node.text
        if node.leaf:
            return f"<think>{trace}</think><answer>{node.expression}</answer>"
    raise ValueError(f"{problem.text[:-1]} has no result from left to right in 0..{max_value}")


@dataclass(frozen=True, slots=True)
class _Node:
    """A result on the way: what the trace says, its value, and the expression that gives it."""

    text: str
    value: int
    expression: str
    sum_outside: bool  # the last operator was + or -, so that a product needs parentheses around the expression
    leaf: bool = False  # all numbers are used


def _walk(problem: CountdownProblem, max_value: int) -> Iterator[_Node]:
    """Every branch and its leaves, depth first, in the order in which a trace tells them."""
    separator = ""
    for numbers in _orders(problem):
        for branch in _branches(numbers[:-1], max_value):
            yield _Node(separator + branch.text, branch.value, branch.expression, branch.sum_outside)
            separator = ";"
            for leaf in _children(branch, numbers[-1], max_value):
                yield _Node(f",{leaf.text}", leaf.value, leaf.expression, leaf.sum_outside, leaf=True)


def _orders(problem: CountdownProblem) -> list[tuple[int, ...]]:
    """Orders worth a search. With the larger of the first two in front nothing is lost: + and * do not care, - would go
    below zero."""
    if problem.order == "given":
        return [problem.numbers]
    return [numbers for numbers in dict.fromkeys(permutations(problem.numbers)) if numbers[0] >= numbers[1]]


def _branches(numbers: tuple[int, ...], max_value: int) -> Iterator[_Node]:
    """All results of the numbers from left to right, depth first, each told from its first number on."""
    first = str(numbers[0])
    stack = [(_Node(first, numbers[0], first, sum_outside=False), 1)]
    while stack:
        node, used = stack.pop()
        if used == len(numbers):
            yield node
            continue
        children = list(_children(node, numbers[used], max_value))
        for child in reversed(children):
            told = _Node(node.text + child.text, child.value, child.expression, child.sum_outside)
            stack.append((told, used + 1))


def _children(node: _Node, number: int, max_value: int) -> Iterator[_Node]:
    """The results one number further that stay in range, in the order + - *."""
    for operator, value in _results(node.value, number):
        if 0 <= value <= max_value:
            product = operator == "*"
            left = f"({node.expression})" if product and node.sum_outside else node.expression
            yield _Node(f"{operator}{number}={value}", value, f"{left}{operator}{number}", sum_outside=not product)


def _results(value: int, number: int) -> tuple[tuple[str, int], ...]:
    return (("+", value + number), ("-", value - number), ("*", value * number))


def _random_result(numbers: list[int], max_value: int, rng: Random) -> int | None:
    """What uniform operators make of the numbers from left to right; None where every next result leaves the range."""
    value = numbers[0]
    for number in numbers[1:]:
        choices = [result for _, result in _results(value, number) if 0 <= result <= max_value]
        if not choices:
            return None
        value = rng.choice(choices)
    return value
