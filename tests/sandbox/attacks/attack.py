"""An attack: a small program, what it tries, and the outcomes that mean that it came to nothing.

Every test of an attack expects what only a success could say: `breached`, or a secret that the program has no honest
way to know. `passed` is therefore always a breach. An outcome that is not allowed is one as well: an attack that fails
by a mistake of its own would otherwise count as held. `infra_error` is never allowed: it is masked, not scored, so a
policy that could cause it would escape its verdict.
"""

from dataclasses import dataclass, field
from textwrap import dedent
from typing import Any

from sandbox import AssertTask, FunctionCall, FunctionTask, Language, StdioTask, SyntaxTask, Task
from sandbox.results import Outcome

PRELUDE = """\
import ctypes, errno, os, signal, sys
def tell(broken, why=""):
    print("breached" if broken else f"held: {why}")
def attempt(*actions):
    reasons = []
    for action in actions:
        try:
            reasons.append(repr(action()))
        except OSError as error:
            reasons.append(repr(error))
        else:
            return tell(True, reasons)
    tell(False, reasons)
def call(number, *args):
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    return result if result >= 0 else -ctypes.get_errno()
"""


@dataclass(frozen=True, slots=True)
class Bait:
    """What the service holds and a program must not get; `@NAME@` in a source or an expectation stands for it."""

    secret: str  # a word in the service's environment, memory and files
    number: int  # what every attacked function is expected to return
    mark: str  # part of the name of every file that an attack tries to leave behind
    port: int  # of a listening TCP socket on 127.0.0.1
    file: str  # a world-readable file that holds the secret, outside the sandbox
    socket: str  # path of a listening unix socket; its name in the abstract space is the mark
    service_pid: int  # as the machine counts

    def fill(self, text: str) -> str:
        """The text with every placeholder replaced."""
        for name in self.__slots__:
            text = text.replace(f"@{name.upper()}@", str(getattr(self, name)))
        return text


@dataclass(frozen=True, slots=True)
class Attack:
    """`guard`: harmless even where it succeeds; guards run first, and a breach ends the whole suite."""

    id: str
    kind: str  # program, function, asserts, syntax
    source: str
    allowed: frozenset[Outcome]
    tests: tuple[Any, ...] = ()  # program: (stdin, stdout); function: FunctionCall; asserts: (test code,)
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    guard: bool = False
    language: Language = "python"  # of whole programs

    def task(self, bait: Bait) -> Task:
        """The attack against this bait."""
        source = bait.fill(self.source)
        match self.kind:
            case "program":
                cases = [(stdin, bait.fill(stdout)) for stdin, stdout in self.tests]
                return StdioTask(self.language, source, cases, **self.options)
            case "function":
                calls = self.tests or tuple(FunctionCall([n], bait.number) for n in (3, 4))
                return FunctionTask(source, self.options.get("entry_point", "f"), calls)
            case "asserts":
                (test,) = self.tests
                return AssertTask(source, bait.fill(test), "f")
            case _:
                return SyntaxTask("python", source)


def program(
    name: str, source: str, *allowed: Outcome, expected: str = "breached", guard: bool = False, **options: Any
) -> Attack:
    """A whole program with the prelude's helpers; by default it may only get its answer wrong."""
    tests = ((options.pop("stdin", ""), expected),)
    outcomes = frozenset(allowed or ("wrong_answer",))
    return Attack(name, "program", PRELUDE + dedent(source), outcomes, tests, options, guard)


def function(name: str, source: str, *allowed: Outcome, calls: tuple[FunctionCall, ...] = (), **options: Any) -> Attack:
    """A function `f` that is expected to return the bait's number, which nothing tells it."""
    return Attack(name, "function", dedent(source), frozenset(allowed or ("wrong_answer",)), calls, options)


def asserts(name: str, source: str, test: str, *allowed: Outcome) -> Attack:
    """A function `f` before test code of a data set."""
    return Attack(name, "asserts", dedent(source), frozenset(allowed or ("wrong_answer",)), (dedent(test),))
