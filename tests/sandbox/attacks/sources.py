"""Attacks on the compiler: sources that are no text, no Python, or a bomb before the first line runs."""

from sandbox.results import Outcome
from tests.sandbox.attacks.attack import Attack

NO_PYTHON = {
    "a zero byte": "print(1)\0\n",
    "half a surrogate pair": "x = '\ud800'\n",
    "not closed": "print((((",
    "ten thousand brackets": "(" * 10_000 + ")" * 10_000,
    "blocks inside blocks": "".join(" " * i + "if 1:\n" for i in range(200)) + " " * 200 + "pass\n",
    "a number of a hundred thousand digits": "x = " + "9" * 100_000 + "\n",
    "longer than is read": "x = 1\n" * 200_000,
    "no indentation": "def f():\nreturn 1\n",
    "strings inside strings": "f'{" * 300 + "\n",
    "prose": "I think the answer is to print the word.\n",
}
# Where the compiler of the machine is strong enough these are programs, which print nothing.
DEEP = {
    "a hundred thousand signs": "x = " + "-" * 100_000 + "1\n",
    "a hundred thousand powers": "x = " + "1**" * 100_000 + "1\n",
    "a hundred thousand attributes": "x = 1" + ".a" * 100_000 + "\n",
    "seventy thousand lambdas": "x = " + "lambda:" * 70_000 + "1\n",
    "forty thousand conditions": "x = " + "1 if 1 else " * 40_000 + "1\n",
    "constants that explode": "x = ((1 << 60) ** 60) ** 60 ** 60\n",
    "an unknown encoding": "# -*- coding: klingon -*-\nprint(1)\n",
    "nothing": "",
}
ANY_END: frozenset[Outcome] = frozenset(
    {"compile_error", "memory_limit", "time_limit", "runtime_error", "wrong_answer"}
)

ATTACKS: tuple[Attack, ...] = (
    *(
        Attack(f"source: {n}", "program", s, frozenset({"compile_error"}), (("", "breached"),))
        for n, s in NO_PYTHON.items()
    ),
    *(Attack(f"syntax: {n}", "syntax", s, frozenset({"compile_error"})) for n, s in NO_PYTHON.items()),
    *(Attack(f"source: {n}", "program", s, ANY_END, (("", "breached"),)) for n, s in DEEP.items()),
)
