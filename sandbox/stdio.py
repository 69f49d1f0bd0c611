"""Runs a whole program once for each case."""

import asyncio
from dataclasses import dataclass

from sandbox.checking import check
from sandbox.compare import output_difference
from sandbox.limits import SandboxLimits
from sandbox.pool import Pool
from sandbox.results import TestResult
from sandbox.session import encoded
from sandbox.tasks import Checker, StdioTask
from sandbox.verdicts import Tally, failure
from sandbox.worker import ChildExit, Mode, Run, Worker

_LARGE_BYTES = 1 << 16  # compared in a thread, so that the service goes on


@dataclass(frozen=True, slots=True)
class Program:
    """A program made ready to run any number of times."""

    pool: Pool
    mode: Mode
    data: bytes  # its source, or the compiled program
    arguments: tuple[str, ...] = ()  # of what is executed in place of the child


async def run_stdio(
    task: StdioTask, program: Program | TestResult, judges: Pool, limits: SandboxLimits, tally: Tally
) -> None:
    """Fill the tally; `program` is a result when it could not be compiled. Raises SandboxFailed, TaskError."""
    for stdin, expected in task.cases:
        if isinstance(program, TestResult):
            result = program
        else:
            result, output = await run_once(program, encoded(stdin), limits, tally)
            if result.outcome == "passed":
                result = await _compared(result, output, task, (stdin, expected), judges, limits, tally)
        tally.tests.append(result)
        if result.outcome != "passed" and task.stop_at_first_failure:
            return


async def run_once(program: Program, stdin: bytes, limits: SandboxLimits, tally: Tally) -> tuple[TestResult, bytes]:
    """How one run of the program fared, and its output, with which nothing has been compared. Raises SandboxFailed."""

    async def body(worker: Worker) -> tuple[TestResult, bytes]:
        run = worker.launch(program.mode, program.data, stdin, limits, arguments=program.arguments)
        try:
            left = await run.end()
        finally:
            run.close()
        tally.charge(left)
        return _ended(left, run, limits, program.mode), bytes(run.stdout.data)

    return await program.pool.attempt(tally, body)


def _ended(left: ChildExit, run: Run, limits: SandboxLimits, mode: Mode) -> TestResult:
    """How the process itself fared; "passed" only says that there is an output to compare."""
    outcome, detail = failure(left, run, limits) or ("passed", "")
    if mode == "binary" and left.status > 0:  # the statuses by which the sandbox's own code says more mean nothing here
        outcome, detail = "runtime_error", f"exit status {left.status}"
    return TestResult(outcome, detail, None, left.cpu_s, left.wall_s, left.peak_memory_bytes, run.stderr_tail)


async def _compared(
    result: TestResult,
    output: bytes,
    task: StdioTask,
    case: tuple[str, str],
    judges: Pool,
    limits: SandboxLimits,
    tally: Tally,
) -> TestResult:
    stdin, expected = case
    costs = (result.cpu_s, result.wall_s, result.peak_memory_bytes, result.stderr)
    if isinstance(task.compare, Checker):
        try:
            text = output.decode()
        except UnicodeDecodeError as error:
            return TestResult("wrong_answer", f"output is not UTF-8: {error.reason}", None, *costs)
        outcome, detail = await check(judges, limits, task.compare, [stdin, expected, text], tally)
        return TestResult(outcome, detail, None, *costs)
    if len(output) + len(expected) < _LARGE_BYTES:
        difference = output_difference(expected, output, task.compare)
    else:
        difference = await asyncio.to_thread(output_difference, expected, output, task.compare)
    if difference is None:
        return result
    return TestResult("wrong_answer", f"line {difference.line} differs", difference, *costs)


async def run_syntax(program: Program | TestResult, limits: SandboxLimits, tally: Tally) -> None:
    """What the compiler said, or has yet to say. Raises SandboxFailed."""
    result = program if isinstance(program, TestResult) else (await run_once(program, b"", limits, tally))[0]
    tally.tests.append(result)
