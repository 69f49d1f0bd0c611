import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rewards.verifier_pool import VerifierPool, VerifierTimeout, VerifierUnavailable

pytestmark = pytest.mark.integration
BOMB = "9^{9^{9^9}}"
HARMLESS = ("a^2-b^2", "(a-b)(a+b)")


def descendants() -> set[int]:
    """Verifier processes below this one: supervisors and their workers."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        state, parent = text.rpartition(")")[2].split()[:2]
        if state != "Z":
            parents[int(stat.parent.name)] = int(parent)
    below = {os.getpid()}
    while True:
        more = {pid for pid, parent in parents.items() if parent in below and pid not in below}
        if not more:
            return below - {os.getpid()}
        below |= more


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_stuck_comparison_is_killed_and_the_pool_serves_on():
    pool = VerifierPool(workers=1, timeout_s=0.3)
    await pool.start()
    try:
        started = time.perf_counter()
        with pytest.raises(VerifierTimeout, match=r"0\.3 s"):
            await pool.same("5", BOMB)
        assert time.perf_counter() - started < 5.0
        assert await pool.same(*HARMLESS)
    finally:
        await pool.close()


async def test_no_process_is_left_after_close_even_of_a_busy_pool():
    before = descendants()
    pool = VerifierPool(workers=2, timeout_s=5.0)
    await pool.start()
    assert len(descendants() - before) == 4
    stuck = asyncio.create_task(pool.same("5", BOMB))
    await asyncio.sleep(0.1)
    started = time.perf_counter()
    stuck.cancel()
    await asyncio.gather(stuck, return_exceptions=True)
    await pool.close()
    assert time.perf_counter() - started < 5.0
    await until(lambda: not descendants() - before)


async def test_a_killed_supervisor_is_replaced_and_takes_its_worker_along():
    before = descendants()
    pool = VerifierPool(workers=1, timeout_s=2.0)
    await pool.start()
    try:
        old = descendants() - before
        os.kill(min(old), signal.SIGKILL)
        await until(lambda: not descendants() & old)
        assert await pool.same(*HARMLESS)
    finally:
        await pool.close()


async def test_a_worker_killed_from_outside_is_asked_again():
    before = descendants()
    pool = VerifierPool(workers=1, timeout_s=0.4)
    await pool.start()
    try:
        worker = max(descendants() - before)
        stuck = asyncio.create_task(pool.same("5", BOMB))
        await asyncio.sleep(0.1)
        os.kill(worker, signal.SIGSEGV)
        with pytest.raises(VerifierTimeout):
            await stuck
    finally:
        await pool.close()


async def test_a_caller_that_gives_up_leaves_a_pool_that_serves():
    pool = VerifierPool(workers=1, timeout_s=5.0)
    await pool.start()
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await pool.same("5", BOMB)
        async with asyncio.timeout(5.0):
            assert await pool.same(*HARMLESS)
    finally:
        await pool.close()


async def test_memory_is_capped():
    before = descendants()
    pool = VerifierPool(workers=1, timeout_s=5.0, memory_mib=128)
    await pool.start()
    try:
        worker = max(descendants() - before)
        assert not await pool.same("5", "2^{9999999999}")  # 1.25 GB as an integer
        status = Path(f"/proc/{worker}/status").read_text()
        peak_kib = int(status.partition("VmPeak:")[2].split()[0])
        assert peak_kib <= 128 * 1024
        assert await pool.same(*HARMLESS)
    finally:
        await pool.close()


async def test_a_process_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONHOME", "/nonexistent")
    with pytest.raises(VerifierUnavailable, match="verifier process"):
        await VerifierPool(workers=1, timeout_s=1.0).start()
