"""Programs made ready to run: Python as it is, C and C++ compiled once for all tests, JavaScript with its engine.

Workers for a language start when it is first asked for, and only after an attack from inside on their own walls has
come to nothing. A language that the machine has not, or whose walls do not hold, is a TaskError that says why.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from sandbox.inside import programs
from sandbox.language_canaries import CANARIES, MEMORY_BOMBS, REFUSALS, STOLEN_HEADER, got_through
from sandbox.languages import (
    BINARY_KIT,
    SOURCE_FILES,
    Kit,
    LanguageMissing,
    Tool,
    compile_limits,
    compiler,
    engine,
)
from sandbox.limits import MIB, SandboxLimits
from sandbox.pool import Pool
from sandbox.results import TaskError, TestResult
from sandbox.session import encoded
from sandbox.stdio import Program, run_once
from sandbox.tasks import Language
from sandbox.tiers import FIRST_OUTSIDE_UID, Tier
from sandbox.verdicts import Tally, failure
from sandbox.worker import Worker, WorkerFailed

MESSAGE_BYTES = 2000

StartWorker = Callable[[int], Awaitable[Worker]]


class Languages:
    """All that runs other programs than Python, in one tier."""

    def __init__(self, tier: Tier, limits: SandboxLimits, workers: int, first_number: int) -> None:
        """`first_number`: of the slots, which no other pool may have."""
        self._tier, self._limits = tier, limits
        self._compile_limits = compile_limits(limits)
        self._binaries = Pool(self._starter(lambda: BINARY_KIT, limits), workers, first_number)
        self._engines = Pool(self._starter(lambda: self._engine().kit, limits), workers, first_number + workers)
        self._compilers: dict[Language, Pool] = {
            language: Pool(
                self._starter(lambda language=language: compiler(language).kit, self._compile_limits),
                workers,
                first_number + (2 + index) * workers,
            )
            for index, language in enumerate(SOURCE_FILES)
        }
        self._tested: dict[Language, asyncio.Task[str]] = {}  # what is wrong with the language here, or nothing

    def _starter(self, kit: Callable[[], Kit], limits: SandboxLimits) -> StartWorker:
        return lambda slot: Worker.start(self._tier, limits, FIRST_OUTSIDE_UID + slot, kit())

    def _engine(self) -> Tool:
        return engine(self._tier.needs_readable(FIRST_OUTSIDE_UID), self._limits.stack_bytes, self._limits.memory_bytes)

    async def close(self) -> None:
        """End every worker, and with it what runs."""
        for task in self._tested.values():
            task.cancel()
        await asyncio.gather(*self._tested.values(), return_exceptions=True)
        pools = [self._binaries, self._engines, *self._compilers.values()]
        await asyncio.gather(*(pool.close() for pool in pools))

    async def problem(self, language: Language) -> str:
        """Why the language cannot be run here, empty when it can. Attacks its walls the first time."""
        if language not in self._tested or self._tested[language].cancelled():
            self._tested[language] = asyncio.create_task(self._test(language))
        tested = self._tested[language]
        try:
            return await asyncio.shield(tested)
        except BaseException:
            if tested.done() and not tested.cancelled() and tested.exception():
                del self._tested[language]  # the sandbox failed: the next one who asks has it tried again
            raise

    async def _test(self, language: Language) -> str:
        if not self._tier.seccomp:
            return f"isolation {self._tier.name} has no walls, and only Python runs without"
        try:
            if language == "javascript":
                await asyncio.to_thread(self._engine)
            else:
                await asyncio.to_thread(compiler, language)
        except LanguageMissing as error:
            return str(error)
        got = await self._attack(language)
        return f"its walls do not hold in isolation {self._tier.name}: {got}" if got else ""

    async def _attack(self, language: Language) -> str:
        """What gets through the walls of a language; empty when they hold. Raises SandboxFailed."""
        limits, tally = replace(self._limits, cpu_s=10.0, wall_s=60.0, memory_bytes=256 * MIB), Tally()
        canary = await self._made_ready(language, CANARIES[language], tally)
        if isinstance(canary, TestResult):
            return f"the canary was not compiled ({canary.detail})"
        if got := got_through(*await run_once(canary, b"", limits, tally)):
            return got
        if language in SOURCE_FILES:
            thief = await self._made_ready(language, f'#include "{STOLEN_HEADER}"\n', tally)
            if not (isinstance(thief, TestResult) and any(refusal in thief.stderr for refusal in REFUSALS)):
                return f"the compiler reads {STOLEN_HEADER}"
        if language in MEMORY_BOMBS:
            bomb = await self._made_ready(language, MEMORY_BOMBS[language], tally)
            assert isinstance(bomb, Program)
            result, _ = await run_once(bomb, b"", limits, tally)
            if result.outcome != "memory_limit":
                return f"memory without a limit ({result.outcome}: {result.detail})"
        return ""

    async def prepare(self, language: Language, source: str, tally: Tally) -> Program | TestResult:
        """The program, or how its compiler refused it. Raises TaskError, SandboxFailed."""
        if problem := await self.problem(language):
            raise TaskError(f"language is {language!r}, which cannot be run here: {problem}")
        return await self._made_ready(language, source, tally)

    async def _made_ready(self, language: Language, source: str, tally: Tally) -> Program | TestResult:
        """As `prepare`, of a language whose walls may not have been tested."""
        if language == "javascript":
            return Program(self._engines, "engine", encoded(source), self._engine().arguments)
        return await self._compile(language, source, tally)

    async def prepare_syntax(self, language: Language, source: str, tally: Tally) -> Program | TestResult:
        """As `prepare`; what it returns for JavaScript runs the engine's parser alone."""
        prepared = await self.prepare(language, source, tally)
        if isinstance(prepared, Program) and language == "javascript":
            return replace(prepared, arguments=(*prepared.arguments, "check"))
        return prepared

    async def _compile(self, language: Language, source: str, tally: Tally) -> Program | TestResult:
        limits, arguments = self._compile_limits, compiler(language).arguments

        async def body(worker: Worker) -> tuple[TestResult, bytes]:
            program = encoded(source)
            file = SOURCE_FILES[language]
            run = worker.launch("compile", program, b"", limits, arguments=arguments, source_file=file)
            try:
                left = await run.end()
            finally:
                run.close()
            tally.charge(left)
            failed = failure(left, run, limits)
            message = bytes(run.stderr.data[:MESSAGE_BYTES]).decode(errors="replace")
            costs = (left.cpu_s, left.wall_s, left.peak_memory_bytes, message)
            if failed is None:
                return TestResult("passed", "", None, *costs), bytes(run.stdout.data)
            if left.status == programs.FAILED_STATUS:  # not the compiler's: it was not started, or nothing was written
                raise WorkerFailed(f"a compiler could not be run: {failed[1]}")
            detail = _first_error(message) if failed[0] == "compile_error" else ""
            return TestResult("compile_error", detail or f"the compiler: {failed[1] or failed[0]}", None, *costs), b""

        result, binary = await self._compilers[language].attempt(tally, body)
        return Program(self._binaries, "binary", binary, ("main",)) if result.outcome == "passed" else result


def _first_error(message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line), lines[0] if lines else "")[:300]
