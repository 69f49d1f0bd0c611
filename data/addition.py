"""Column addition: problems `676+236:` and the answers of a program, worked (with carries) or lazy (at once).

Contract: a problem is held out when (7919·a + b) mod 11 = 0, whatever the config, so training and evaluation never
overlap. Summands have exactly `digits` digits (a single digit may be 0).
"""

from dataclasses import dataclass
from random import Random
from typing import Any

from configs.prompts import AdditionPrompts, AdditionTraces, Split


@dataclass(frozen=True, slots=True)
class AdditionProblem:
    """The sum a + b."""

    a: int
    b: int

    @property
    def text(self) -> str:
        """The prompt, such as `676+236:`."""
        return f"{self.a}+{self.b}:"

    @property
    def hinted_text(self) -> str:
        """The prompt with the answer shown, such as `676+236(912):`."""
        return f"{self.a}+{self.b}({self.a + self.b}):"

    @property
    def prompt_id(self) -> str:
        """Name of the problem in every run."""
        return f"addition:{self.a}+{self.b}"

    @property
    def reference(self) -> dict[str, Any]:
        """What the rewards need."""
        return {"answer": str(self.a + self.b)}

    @property
    def split(self) -> Split:
        """The side of the split that the problem is on."""
        return "held_out" if (7919 * self.a + self.b) % 11 == 0 else "train"


def draw(config: AdditionPrompts | AdditionTraces, rng: Random, split: Split) -> AdditionProblem:
    """A uniform problem of one side of the split. Both sides have problems for every number of digits."""
    lowest = 0 if config.digits == 1 else 10 ** (config.digits - 1)
    highest = 10**config.digits - 1
    while True:
        problem = AdditionProblem(rng.randint(lowest, highest), rng.randint(lowest, highest))
        if problem.split == split:
            return problem


def problem_of(prompt_id: str) -> AdditionProblem:
    """The problem that a prompt id names."""
    a, b = prompt_id.removeprefix("addition:").split("+")
    return AdditionProblem(int(a), int(b))


def longest(config: AdditionPrompts | AdditionTraces) -> AdditionProblem:
    """A problem with the longest prompt that `draw` can give."""
    return AdditionProblem(10**config.digits - 1, 10**config.digits - 1)


def worked(problem: AdditionProblem, rng: Random | None = None, comma_share: float = 0.0) -> str:
    """Digits from the right: digit + digit + carry = two digits, of which the first is the next carry.

    676+236 gives `<think>6+6+0=12;7+3+1=11;6+2+1=09</think><answer>912</answer>`. With `rng`, each semicolon is a comma
    with the probability `comma_share`.
    """
    columns: list[str] = []
    carry = 0
    for digit_a, digit_b in zip(reversed(str(problem.a)), reversed(str(problem.b)), strict=True):
        total = int(digit_a) + int(digit_b) + carry
        columns.append(f"{digit_a}+{digit_b}+{carry}={total:02d}")
        carry = total // 10
    ends = [";" if rng is None or rng.random() >= comma_share else "," for _ in columns[1:]] + [""]
    thought = "".join(column + end for column, end in zip(columns, ends, strict=True))
    return f"<think>{thought}</think><answer>{problem.a + problem.b}</answer>"


def lazy(problem: AdditionProblem) -> str:
    """The right sum with no work shown, which a small policy cannot learn: it answers at once, and wrongly."""
    return f"<think></think><answer>{problem.a + problem.b}</answer>"
