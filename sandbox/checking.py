"""A checker program in a process of its own, for answers of which many are right."""

from sandbox.inside import wire
from sandbox.limits import SandboxLimits
from sandbox.pool import Pool
from sandbox.results import Outcome, TaskError
from sandbox.session import Session, for_judges
from sandbox.tasks import Checker
from sandbox.verdicts import Tally
from sandbox.worker import Worker, WorkerFailed


async def check(
    judges: Pool, limits: SandboxLimits, checker: Checker, values: list[wire.Json], tally: Tally
) -> tuple[Outcome, str]:
    """What the checker says of [input, expected, actual], as (outcome, detail).

    Raises TaskError for a checker that does not load or answers anything but True and False.
    """

    async def body(worker: Worker) -> tuple[Outcome, str]:
        session = Session(worker, "functions", checker.source, for_judges(limits), 1)
        try:
            loaded = await session.loaded()
            reply = loaded if loaded.outcome else await session.call(checker.entry_point, values, {"d": []})
            ended = await session.close(tally)
        except BaseException:
            session.abandon()
            raise
        if ended and (session.cut_off or (loaded.outcome and ended[0] == "time_limit")):
            raise WorkerFailed(f"the checker: {ended[1]}")
        if loaded.outcome:
            raise TaskError(f"the checker does not load: {loaded.detail} {ended[1] if ended else ''}".rstrip())
        if reply.outcome:
            return "wrong_answer", f"the checker failed on it: {ended[1] if ended else reply.detail}"
        if reply.raw is not True and reply.raw is not False:
            raise TaskError(f"the checker returned something other than True and False: {str(reply.raw)[:100]}")
        return ("passed", "") if reply.raw else ("wrong_answer", "the checker refused it")

    return await judges.attempt(tally, body)
