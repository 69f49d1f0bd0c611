"""Runs test code against a program: two sandboxed processes, with the service passing each call between them."""

import secrets

from sandbox import asserts
from sandbox.functions import Results, run_functions
from sandbox.limits import SandboxLimits
from sandbox.pool import Pool
from sandbox.results import Outcome, TaskError, TestResult
from sandbox.session import Reply, Session, for_judges
from sandbox.tasks import AssertTask, FunctionCall, FunctionTask
from sandbox.verdicts import Tally
from sandbox.worker import Worker, WorkerFailed


def as_function_task(task: AssertTask) -> FunctionTask | None:
    """The same task as calls and values, when all its lines are `assert f(literals) == literal`."""
    simple = asserts.simple(task.test_source, task.entry_point)
    if simple is None:
        return None
    calls = [FunctionCall(line.args, line.expected, line.kwargs) for line in simple]
    return FunctionTask(task.source, task.entry_point, calls, "python", task.stop_at_first_failure, task.time_limit_s)


def num_tests(task: AssertTask) -> int:
    """How many assertions are reported one by one."""
    return len(asserts.steps(task.test_source, task.entry_point))


async def run_asserts(
    task: AssertTask, programs: Pool, judges: Pool, limits: SandboxLimits, tally: Tally
) -> tuple[Outcome, str] | None:
    """Fill the tally; returns what broke the task as a whole. Raises SandboxFailed, TaskError."""
    calls = as_function_task(task)
    if calls is not None:
        try:
            return await run_functions(calls, programs, judges, limits, tally)
        except TaskError:  # a literal that cannot be sent, such as a complex number: the test's process has it anyway
            tally.tests.clear()
    steps = asserts.steps(task.test_source, task.entry_point)

    async def body(worker: Worker) -> Results:
        return await _with_program(worker, task, steps, judges, limits, tally)

    results, broken = await programs.attempt(tally, body)
    tally.tests += results
    return broken


async def _with_program(
    worker: Worker, task: AssertTask, steps: list[str], judges: Pool, limits: SandboxLimits, tally: Tally
) -> Results:
    program = Session(worker, "functions", task.source, limits, 1000)
    try:
        loaded = await program.loaded()
        results: list[TestResult] = []
        if loaded.outcome is None:

            async def body(judge: Worker) -> list[TestResult]:
                return await _with_judge(judge, program, task, steps, limits, tally)

            results = await judges.once(tally, body)  # another attempt is one with another program, too
        ended = await program.close(tally)
    except BaseException:
        program.abandon()
        raise
    if loaded.outcome is not None:
        outcome, detail = ended if ended and program.over else (loaded.outcome, loaded.detail)
        return [TestResult(outcome, detail)], None
    if ended and program.over:
        results[-1] = TestResult(*ended)
        return results, None
    return results, ended


async def _with_judge(
    judge: Worker, program: Session, task: AssertTask, steps: list[str], limits: SandboxLimits, tally: Tally
) -> list[TestResult]:
    """What each step says. Raises TaskError when the set-up code fails by itself; WorkerFailed when the time was up
    in a way that no answer of the program can have brought about.
    """
    tester = Session(judge, "test", task.setup_source, for_judges(limits), 1000)
    results: list[TestResult] = []
    num_calls_before = program.num_calls
    try:
        loaded = await tester.loaded()
        for step in steps if loaded.outcome is None else []:
            result = await _one_step(tester, program, task.entry_point, step)
            results.append(result)
            if tester.over or program.over or (result.outcome != "passed" and task.stop_at_first_failure):
                break
        ended = await tester.close(tally)
    except BaseException:
        tester.abandon()
        raise
    if ended and (tester.over or loaded.outcome) and not program.over:
        is_timeout = ended[0] == "time_limit" and program.num_calls == num_calls_before
        if tester.cut_off or is_timeout:
            raise WorkerFailed(f"{'setup_source' if loaded.outcome else 'the test code'}: {ended[1]}")
    if loaded.outcome is not None:
        raise TaskError(f"setup_source does not run: {ended[1] if ended else loaded.detail}")
    if ended and tester.over and not program.over:
        results[-1] = TestResult(ended[0], f"in the test code: {ended[1]}")
    return results


async def _one_step(tester: Session, program: Session, entry_point: str, step: str) -> TestResult:
    """Run one piece of test code, calling the program whenever it asks."""
    nonce = secrets.randbits(48)
    await tester.begin([nonce, entry_point, step])
    last = Reply(None)
    while True:
        message = await tester.hear()
        if isinstance(message, Reply):
            return TestResult(message.outcome or "runtime_error", f"in the test code: {message.detail}")
        match message:
            case ["call", args, kwargs]:
                last = await program.call(entry_point, args, kwargs)
                if program.over:
                    return TestResult(last.outcome or "runtime_error", last.detail)
                if last.outcome is None:
                    await tester.answer(["value", last.raw])
                else:
                    await tester.answer(["raised", last.detail, last.exception])
            case [said, "passed", _] if said == nonce:
                return TestResult("passed")
            case [said, "wrong_answer", str(text)] if said == nonce:
                return TestResult("wrong_answer", text)
            case [said, _, str(text)] if said == nonce:
                return TestResult(
                    last.outcome or "wrong_answer", last.detail if last.outcome else f"in the test: {text}"
                )
            case _:
                tester.over = True
                return TestResult("wrong_answer", "the test code wrote to the sandbox's own channel")
