"""Runs every attack and every honest program through one tier: `python -m tests.sandbox.attacks.gauntlet portable`.

A process of its own, so that it can be another user, adopt every orphan, be limited, and count its own descriptors. It
writes one JSON row for each attack or program on standard output: {"id", "outcome", "detail", "wall_s", "breach"};
`breach` says what went wrong, or is null. Standard library only: another user's interpreter runs it as well.
"""

import asyncio
import json
import os
import resource
import secrets
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sandbox import (
    AssertTask,
    FunctionCall,
    FunctionTask,
    Language,
    RunResult,
    Sandbox,
    SandboxLimits,
    StdioTask,
    SyntaxTask,
    Task,
)
from tests.sandbox.attacks import (
    answers,
    bombs,
    compiled,
    endings,
    escapes,
    floods,
    javascript,
    legal,
    legal_functions,
    legal_languages,
    legal_library,
    neighbours,
    patches,
    sources,
    syscalls,
)
from tests.sandbox.attacks.attack import Attack, Bait
from tests.sandbox.attacks.host import Host, run_below_an_init, settled_changes

MIB = 2**20
TIGHT = SandboxLimits(
    cpu_s=2.0,
    wall_s=30.0,  # nothing here needs it: a starved machine must not turn one outcome into another
    memory_bytes=256 * MIB,
    stack_bytes=64 * MIB,
    output_bytes=MIB,
    scratch_bytes=4 * MIB,
    threads=32,
)
BRIEF = replace(TIGHT, cpu_s=1.0, wall_s=1.0)  # for those that take all the time they get
OWN_ADDRESS_SPACE = 8 << 30  # of the service: what a hostile answer must not make it exceed
MAX_GROWTH = 256 * MIB  # of the service's resident memory, over everything
SIDE_BY_SIDE = 4
RUN_DEADLINE_S = 120.0  # for a run that the sandbox itself should have ended long before

ATTACKS: tuple[Attack, ...] = tuple(
    attack
    for module in (
        bombs,
        floods,
        escapes,
        neighbours,
        syscalls,
        answers,
        endings,
        patches,
        sources,
        compiled,
        javascript,
    )
    for attack in module.ATTACKS
)
LEGAL: tuple[legal.Legal, ...] = (
    *legal.READ_AND_WRITE,
    *legal_library.LIBRARY,
    *legal_functions.FUNCTIONS,
    *legal_functions.ASSERTS,
    *legal_languages.LANGUAGES,
)
SLOW = tuple(attack for attack in ATTACKS if "time_limit" in attack.allowed and not attack.guard)
QUICK = tuple(attack for attack in ATTACKS if attack not in SLOW)

HONEST = StdioTask("python", "a, b = map(int, input().split())\nprint(a + b)\n", [("3 4\n", "7\n")])
HONEST_TEST = AssertTask("def f(a):\n    return a\n", "def check(candidate):\n    assert candidate(1) == 1\n", "f")
HONEST_LANGUAGES: dict[Language, StdioTask] = {
    "c": StdioTask("c", '#include <stdio.h>\nint main(void) { puts("7"); }\n', [("", "7")]),
    "cpp": StdioTask("cpp", '#include <cstdio>\nint main() { std::puts("7"); }\n', [("", "7")]),
    "javascript": StdioTask("javascript", "console.log(7)\n", [("", "7")]),
}
HONEST_FUNCTION = FunctionTask("def f(a, b):\n    return a + b\n", "f", [FunctionCall([3, 4], 7)])


@contextmanager
def baited() -> Iterator[Bait]:
    """Secrets where an attack would look for them: environment, a readable file, two listening sockets."""
    folder = tempfile.mkdtemp(prefix="bait-")
    os.chmod(folder, 0o755)  # what keeps a program away must be the sandbox, not the mode of a folder
    mark = f"zz{secrets.token_hex(6)}"
    secret = os.environ["RAYZERO_ATTACK_SECRET"]
    with (
        open(f"{folder}/tests.json", "w", encoding="utf-8") as file,
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as named,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        file.write(secret)
        file.flush()
        os.chmod(file.name, 0o644)
        named.bind(f"{folder}/socket")
        os.chmod(f"{folder}/socket", 0o777)
        abstract.bind(f"\0{mark}")
        named.listen()
        abstract.listen()
        port = tcp.getsockname()[1]
        try:
            yield Bait(secret, secrets.randbits(48), mark, port, file.name, f"{folder}/socket", os.getpid())
        finally:
            shutil.rmtree(folder)


class Gauntlet:
    """One tier under attack. Every method writes the rows of what it ran and says whether all of it held."""

    def __init__(self, isolation: Any, bait: Bait, init: int) -> None:
        self._isolation = isolation
        self._bait = bait
        self._init = init  # the process below which everything happens
        self._refused: dict[str, str] = {}  # languages that this machine has not, and why

    async def attacks(self) -> bool:
        """One after the other by a single worker, so that a run meets what the run before it left."""
        async with Sandbox(TIGHT, isolation=self._isolation, workers=1) as box:
            before = await self._warm(box)
            for attack in sorted(self._possible(QUICK), key=lambda attack: not attack.guard):
                breach = await self._batch(box, before, [attack])
                if breach and attack.guard:
                    return False
        return True

    async def siege(self) -> None:
        """Those that may take all their time, side by side, with honest programs between them."""
        async with Sandbox(BRIEF, isolation=self._isolation, workers=SIDE_BY_SIDE) as box:
            before = await self._warm(box)
            slow = self._possible(SLOW)
            for start in range(0, len(slow), SIDE_BY_SIDE):
                await self._batch(box, before, slow[start : start + SIDE_BY_SIDE])
            await self._cancelled(box, before)

    async def honest(self) -> None:
        """The legal programs, under the limits that users have."""
        async with Sandbox(isolation=self._isolation, workers=2) as box:
            for program in LEGAL:
                language = program.task.language if isinstance(program.task, StdioTask | SyntaxTask) else "python"
                if language in self._refused:
                    write_refused(program.id, self._refused[language])
                elif program.only in (None, box.isolation):
                    result = await asyncio.wait_for(box.run(program.task), 60)
                    write(program.id, result, None if result.passed else f"an honest program is {result.outcome}")

    async def _warm(self, box: Sandbox) -> Host:
        """Every worker is started, those for test code as well, which start when they are first needed."""
        for language in HONEST_LANGUAGES:
            if problem := await box.language_problem(language):
                self._refused[language] = problem
        tasks = [task for language, task in HONEST_LANGUAGES.items() if language not in self._refused]
        tasks += [HONEST, HONEST_FUNCTION, HONEST_TEST]
        await asyncio.gather(*(box.run(task) for task in tasks * 2 * box.workers))
        return Host.now(self._bait.mark, self._init)

    def _possible(self, attacks: Sequence[Attack]) -> list[Attack]:
        """Those in languages that this machine has."""
        for attack in attacks:
            if attack.language in self._refused:
                write_refused(attack.id, self._refused[attack.language])
        return [attack for attack in attacks if attack.language not in self._refused]

    async def _batch(self, box: Sandbox, before: Host, attacks: Sequence[Attack]) -> bool:
        """Whether any of them got through. An honest run right after (or between) them must pass."""
        tasks: list[Task] = [attack.task(self._bait) for attack in attacks]
        results = await asyncio.wait_for(
            asyncio.gather(*(box.run(task) for task in (*tasks, HONEST, HONEST_FUNCTION))), RUN_DEADLINE_S
        )
        changes = settled_changes(before)
        breached = False
        for attack, result in zip(attacks, results, strict=False):
            wrong = list(changes)
            if result.outcome not in attack.allowed:
                wrong.append(f"outcome {result.outcome}, allowed: {', '.join(sorted(attack.allowed))}")
            if not all(honest.passed for honest in results[-2:]):
                wrong.append(f"honest programs after it: {[honest.outcome for honest in results[-2:]]}")
            write(attack.id, result, "; ".join(wrong) or None)
            breached = breached or bool(wrong)
        return breached

    async def _cancelled(self, box: Sandbox, before: Host) -> None:
        """A caller that gives up leaves no process behind."""
        runs = [asyncio.ensure_future(box.run(attack.task(self._bait))) for attack in SLOW[:SIDE_BY_SIDE]]
        await asyncio.wait(runs, timeout=0.1)
        for run in runs:
            run.cancel()
        await asyncio.gather(*runs, return_exceptions=True)
        result = await box.run(HONEST)
        changes = settled_changes(before)
        write("the caller gives up", result, "; ".join(changes) or (None if result.passed else result.outcome))


def write_refused(name: str, why: str) -> None:
    """A row for what this machine cannot run; a hole in a language's walls is no excuse."""
    breach = why if "do not hold" in why else None
    print(json.dumps({"id": name, "outcome": "", "detail": why, "wall_s": 0.0, "breach": breach}), flush=True)


def write(name: str, result: RunResult, breach: str | None) -> None:
    """One row."""
    detail = result.detail or next((test.detail for test in result.tests if test.detail), "")
    differences = [test.difference.actual for test in result.tests if test.difference]
    row = {
        "id": name,
        "outcome": result.outcome,
        "detail": f"{detail} {differences or ''}"[:300],
        "wall_s": round(result.wall_s, 3),
        "breach": breach,
    }
    print(json.dumps(row), flush=True)


async def main(isolation: str, init: int) -> None:
    """All of it; the last row is about the service itself."""
    resource.setrlimit(resource.RLIMIT_AS, (OWN_ADDRESS_SPACE, resource.getrlimit(resource.RLIMIT_AS)[1]))
    start = time.monotonic()
    with baited() as bait:
        before = Host.now(bait.mark, init)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        gauntlet = Gauntlet(isolation, bait, init)
        if await gauntlet.attacks():
            await gauntlet.siege()
            await gauntlet.honest()
        wrong = settled_changes(before)
        growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - memory
        if growth > MAX_GROWTH:
            wrong.append(f"the service grew by {growth / MIB:.0f} MiB")
    detail = f"{time.monotonic() - start:.1f} s, grew by {growth / MIB:.0f} MiB"
    row = {"id": "the service", "outcome": "", "detail": detail, "wall_s": 0.0, "breach": "; ".join(wrong) or None}
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], run_below_an_init()))
