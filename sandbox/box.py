"""The sandbox as its users see it: entered once, then given any number of tasks at once."""

import logging
import os
from dataclasses import replace
from types import TracebackType
from typing import Literal, Self

from sandbox import judged, selftest
from sandbox.compiling import Languages
from sandbox.functions import run_functions
from sandbox.limits import SandboxLimits
from sandbox.pool import Pool, SandboxFailed
from sandbox.results import Isolation, Outcome, RunResult, TestResult
from sandbox.session import encoded
from sandbox.stdio import Program, run_once, run_stdio, run_syntax
from sandbox.tasks import AssertTask, FunctionTask, Language, StdioTask, SyntaxTask, Task
from sandbox.tiers import FIRST_OUTSIDE_UID, TIERS
from sandbox.verdicts import Tally
from sandbox.worker import Worker

log = logging.getLogger(__name__)


class Sandbox:
    """`async with Sandbox(...) as box`. Entering attacks the walls from inside and raises SandboxUnavailable
    when they do not hold; `isolation="auto"` tries `namespaces`, then `portable`. `unsafe_none` has no walls at all.

    `workers` programs run at the same time, by default one for each core this process may use; the others wait.
    """

    def __init__(
        self,
        limits: SandboxLimits | None = None,
        isolation: Literal["auto"] | Isolation = "auto",
        workers: int | None = None,
    ) -> None:
        self.limits = limits or SandboxLimits()
        self.workers = workers or len(os.sched_getaffinity(0))
        self._asked: Literal["auto"] | Isolation = isolation
        self._isolation: Isolation | None = None
        self._programs = Pool(self._start, self.workers)
        # Checkers and test code have workers of their own, started when first needed: a program's worker waits for
        # theirs and never the other way round, so nothing can wait in a circle.
        self._judges = Pool(self._start, self.workers, first_number=self.workers)
        self._languages: Languages | None = None

    @property
    def isolation(self) -> Isolation:
        """The tier that runs everything. Raises RuntimeError before the sandbox is entered."""
        if self._isolation is None:
            raise RuntimeError("the sandbox has no tier yet: use it as `async with Sandbox() as box`")
        return self._isolation

    async def _start(self, slot: int) -> Worker:
        return await Worker.start(TIERS[self.isolation], self.limits, FIRST_OUTSIDE_UID + slot)

    async def __aenter__(self) -> Self:
        if self._asked == "unsafe_none":
            log.warning(
                "isolation is unsafe_none: programs run as this user with no walls and may do whatever it may. "
                "Every result is marked; use it for nothing but tests of trusted programs."
            )
            self._isolation = "unsafe_none"
        else:
            self._isolation = await selftest.choose(self._asked, self.limits)
        self._languages = Languages(TIERS[self._isolation], self.limits, self.workers, 2 * self.workers)
        try:
            await self._programs.fill()
        except BaseException:
            await self._programs.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._programs.close()
        await self._judges.close()
        if self._languages:
            await self._languages.close()

    async def language_problem(self, language: Language) -> str:
        """Why programs of a language cannot be run here, empty when they can. Raises SandboxFailed."""
        assert self._languages is not None
        return "" if language == "python" else await self._languages.problem(language)

    async def _prepared(self, language: Language, source: str, tally: Tally) -> Program | TestResult:
        if language == "python":
            return Program(self._programs, "program", encoded(source))
        assert self._languages is not None
        return await self._languages.prepare(language, source, tally)

    async def _syntax(self, language: Language, source: str, tally: Tally) -> Program | TestResult:
        if language == "python":
            return Program(self._programs, "syntax", encoded(source))
        assert self._languages is not None
        return await self._languages.prepare_syntax(language, source, tally)

    async def execute(self, language: Language, source: str, stdin: bytes) -> tuple[TestResult, bytes]:
        """Run a program once, with nothing to compare: how it fared ("passed": it ran to its end) and its output.

        Raises TaskError for a language that is not there.
        """
        if len(source) > self.limits.source_bytes:
            return TestResult("compile_error", f"a source of {len(source):,} characters"), b""
        try:
            program = await self._prepared(language, source, Tally())
            if isinstance(program, TestResult):
                return program, b""
            return await run_once(program, stdin, self.limits, Tally())
        except SandboxFailed as error:
            return TestResult("infra_error", str(error)), b""

    async def run(self, task: Task) -> RunResult:
        """Judge one task. Cancelling it kills what it runs. Raises TaskError for a task that is wrong itself."""
        tally, tests, isolation, limits = Tally(), num_tests(task), self.isolation, limits_of(task, self.limits)
        if len(task.source) > self.limits.source_bytes:
            detail = f"a source of {len(task.source):,} characters; at most {self.limits.source_bytes:,}"
            return tally.result(tests, isolation, ("compile_error", detail))
        broken: tuple[Outcome, str] | None = None
        try:
            match task:
                case StdioTask():
                    program = await self._prepared(task.language, task.source, tally)
                    await run_stdio(task, program, self._judges, limits, tally)
                case FunctionTask():
                    broken = await run_functions(task, self._programs, self._judges, limits, tally)
                case AssertTask():
                    broken = await judged.run_asserts(task, self._programs, self._judges, limits, tally)
                case SyntaxTask():
                    await run_syntax(await self._syntax(task.language, task.source, tally), limits, tally)
        except SandboxFailed as error:
            broken = "infra_error", str(error)
        return tally.result(tests, isolation, broken)


def limits_of(task: Task, limits: SandboxLimits) -> SandboxLimits:
    """Those of the sandbox, with the task's own limit on time where it has one."""
    time_limit_s = None if isinstance(task, SyntaxTask) else task.time_limit_s
    if time_limit_s is None:
        return limits
    return replace(limits, cpu_s=time_limit_s, wall_s=limits.wall_s * max(1.0, time_limit_s / limits.cpu_s))


def num_tests(task: Task) -> int:
    """How many tests a task has."""
    match task:
        case StdioTask():
            return len(task.cases)
        case FunctionTask():
            return len(task.calls)
        case AssertTask():
            return judged.num_tests(task)
        case SyntaxTask():
            return 1
