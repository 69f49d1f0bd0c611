"""Workers come back after a death, a cancelled run, many runs; nothing is left when the sandbox or its owner ends."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sandbox import Sandbox, SandboxLimits, StdioTask, pool
from sandbox.inside import zygote
from sandbox.tiers import TIERS
from sandbox.worker import ChildExit, Worker, WorkerNotStarted

pytestmark = pytest.mark.integration

LIMITS = SandboxLimits(cpu_s=5.0)
TRIVIAL = StdioTask("python", "print(int(input()) + 1)", [("41", "42")])
SLEEPER = StdioTask("python", "import time\ntime.sleep(20)", [("", "")])


def workers_of(box: Sandbox) -> list[Worker]:
    slots = box._programs._slots  # pyright: ignore[reportPrivateUsage]
    return [slot.worker for slot in slots if slot.worker]


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


async def gone(pids: list[int], within_s: float) -> bool:
    """Whether all are dead in time; a zombie that its parent has yet to see is dead."""
    deadline = time.monotonic() + within_s
    while any(_lives(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_a_zygote_that_was_killed_while_idle_is_replaced() -> None:
    async with Sandbox(LIMITS, workers=1) as box:
        (worker,) = workers_of(box)
        for pid in [*descendants(worker.pid), worker.pid]:
            os.kill(pid, signal.SIGKILL)
        assert (await box.run(TRIVIAL)).passed
        assert workers_of(box) != [worker]


async def test_a_zygote_that_dies_under_a_run_costs_a_retry_and_no_verdict() -> None:
    async with Sandbox(LIMITS, workers=1) as box:
        running = asyncio.create_task(box.run(StdioTask("python", "import time\ntime.sleep(1)\nprint(1)", [("", "1")])))
        await asyncio.sleep(0.3)
        (worker,) = workers_of(box)
        os.kill(worker.pid, signal.SIGKILL)
        assert (await running).passed


async def test_failures_of_the_sandbox_are_no_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Sandbox(LIMITS, workers=1) as box:

        async def refused(*_: object, **__: object) -> Worker:
            raise WorkerNotStarted("unshare: Operation not permitted")

        monkeypatch.setattr(Worker, "start", refused)
        os.kill(workers_of(box)[0].pid, signal.SIGKILL)
        result = await box.run(TRIVIAL)
        assert result.outcome == "infra_error"
        assert "unshare: Operation not permitted" in result.detail
        monkeypatch.undo()
        assert (await box.run(TRIVIAL)).passed


@pytest.mark.parametrize("tier", ["namespaces", "portable"])
async def test_cancelling_kills_the_run_at_once(tier: str) -> None:
    async with Sandbox(LIMITS, tier, workers=1) as box:  # type: ignore[arg-type]
        (worker,) = workers_of(box)
        running = asyncio.create_task(box.run(SLEEPER))
        await asyncio.sleep(0.3)
        family = [worker.pid, *descendants(worker.pid)]
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await gone(family, within_s=10)
        assert (await box.run(TRIVIAL)).passed


async def test_workers_are_renewed_after_many_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "RUNS_PER_WORKER", 3)
    async with Sandbox(LIMITS, workers=1) as box:
        seen: set[int] = set()
        for _ in range(7):
            assert (await box.run(TRIVIAL)).passed
            seen.add(workers_of(box)[0].pid)
    assert len(seen) == 3


def groups() -> set[Path]:
    """Control groups of this process's workers."""
    return set(Path("/sys/fs/cgroup").glob(f"**/rayzero-sandbox-{os.getpid()}-*"))


async def test_leaving_ends_every_process_and_descriptor() -> None:
    before, groups_before = len(os.listdir("/proc/self/fd")), groups()
    async with Sandbox(LIMITS, workers=2) as box:
        await asyncio.gather(*(box.run(TRIVIAL) for _ in range(20)))
        family = [pid for worker in workers_of(box) for pid in (worker.pid, *descendants(worker.pid))]
    assert await gone(family, within_s=5)
    assert groups() <= groups_before
    assert len(os.listdir("/proc/self/fd")) <= before


OWNER = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from sandbox import Sandbox, StdioTask
async def main():
    async with Sandbox(workers=1) as box:
        print(box._programs._slots[0].worker.pid, flush=True)
        await box.run(StdioTask("python", "import time\\nprint(1, flush=True)\\ntime.sleep(60)", [("", "")]))
asyncio.run(main())
"""


async def test_a_dead_owner_leaves_no_process() -> None:
    root = str(Path(__file__).parents[2])
    owner = subprocess.Popen([sys.executable, "-c", OWNER, root], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    zygote = int(await asyncio.to_thread(owner.stdout.readline))
    await asyncio.sleep(0.3)
    family = [zygote, *descendants(zygote)]
    owner.kill()
    await asyncio.to_thread(owner.wait)
    owner.stdout.close()
    assert await gone(family, within_s=10)


@pytest.mark.parametrize("tier", ["namespaces", "portable"])
async def test_a_run_that_fights_back_is_killed_and_reaped_soon(tier: str) -> None:
    source = (
        "import signal, threading\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\n"
        "def spin():\n    while True: pass\nfor _ in range(8): threading.Thread(target=spin).start()\n"
    )
    worker = await Worker.start(TIERS[tier], LIMITS, 59_000)  # type: ignore[index]
    try:
        run = worker.launch("program", source.encode(), b"", LIMITS)
        await asyncio.sleep(0.3)
        asked = time.monotonic()
        run.kill()
        left = await run.end()
        run.close()
        assert left.killed == "asked"
        assert time.monotonic() - asked < 5  # tens of milliseconds on an idle machine
    finally:
        await worker.stop()


ADOPTER = """
import asyncio, ctypes, os, sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from sandbox import Sandbox, SandboxLimits, StdioTask
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: what loses its parent below comes to this process
SLEEPER = StdioTask("python", "import time\\ntime.sleep(20)", [("", "")])
async def main():
    async with Sandbox(SandboxLimits(cpu_s=5.0), sys.argv[2], workers=2) as box:
        runs = [asyncio.create_task(box.run(SLEEPER)) for _ in range(2)]
        await asyncio.sleep(0.5)
        runs[0].cancel()
        await asyncio.gather(runs[0], return_exceptions=True)
asyncio.run(main())
left = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
print([Path(f"/proc/{pid}/stat").read_text() for pid in left])
"""


@pytest.mark.parametrize("tier", ["namespaces", "portable"])
def test_workers_that_are_stopped_under_a_run_leave_no_zombie_to_a_service_that_adopts(tier: str) -> None:
    root = str(Path(__file__).parents[2])
    ran = subprocess.run(
        [sys.executable, "-c", ADOPTER, root, tier], capture_output=True, text=True, timeout=120, check=False
    )
    assert (ran.stdout.strip(), ran.returncode) == ("[]", 0), ran.stderr


async def test_a_zygote_of_other_files_than_the_service_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.worker.PROTOCOL", 1_000_000)
    with pytest.raises(WorkerNotStarted, match=r"on disk are of version \d+ and this process is of version 1000000"):
        await Worker.start(TIERS["unsafe_none"], LIMITS, 59_000)


def test_the_version_changes_with_what_is_said() -> None:
    """When this fails, raise PROTOCOL and write the new names here."""
    settings = "namespaces landlock seccomp profile outside_uid stack_bytes scratch_bytes threads shown readable masked"
    assert (zygote.PROTOCOL, list(zygote.Settings.__slots__), list(ChildExit.__slots__)) == (
        3,
        [*settings.split(), "executable", "warm", "cgroups"],
        ["status", "killed", "cpu_s", "wall_s", "peak_memory_bytes"],
    )
