"""Runs a whole program once for each case."""

import asyncio

from sandbox.checking import check
from sandbox.compare import output_difference
from sandbox.limits import SandboxLimits
from sandbox.pool import Pool
from sandbox.results import TestResult
from sandbox.session import encoded
from sandbox.tasks import Checker, StdioTask, SyntaxTask
from sandbox.verdicts import Tally, failure
from sandbox.worker import ChildExit, Run, Worker

_LARGE_BYTES = 1 << 16  # compared in a thread, so that the service goes on


async def run_stdio(task: StdioTask, programs: Pool, judges: Pool, limits: SandboxLimits, tally: Tally) -> None:
    """Fill the tally. Raises SandboxFailed, TaskError."""
    source = encoded(task.source)
    for stdin, expected in task.cases:
        result, output = await run_once(source, encoded(stdin), programs, limits, tally)
        if result.outcome == "passed":
            result = await _compared(result, output, task, (stdin, expected), judges, limits, tally)
        tally.tests.append(result)
        if result.outcome != "passed" and task.stop_at_first_failure:
            return


async def run_once(
    source: bytes, stdin: bytes, programs: Pool, limits: SandboxLimits, tally: Tally
) -> tuple[TestResult, bytes]:
    """How one run of the program fared, and its output, with which nothing has been compared. Raises SandboxFailed."""

    async def body(worker: Worker) -> tuple[TestResult, bytes]:
        run = worker.launch("program", source, stdin, limits)
        try:
            left = await run.end()
        finally:
            run.close()
        return _ended(left, run, limits), bytes(run.stdout.data)

    result, output = await programs.attempt(tally, body)
    tally.charge(ChildExit(0, "", result.cpu_s, result.wall_s, result.peak_memory_bytes))
    return result, output


def _ended(left: ChildExit, run: Run, limits: SandboxLimits) -> TestResult:
    """How the process itself fared; "passed" only says that there is an output to compare."""
    outcome, detail = failure(left, run, limits) or ("passed", "")
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
    floats = task.compare == "float"
    if len(output) + len(expected) < _LARGE_BYTES:
        difference = output_difference(expected, output, floats)
    else:
        difference = await asyncio.to_thread(output_difference, expected, output, floats)
    if difference is None:
        return result
    return TestResult("wrong_answer", f"line {difference.line} differs", difference, *costs)


async def run_syntax(task: SyntaxTask, programs: Pool, limits: SandboxLimits, tally: Tally) -> None:
    """Compile in a child, run nothing. Raises SandboxFailed."""

    async def body(worker: Worker) -> TestResult:
        run = worker.launch("syntax", encoded(task.source), b"", limits)
        try:
            left = await run.end()
        finally:
            run.close()
        tally.charge(left)
        return _ended(left, run, limits)

    tally.tests.append(await programs.attempt(tally, body))
