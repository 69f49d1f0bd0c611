"""What can be asked of the sandbox: a program and its tests. Tests never enter the process that runs the program."""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sandbox import asserts
from sandbox.results import TaskError

Language = Literal["python", "c", "cpp", "javascript"]
Compare = Literal["exact", "python", "float", "float_relative", "unordered", "unordered_nested"]
OutputCompare = Literal["exact", "lines", "float"]
LONGEST_TIME_LIMIT_S = 600.0


@dataclass(frozen=True, slots=True)
class Checker:
    """A Python program that judges answers where many are right. It runs in a sandboxed process of its own.

    `source` defines `entry_point`, called as `check(input, expected, actual)` and returning exactly True or False:
    for a StdioTask three strings, for a FunctionTask `(args, kwargs)`, the expected and the returned value.
    A checker that raises makes the test a wrong_answer; one that cannot run at all a TaskError.
    """

    source: str
    entry_point: str = "check"


@dataclass(frozen=True, slots=True)
class StdioTask:
    """A whole program that reads standard input and writes standard output; a fresh process for each case.

    Each case is (stdin, expected stdout). Compared line by line, as many lines on both sides: trailing white space and
    empty lines at the end do not count, within a line the words do and the spaces between them do not. `exact`: the
    same words; `lines`: the same lines, spaces within them and all; `float`: words that are both numbers, finite and at
    most 40 characters long, may differ by 1e-6 relative or absolute; a Checker decides by itself.

    `time_limit_s`, in every kind of task: processor time of each test in place of the sandbox's `cpu_s`; the limit on
    the clock grows with it and never shrinks. Raises TaskError without cases, or for a time limit that is none.
    """

    language: Language
    source: str
    cases: Sequence[tuple[str, str]]
    compare: OutputCompare | Checker = "exact"
    stop_at_first_failure: bool = True
    time_limit_s: float | None = None

    def __post_init__(self) -> None:
        _need(self.cases, "cases")
        _check_time_limit(self.time_limit_s)


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """One call and the value it must return."""

    args: Sequence[Any]
    expected: Any
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class FunctionTask:
    """A function (`entry_point="solve"`) or a method of a fresh object for each call (`"Solution.solve"`), in Python.

    All calls go to one process, which sees arguments only. Values are of exact built-in types: None, bool, int up to
    65,536 bits, float, str, bytes, list, tuple, dict, set, frozenset, nested up to 100 deep.

    - `exact`: as JSON, types and all: True is not 1, 1 is not 1.0, but a tuple is as good as a list; NaN equals NaN;
    - `python`: what Python's `==` says: 1 == 1.0 == True, (1,) != [1];
    - `float`: like exact, but int and float are both numbers and may differ by 1e-6, relative or absolute;
    - `float_relative`: like float, but by 1e-9 relative;
    - `unordered`: like exact, but the outermost list may be in any order;
    - `unordered_nested`: like exact, but every list may be in any order;
    - a Checker.

    Raises TaskError without calls, or for a value that is none of the above.
    """

    source: str
    entry_point: str
    calls: Sequence[FunctionCall]
    compare: Compare | Checker = "exact"
    stop_at_first_failure: bool = True
    time_limit_s: float | None = None

    def __post_init__(self) -> None:
        _need(self.calls, "calls")
        _check_time_limit(self.time_limit_s)
        parts = self.entry_point.split(".")
        if len(parts) > 2 or not all(part.isidentifier() for part in parts):
            raise TaskError(f"entry_point {self.entry_point!r} is neither a function nor Class.method")


@dataclass(frozen=True, slots=True)
class AssertTask:
    """A function and test code in Python: MBPP's lines of `assert`, or HumanEval's `def check(candidate)`.

    The test code never meets the solution. Lines `assert f(1, 2) == 3` are taken apart and compared by the parent;
    all other test code runs in a second sandboxed process in which `entry_point` (and `candidate`) forwards each call.
    There a solution's exception of a built-in type is raised again, a list that the solution changed in place is not
    changed, and functions cannot be arguments. `setup_source` is the data set's own code that the tests use (imports,
    helper functions of the prompt); it never comes from the policy.

    Raises TaskError when the test code is no Python or asserts nothing.
    """

    source: str
    test_source: str
    entry_point: str
    setup_source: str = ""
    stop_at_first_failure: bool = True
    time_limit_s: float | None = None

    def __post_init__(self) -> None:
        _check_time_limit(self.time_limit_s)
        if not self.entry_point.isidentifier():
            raise TaskError(f"entry_point {self.entry_point!r} is no name of a function")
        for name, code in (("test_source", self.test_source), ("setup_source", self.setup_source)):
            try:
                ast.parse(code)
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                raise TaskError(f"{name} is no Python: {error}") from error
        asserts.steps(self.test_source, self.entry_point)


@dataclass(frozen=True, slots=True)
class SyntaxTask:
    """Whether the source is a program of its language: compiled, never run."""

    language: Language
    source: str


Task = StdioTask | FunctionTask | AssertTask | SyntaxTask


def _check_time_limit(time_limit_s: float | None) -> None:
    if time_limit_s is not None and not 0 < time_limit_s <= LONGEST_TIME_LIMIT_S:
        raise TaskError(f"time_limit_s is {time_limit_s}; it must be above 0 and at most {LONGEST_TIME_LIMIT_S:g}")


def _need(tests: Sequence[object], name: str) -> None:
    if not tests:
        raise TaskError(f"a task without {name} would pass every program")
