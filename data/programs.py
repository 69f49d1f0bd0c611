"""Tiny programming problems: `+4*3-2:` asks for a program that reads x and prints x with these steps done in order.

Contract: a problem is held out by a hash of its steps, whatever the config. An answer is one line of Python, right when
it nests the steps in parentheses; without them Python multiplies first, and most answers are wrong. Inputs and outputs
of the tests hang on the steps alone.
"""

from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from typing import Any

from configs.prompts import ProgramPrompts, ProgramTraces, Split

OPERATORS = "+-*"
OPERANDS = range(2, 10)  # without 1: x*1 would forgive a forgotten step
INPUTS = (0, 1, -7, 12, 345)  # of the tests; two points would settle what is linear, the rest are there for doubt


@dataclass(frozen=True, slots=True)
class ProgramProblem:
    """Steps from left to right, such as `("+4", "*3", "-2")`."""

    steps: tuple[str, ...]

    @property
    def text(self) -> str:
        """The prompt, such as `+4*3-2:`."""
        return "".join(self.steps) + ":"

    @property
    def prompt_id(self) -> str:
        """Name of the problem in every run."""
        return f"programs:{''.join(self.steps)}"

    @property
    def reference(self) -> dict[str, Any]:
        """What the code reward needs."""
        return {"tests": [{"stdin": f"{x}\n", "stdout": f"{self.value(x)}\n"} for x in INPUTS]}

    @property
    def split(self) -> Split:
        """The side of the split that the problem is on: one in eleven is held out."""
        digest = blake2b("".join(self.steps).encode(), digest_size=8).digest()
        return "held_out" if int.from_bytes(digest, "big") % 11 == 0 else "train"

    def value(self, x: int) -> int:
        """What the program must print for x."""
        for step in self.steps:
            operand = int(step[1:])
            x = {"+": x + operand, "-": x - operand, "*": x * operand}[step[0]]
        return x


def draw(config: ProgramPrompts | ProgramTraces, rng: Random, split: Split) -> ProgramProblem:
    """A uniform problem of one side of the split. Both sides have problems for every number of steps."""
    while True:
        steps = tuple(f"{rng.choice(OPERATORS)}{rng.choice(OPERANDS)}" for _ in range(config.steps))
        problem = ProgramProblem(steps)
        if problem.split == split:
            return problem


def longest(config: ProgramPrompts | ProgramTraces) -> ProgramProblem:
    """A problem whose prompt is as long as any that `draw` gives."""
    return ProgramProblem(("+9",) * config.steps)


def nested(problem: ProgramProblem) -> str:
    """The right program: `+4*3` gives `<think></think><answer>print((int(input())+4)*3)</answer>`."""
    expression = "int(input())"
    for number, step in enumerate(problem.steps):
        expression = f"({expression}){step}" if number else f"{expression}{step}"
    return f"<think></think><answer>print({expression})</answer>"


def flat(problem: ProgramProblem) -> str:
    """The steps as they stand: right only when no product comes after a sum."""
    return f"<think></think><answer>print(int(input()){''.join(problem.steps)})</answer>"
