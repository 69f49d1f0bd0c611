"""What comes back from the sandbox: an outcome, how it came about, what it cost, and which walls stood."""

from dataclasses import dataclass
from typing import Literal

Outcome = Literal[
    "passed",
    "wrong_answer",  # it ran, and what it said is not what was expected
    "runtime_error",  # it raised, exited with a status other than 0, or died of a signal
    "time_limit",  # processor time or time on the clock
    "memory_limit",
    "output_limit",  # more output, or a larger or deeper value, than is read
    "compile_error",  # no valid program of its language, or too long a source
    "sandbox_violation",  # killed for a system call that no honest program makes
    "infra_error",  # the sandbox failed, not the program; nothing that a program does can bring this about
]
Isolation = Literal["namespaces", "portable", "unsafe_none"]


class SandboxUnavailable(RuntimeError):
    """No tier holds on this machine (or not the one asked for). Says what is missing and how to get it."""


class TaskError(ValueError):
    """The task itself is wrong: no tests, a test that is no Python, a value that cannot be sent. Not the program."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first line (from 1) where output and expectation part; None for a line that one side does not have.

    Both are cut to 200 characters. They are for people and for logs: show them to no policy.
    """

    line: int
    expected: str | None
    actual: str | None


@dataclass(frozen=True, slots=True)
class TestResult:
    """One case, call or assertion."""

    __test__ = False  # not a pytest class

    outcome: Outcome
    detail: str = ""  # one line for people; empty when passed
    difference: Difference | None = None  # only for a wrong answer that has lines or a value
    cpu_s: float = 0.0  # 0.0 for single calls: they share a process, whose time is in the RunResult
    wall_s: float = 0.0
    peak_memory_bytes: int = 0  # 0 for single calls
    stderr: str = ""  # its last 2,000 characters, undecodable bytes replaced


@dataclass(frozen=True, slots=True)
class RunResult:
    """One task. `passed` means that every test passed; otherwise the outcome is that of the first that did not."""

    outcome: Outcome
    tests: tuple[TestResult, ...]  # in the task's order; shorter than the task when it stopped at the first failure
    num_tests: int  # how many the task has
    isolation: Isolation  # the tier that ran it; `unsafe_none` taints every figure made from it
    detail: str = ""
    cpu_s: float = 0.0  # processor time of all its processes
    wall_s: float = 0.0  # time on the clock while one of its processes ran
    queue_s: float = 0.0  # time spent waiting for a free worker; never part of a limit
    peak_memory_bytes: int = 0

    @property
    def passed(self) -> bool:
        """Whether every test passed."""
        return self.outcome == "passed"

    @property
    def passed_share(self) -> float:
        """Tests passed of all the task has, in [0, 1]; exact only with `stop_at_first_failure=False`."""
        return sum(test.outcome == "passed" for test in self.tests) / self.num_tests
