"""Runs the calls of a function task, all in one process as long as it lives."""

import asyncio
import time
from contextlib import aclosing
from dataclasses import replace

from sandbox.checking import check
from sandbox.compare import value_difference
from sandbox.inside import wire
from sandbox.limits import SandboxLimits
from sandbox.pool import Pool
from sandbox.results import Outcome, TaskError, TestResult
from sandbox.session import Reply, Session
from sandbox.tasks import Checker, FunctionCall, FunctionTask
from sandbox.verdicts import Tally
from sandbox.worker import Worker

_LARGE_NODES = 5_000  # compared in a thread, so that the service goes on

SentCall = tuple[FunctionCall, wire.Json, wire.Json]  # the call, its args and kwargs as they are sent
# Results of the first calls, at least one; and what was wrong with the process though all of them passed.
Results = tuple[list[TestResult], tuple[Outcome, str] | None]


async def run_functions(
    task: FunctionTask, programs: Pool, judges: Pool, limits: SandboxLimits, tally: Tally
) -> tuple[Outcome, str] | None:
    """Fill the tally; returns what broke the task as a whole, such as memory above the limit after the last answer.

    After a crash the calls that are left go to a fresh process. Raises SandboxFailed, TaskError.
    """
    calls = [_encoded(call) for call in task.calls]
    while len(tally.tests) < len(calls):
        left = calls[len(tally.tests) :]

        async def body(worker: Worker, left: list[SentCall] = left) -> Results:
            return await _one_process(worker, task, left, judges, limits, tally)

        results, broken = await programs.attempt(tally, body)
        tally.tests += results
        if broken or (task.stop_at_first_failure and results[-1].outcome != "passed"):
            return broken
    return None


def _encoded(call: FunctionCall) -> SentCall:
    try:
        wire.encode(call.expected)
        return call, wire.encode(list(call.args)), wire.encode(dict(call.kwargs))
    except wire.WireError as error:
        raise TaskError(f"a call cannot be sent: {error}") from error


async def _one_process(
    worker: Worker, task: FunctionTask, calls: list[SentCall], judges: Pool, limits: SandboxLimits, tally: Tally
) -> Results:
    session = Session(worker, "functions", task.source, limits, len(calls))
    results: list[TestResult] = []
    try:
        loaded = await session.loaded()
        if loaded.outcome is None:
            results = await _answered(session, task, calls, judges, limits, tally)
        ended = await session.close(tally)
    except BaseException:
        session.abandon()
        raise
    if loaded.outcome is not None:  # it would not load a second time either
        outcome, detail = ended if ended and session.over else (loaded.outcome, loaded.detail)
        failed = TestResult(outcome, detail)
        return ([failed] if task.stop_at_first_failure else [failed] * len(calls)), None
    if len(results) < len(calls) and not session.over:
        return results, None  # how it ended is the doing of later calls, which nobody asked about any more
    if ended and (session.over or results[-1].outcome != "passed"):
        results[-1] = replace(results[-1], outcome=ended[0], detail=ended[1], difference=None)
        return results, None
    return results, ended


async def _answered(
    session: Session, task: FunctionTask, calls: list[SentCall], judges: Pool, limits: SandboxLimits, tally: Tally
) -> list[TestResult]:
    """Results up to the last call, the first failure where that ends the task, or the end of the session."""
    results: list[TestResult] = []
    started = time.monotonic()
    async with aclosing(session.replies(task.entry_point, [call[1:] for call in calls])) as replies:
        async for reply in replies:
            judged = await _judged(reply, calls[len(results)][0], task, judges, limits, tally)
            now = time.monotonic()
            results.append(replace(judged, wall_s=now - started))
            started = now
            if judged.outcome != "passed" and task.stop_at_first_failure:
                break
    return results


async def _judged(
    reply: Reply, call: FunctionCall, task: FunctionTask, judges: Pool, limits: SandboxLimits, tally: Tally
) -> TestResult:
    if reply.outcome is not None:
        return TestResult(reply.outcome, reply.detail)
    if isinstance(task.compare, Checker):
        case = wire.encode((list(call.args), dict(call.kwargs)))
        values = [case, wire.encode(call.expected), reply.raw]
        outcome, detail = await check(judges, limits, task.compare, values, tally)
        return TestResult(outcome, detail)
    if _size(reply.raw) < _LARGE_NODES:
        difference = value_difference(call.expected, reply.raw, task.compare)
    else:
        difference = await asyncio.to_thread(value_difference, call.expected, reply.raw, task.compare)
    if difference is None:
        return TestResult("passed")
    return TestResult("wrong_answer", "another value was expected", difference)


def _size(raw: wire.Json) -> int:
    """A lower bound on the parts of a value that is quick to have: two levels of lists."""
    if not isinstance(raw, list):
        return _LARGE_NODES if isinstance(raw, dict) else 1
    return sum(len(item) if isinstance(item, list | dict | str) else 1 for item in raw)  # pyright: ignore
