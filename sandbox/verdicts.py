"""How a child's end reads as an outcome. A status of 0 is the absence of a failure here, never a pass."""

import signal
from dataclasses import dataclass, field

from sandbox.inside import programs
from sandbox.limits import MIB, SandboxLimits
from sandbox.results import Isolation, Outcome, RunResult, TestResult
from sandbox.worker import ChildExit, Run


def failure(left: ChildExit, run: Run, limits: SandboxLimits) -> tuple[Outcome, str] | None:
    """(outcome, one line of why), or None when nothing went wrong. What the program can feign only ever costs it."""
    if run.output_overflowed:
        return "output_limit", f"more than {limits.output_bytes:,} bytes of output"
    ended_by_kernel = left.status == -signal.SIGKILL and not left.killed
    if left.killed == "cpu" or (ended_by_kernel and left.cpu_s >= limits.cpu_s):
        return "time_limit", f"more than {limits.cpu_s:g} s of processor time"
    if left.killed == "wall":
        return "time_limit", f"more than {limits.wall_s:g} s on the clock"
    too_large = left.killed == "memory" or left.peak_memory_bytes > limits.memory_bytes
    if too_large or left.status == programs.MEMORY_STATUS:
        return "memory_limit", f"more than {limits.memory_bytes // MIB:,} MiB of memory"
    if left.killed == "asked" and left.status == -signal.SIGKILL:
        return None  # the service had seen enough; with another status it was ending already when the kill came
    if left.status == -signal.SIGSYS:
        return "sandbox_violation", "killed for a system call that no honest program makes"
    last = run.stderr_tail.rstrip().rpartition("\n")[2].strip()[:300]
    if left.status == programs.COMPILE_STATUS:
        return "compile_error", last
    if left.status < 0:
        return "runtime_error", f"killed by {_signal_name(-left.status)}"
    if left.status > 0:
        return "runtime_error", last or f"exit status {left.status}"
    return None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@dataclass(slots=True)
class Tally:
    """What a task has cost so far, and its tests."""

    tests: list[TestResult] = field(default_factory=list[TestResult])
    cpu_s: float = 0.0
    wall_s: float = 0.0
    queue_s: float = 0.0
    peak_memory_bytes: int = 0

    def charge(self, left: ChildExit) -> None:
        """Add a child that has ended."""
        self.cpu_s += left.cpu_s
        self.wall_s += left.wall_s
        self.peak_memory_bytes = max(self.peak_memory_bytes, left.peak_memory_bytes)

    def result(self, num_tests: int, isolation: Isolation, broken: tuple[Outcome, str] | None = None) -> RunResult:
        """The whole task: `broken` when it could not be judged, else the first failure, else passed."""
        first = next((test for test in self.tests if test.outcome != "passed"), None)
        if broken is None and first is None and len(self.tests) != num_tests:
            broken = "infra_error", f"{len(self.tests)} of {num_tests} tests were run"
        outcome, detail = broken or ((first.outcome, first.detail) if first else ("passed", ""))
        return RunResult(
            outcome=outcome,
            tests=tuple(self.tests),
            num_tests=num_tests,
            isolation=isolation,
            detail=detail,
            cpu_s=self.cpu_s,
            wall_s=self.wall_s,
            queue_s=self.queue_s,
            peak_memory_bytes=self.peak_memory_bytes,
        )
