"""What a child's end means, and that no count of tests can pass by missing some."""

from dataclasses import dataclass
from typing import cast

import pytest

from sandbox import SandboxLimits, TestResult
from sandbox.limits import MIB
from sandbox.results import Outcome
from sandbox.verdicts import Tally, failure
from sandbox.worker import ChildExit, Run

pytestmark = pytest.mark.unit

LIMITS = SandboxLimits(cpu_s=2.0, memory_bytes=64 * MIB)


@dataclass
class _Ended:
    output_overflowed: bool = False
    stderr_tail: str = ""


def outcome_of(left: ChildExit, overflowed: bool = False, stderr: str = "") -> tuple[Outcome, str] | None:
    return failure(left, cast(Run, _Ended(overflowed, stderr)), LIMITS)


def child(status: int = 0, killed: str = "", cpu_s: float = 0.1, memory: int = 20 * MIB) -> ChildExit:
    return ChildExit(status, killed, cpu_s, cpu_s, memory)


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (child(1), "runtime_error"),
        (child(125), "runtime_error"),  # the status of a failed set-up cannot be feigned into an infra_error
        (child(-11), "runtime_error"),
        (child(-9), "runtime_error"),
        (child(-9, cpu_s=3.0), "time_limit"),
        (child(-9, "cpu"), "time_limit"),
        (child(-9, "wall"), "time_limit"),
        (child(0, memory=65 * MIB), "memory_limit"),
        (child(98), "memory_limit"),
        (child(99), "compile_error"),
        (child(-31), "sandbox_violation"),
    ],
)
def test_each_end_has_its_outcome(left: ChildExit, expected: str) -> None:
    told = outcome_of(left)
    assert told is not None
    assert told[0] == expected


def test_an_orderly_end_is_no_failure_and_neither_is_one_asked_for() -> None:
    assert outcome_of(child(0)) is None
    assert outcome_of(child(-9, "asked", cpu_s=5.0)) is None  # many calls, each within its own limit


def test_a_kill_that_came_too_late_does_not_hide_how_it_ended() -> None:
    assert outcome_of(child(99, "asked"), stderr="SyntaxError: no") == ("compile_error", "SyntaxError: no")


def test_too_much_output_is_told_before_the_kill_that_it_caused() -> None:
    assert outcome_of(child(-9, "asked"), overflowed=True) == ("output_limit", "more than 4,194,304 bytes of output")


def test_the_detail_is_the_last_line_of_the_traceback() -> None:
    assert outcome_of(child(1), stderr="Traceback\n  line\nValueError: no\n") == ("runtime_error", "ValueError: no")


def test_a_task_passes_only_with_every_test_run_and_passed() -> None:
    assert Tally([TestResult("passed")] * 2).result(2, "portable").passed
    assert Tally([TestResult("passed")]).result(2, "portable").outcome == "infra_error"
    assert Tally([]).result(1, "portable").outcome == "infra_error"
    first = Tally([TestResult("passed"), TestResult("time_limit"), TestResult("wrong_answer")]).result(3, "portable")
    assert first.outcome == "time_limit"
    assert first.passed_share == pytest.approx(1 / 3)
    broken = Tally([TestResult("passed")]).result(1, "portable", ("memory_limit", "too much"))
    assert (broken.outcome, broken.passed) == ("memory_limit", False)


@pytest.mark.parametrize("field", ["cpu_s", "wall_s", "memory_bytes", "output_bytes"])
def test_limits_are_above_zero(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} is 0"):
        SandboxLimits(**{field: 0})
