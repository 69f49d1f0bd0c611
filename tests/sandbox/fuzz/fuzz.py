"""Random programs against the sandbox: `nice python -m tests.sandbox.fuzz.fuzz portable --minutes 10 --seed 1`.

Looks for a verdict of `passed` (no program can know what is expected), an `infra_error` (no program may cause one), an
exception in the service, a run without an end, and anything left on the machine. Each finding is written with the seed
and the number that bring it back, and the program itself; the exit status is 1 when there are any.
"""

import argparse
import asyncio
import json
import os
import secrets
import sys
import time
from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

from sandbox import Sandbox, Task
from tests.sandbox.attacks.gauntlet import HONEST, HONEST_FUNCTION, HONEST_TEST, TIGHT
from tests.sandbox.attacks.host import Host, run_below_an_init, settled_changes
from tests.sandbox.fuzz.programs import HONEST_ELSEWHERE, random_program

SIDE_BY_SIDE = 8
ROUND = 64  # programs between two looks at the machine
RUN_DEADLINE_S = 120.0
LIMITS = replace(TIGHT, cpu_s=1.0, wall_s=5.0)  # on the clock: the fuzzer is meant to run beside other work
HONEST_TASKS = (HONEST, HONEST_FUNCTION, HONEST_TEST, *HONEST_ELSEWHERE)


class Fuzzer:
    """Counts outcomes and writes findings."""

    def __init__(self, box: Sandbox, seed: str, init: int) -> None:
        self._box = box
        self._seed = seed
        self._init = init  # the process below which everything happens
        self._mark = f"zz{secrets.token_hex(6)}"
        self._free = asyncio.Semaphore(SIDE_BY_SIDE)
        self.outcomes: Counter[str] = Counter()
        self.findings = 0

    async def run(self, seconds: float) -> None:
        """Rounds of programs until the time is over."""
        deadline = time.monotonic() + seconds
        await asyncio.gather(*(self._box.run(task) for task in HONEST_TASKS * 2 * self._box.workers))
        before = Host.now(self._mark, self._init)
        number = 0
        while time.monotonic() < deadline:
            await asyncio.gather(*(self._one(number + n) for n in range(ROUND)))
            number += ROUND
            for result in await asyncio.gather(*(self._box.run(task) for task in HONEST_TASKS)):
                if not result.passed:
                    self._find(number, f"an honest program is {result.outcome}: {result.detail}", None)
            changes = settled_changes(before)
            if changes:
                self._find(number, f"left behind by the {ROUND} before: {changes}", None)
                before = Host.now(self._mark, self._init)

    async def _one(self, number: int) -> None:
        rng = Random(f"{self._seed}:{number}")
        async with self._free:
            task = random_program(rng, f"secret-{rng.getrandbits(64):016x}")
            try:
                result = await asyncio.wait_for(self._box.run(task), RUN_DEADLINE_S)
            except Exception as error:  # any exception is what the fuzzer looks for: reported, not hidden
                self._find(number, f"the service raised {error!r}", task)
                return
        self.outcomes[result.outcome] += 1
        if result.outcome in ("passed", "infra_error"):
            self._find(number, f"{result.outcome}: {result.detail}", task)

    def _find(self, number: int, what: str, task: Task | None) -> None:
        self.findings += 1
        row = {"seed": self._seed, "number": number, "finding": what, "task": repr(task) if task else None}
        print(json.dumps(row), flush=True)


async def fuzz(isolation: Any, seconds: float, seed: str, init: int) -> int:
    """The number of findings; the last line sums up."""
    async with Sandbox(LIMITS, isolation=isolation) as box:
        fuzzer = Fuzzer(box, seed, init)
        await fuzzer.run(seconds)
    total = sum(fuzzer.outcomes.values())
    print(json.dumps({"programs": total, "findings": fuzzer.findings, "outcomes": fuzzer.outcomes, "seed": seed}))
    return fuzzer.findings


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("isolation", choices=["namespaces", "portable"])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", default=str(os.getpid()))
    arguments = parser.parse_args()
    init = run_below_an_init()
    sys.exit(asyncio.run(fuzz(arguments.isolation, 60 * arguments.minutes, arguments.seed, init)) > 0)
