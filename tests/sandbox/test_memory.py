"""Memory is held near its limit while a program runs, by each of the two that hold it, not only judged afterwards."""

from dataclasses import replace
from pathlib import Path

import pytest

from sandbox import SandboxLimits
from sandbox.limits import GIB, MIB
from sandbox.tiers import TIERS
from sandbox.verdicts import failure
from sandbox.walls import cgroup
from sandbox.worker import ChildExit, Run, Worker

pytestmark = pytest.mark.integration

LIMITS = SandboxLimits(cpu_s=20.0, wall_s=60.0, memory_bytes=128 * MIB)
# 512 MiB in all, in steps with pauses, so that a busy machine lets the watcher have its turn between two of them.
FILLS = (
    b"import time\nhoard = []\nfor _ in range(64):\n"
    b"    hoard.append(b'x' * (8 << 20))\n    time.sleep(0.02)\nprint('all of it')\n"
)


async def fill(worker: Worker, limits: SandboxLimits) -> tuple[ChildExit, Run]:
    run = worker.launch("program", FILLS, b"", limits)
    try:
        return await run.end(), run
    finally:
        run.close()


@pytest.mark.parametrize("tier", ["namespaces", "portable", "unsafe_none"])
async def test_the_watcher_kills_what_grows_above_the_limit(tier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "_parents", lambda *_: [])
    worker = await Worker.start(TIERS[tier], LIMITS, 59_000)  # type: ignore[index]
    try:
        left, run = await fill(worker, LIMITS)
        assert left.killed == "memory"
        assert run.stdout.data == b""
        assert 127 * MIB < left.peak_memory_bytes < 256 * MIB  # the kernel counts pages in batches, here and there
        assert failure(left, run, LIMITS) == ("memory_limit", "more than 128 MiB of memory")
    finally:
        await worker.stop()


@pytest.mark.parametrize("tier", ["namespaces", "portable"])
async def test_the_group_bounds_memory_where_there_is_one(tier: str) -> None:
    """The other limits are out of the way: the run's own are larger than those its worker was started with."""
    worker = await Worker.start(TIERS[tier], LIMITS, 59_000)  # type: ignore[index]
    try:
        if not any(Path(name).parent.joinpath("memory.stat").exists() for name in worker._group.join_files):  # pyright: ignore[reportPrivateUsage]
            pytest.skip("this machine gives no group that counts memory")
        left, run = await fill(worker, replace(LIMITS, memory_bytes=2 * GIB))
        assert left.killed == "memory"
        assert left.peak_memory_bytes < 256 * MIB
        assert failure(left, run, LIMITS) == ("memory_limit", "more than 128 MiB of memory")
        left, run = await fill(worker, replace(LIMITS, memory_bytes=2 * GIB))
        assert left.killed == "memory", "the worker lives on and tells it a second time"
    finally:
        await worker.stop()
