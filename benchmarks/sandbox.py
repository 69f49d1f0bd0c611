"""What the walls cost: runs of one trivial program (`a+b` from standard input), end to end from the service.

Both sides of a ratio go through the same service code and the same kind of zygote; `no walls` is `unsafe_none`, a bare
fork with limits on resources. The cold interpreter is `python -I -S` started by `subprocess` with the same input.
Runs per second and core are runs per second of processor time, which other work on the machine disturbs least: the
service, the zygotes and the runs are all in it. The fastest of several interleaved rounds counts.
"""

import asyncio
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.rows import Row
from sandbox import FunctionCall, FunctionTask, Isolation, Language, Sandbox, SandboxLimits, StdioTask, selftest
from sandbox.tiers import FIRST_OUTSIDE_UID, TIERS
from sandbox.worker import Worker

SOURCE = "a, b = map(int, input().split())\nprint(a + b)\n"
TASK = StdioTask("python", SOURCE, [("1 2\n", "3\n")])
SOURCES: dict[Language, str] = {
    "c": '#include <stdio.h>\nint main(void) { int a, b; scanf("%d %d", &a, &b); printf("%d\\n", a + b); }\n',
    "cpp": "#include <iostream>\nint main() { int a, b; std::cin >> a >> b; std::cout << a + b << '\\n'; }\n",
    "javascript": 'const t = require("fs").readFileSync(0, "utf8").split(" ");\nconsole.log(+t[0] + +t[1]);\n',
}
TIER_NAMES: tuple[Isolation, ...] = ("namespaces", "portable")
CORES = len(os.sched_getaffinity(0))
MIB = 2**20


def measure(quick: bool) -> list[Row]:
    """Raises RuntimeError when a tier does not hold on this machine: then there is nothing to measure."""
    rounds, runs = (2, 60) if quick else (4, 600)
    return asyncio.run(_measure(rounds, runs, 300 if quick else 10_000))


async def _measure(rounds: int, runs: int, endurance: int) -> list[Row]:
    problems = {name: await selftest.attack(TIERS[name], SandboxLimits()) for name in TIER_NAMES}
    tiers: list[Isolation] = [name for name in TIER_NAMES if not problems[name]]
    if not tiers:
        raise RuntimeError(f"no tier holds on this machine: {problems}")
    baseline_and_tiers: list[Isolation] = ["unsafe_none", *tiers]
    best: dict[str, float] = {}
    for _ in range(rounds):
        for name in baseline_and_tiers:
            best[name] = max(best.get(name, 0.0), await _runs_per_s(name, runs))
        best["cold"] = max(best.get("cold", 0.0), _cold_runs_per_s(max(20, runs // 4)))
    rows: list[Row] = []
    for name in tiers:
        target = 0.6 if name == "namespaces" else 0.75
        rows.append(
            Row(f"sandbox {name}: all walls", best[name], "runs/s/core", "no walls", best["unsafe_none"], target)
        )
        rows.append(Row(f"sandbox {name}: all walls", best[name], "runs/s/core", "cold python -I -S", best["cold"]))
        least = 200.0 if name == "namespaces" else 300.0
        rows.append(Row(f"sandbox {name}: all walls", best[name], "runs/s/core", "wanted at least", least, 1.0))
        rows += await _latency(name, runs)
        rows += await _languages(name, max(10, runs // 10))
        rows += await _calls(name)
        rows.append(await _memory_per_run(name))
    rows += await _flat_memory(tiers[0], endurance)
    return rows


async def _runs_per_s(name: Isolation, runs: int) -> float:
    """Runs in a second of processor time: of the service, the zygotes and the runs together."""
    async with Sandbox(isolation=name, workers=CORES) as box:
        await asyncio.gather(*(box.run(TASK) for _ in range(4 * CORES)))
        before = _service_cpu_s()
        results = await asyncio.gather(*(box.run(TASK) for _ in range(runs)))
        used = _service_cpu_s() - before + sum(result.cpu_s for result in results)
    if not all(result.passed for result in results):
        raise RuntimeError(f"a trivial program failed under {name}: {results[0]}")
    return runs / used


def _service_cpu_s() -> float:
    """Of this process and of all living ones below it: the zygotes, while no run is under way."""
    waiting, total = _children(os.getpid()), time.process_time()
    while waiting:
        pid = waiting.pop()
        total += int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
        waiting += _children(pid)
    return total


def _children(pid: int) -> list[int]:
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def _cold_runs_per_s(runs: int) -> float:
    python = os.path.realpath(sys.executable)
    before = _cold_cpu_s()
    for _ in range(runs):
        subprocess.run([python, "-I", "-S", "-c", SOURCE], input=b"1 2\n", capture_output=True, check=True, env={})
    return runs / (_cold_cpu_s() - before)


def _cold_cpu_s() -> float:
    """Of this process and of all that it has waited for."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


async def _latency(name: Isolation, runs: int) -> list[Row]:
    """The program's own time is a few microseconds; then the same beside one that spins until it is killed."""
    async with Sandbox(isolation=name, workers=2) as box:
        half, almost_all = await _times(box, TASK, runs)
        endless = asyncio.create_task(box.run(StdioTask("python", "while True: pass", [("", "")], time_limit_s=600.0)))
        beside, _ = await _times(box, TASK, runs)
        if endless.done():
            raise RuntimeError(f"the program that never ends has ended: {endless.result()}")
        endless.cancel()
        await asyncio.wait([endless])
    return [
        Row(f"sandbox {name}: one run at a time, median", half, "ms"),
        Row(f"sandbox {name}: one run at a time, 99 of 100 below", almost_all, "ms", "wanted at most", 15.0),
        Row(f"sandbox {name}: median beside a program that never ends", beside, "ms", "without it", half),
    ]


async def _times(box: Sandbox, task: StdioTask, runs: int) -> tuple[float, float]:
    """Median, and what 99 of 100 runs stay below, in ms."""
    times: list[float] = []
    for _ in range(runs):
        started = time.perf_counter()
        result = await box.run(task)
        times.append(1000 * (time.perf_counter() - started))
        if not result.passed:
            raise RuntimeError(f"a trivial program failed: {result}")
    times.sort()
    return times[len(times) // 2], times[int(len(times) * 0.99)]


async def _languages(name: Isolation, runs: int) -> list[Row]:
    """The same program in other languages, those that this machine has: to compile it, and each further test."""
    rows: list[Row] = []
    async with Sandbox(isolation=name, workers=1) as box:
        for language, source in SOURCES.items():
            if await box.language_problem(language):
                continue
            one, _ = await _times(box, StdioTask(language, source, [("1 2\n", "3\n")]), max(3, runs // 5))
            more, _ = await _times(box, StdioTask(language, source, [("1 2\n", "3\n")] * 21), max(3, runs // 20))
            each = (more - one) / 20
            rows.append(Row(f"sandbox {name}: each further test of a {language} program", each, "ms"))
            if language != "javascript":
                rows.append(Row(f"sandbox {name}: compiling a {language} program", one - each, "ms"))
    return rows


async def _calls(name: Isolation) -> list[Row]:
    def task(num_calls: int) -> FunctionTask:
        calls = [FunctionCall([i, 1], i + 1) for i in range(num_calls)]
        return FunctionTask("def add(a, b):\n    return a + b\n", "add", calls)

    async with Sandbox(isolation=name, workers=1) as box:
        used: dict[int, float] = {}
        for num_calls in (1, 2001) * 3:
            before = _service_cpu_s()
            result = await box.run(task(num_calls))
            used[num_calls] = min(used.get(num_calls, 1e9), _service_cpu_s() - before + result.cpu_s)
    each = 1000 * (used[2001] - used[1]) / 2000
    return [Row(f"sandbox {name}: each further call of a function, processor time", each, "ms", "wanted at most", 0.1)]


async def _memory_per_run(name: Isolation) -> Row:
    """Pages that a live run shares with nobody."""
    worker = await Worker.start(TIERS[name], SandboxLimits(), FIRST_OUTSIDE_UID)
    try:
        run = worker.launch("program", b"import time\nprint(1, flush=True)\ntime.sleep(60)", b"", SandboxLimits())
        while not run.stdout.data:
            await asyncio.sleep(0.01)
        rollup = Path(f"/proc/{_leaf(worker.pid)}/smaps_rollup").read_text()
        kib = sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private"))
        run.kill()
        await run.end()
        run.close()
    finally:
        await worker.stop()
    return Row(f"sandbox {name}: memory of one more live run", kib / 1024, "MiB", "wanted at most", 2.0)


def _leaf(pid: int) -> int:
    """The youngest descendant of a process."""
    children = _children(pid)
    return _leaf(children[-1]) if children else pid


async def _flat_memory(name: Isolation, runs: int) -> list[Row]:
    async with Sandbox(isolation=name, workers=CORES) as box:
        sizes: list[float] = []
        for _ in range(2):
            for _ in range(max(1, runs // 200)):
                await asyncio.gather(*(box.run(TASK) for _ in range(100)))
            sizes.append(_resident_mib())
    return [
        Row(f"sandbox {name}: memory grown over the last {runs // 2:,} of {runs:,} runs", sizes[1] - sizes[0], "MiB")
    ]


def _resident_mib() -> float:
    """The service and all that descends from it."""
    waiting, pages = [os.getpid()], 0
    while waiting:
        pid = waiting.pop()
        pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        waiting += _children(pid)
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB
