"""Workers in slots: one run each, replaced after any failure and after many runs; who waits is counted apart."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

from sandbox.verdicts import Tally
from sandbox.worker import Worker, WorkerFailed, WorkerNotStarted

RUNS_PER_WORKER = 10_000
RETRIES = 2

T = TypeVar("T")


class SandboxFailed(RuntimeError):
    """A run was tried several times and the sandbox failed each time."""


class _Slot:
    """A place for a worker; empty until it is needed."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.worker: Worker | None = None


class Pool:
    """`start` makes the worker of a slot from the slot's number."""

    def __init__(self, start: Callable[[int], Awaitable[Worker]], size: int, first_number: int = 0) -> None:
        self._start = start
        self._slots = [_Slot(first_number + i) for i in range(size)]
        self._idle: asyncio.Queue[_Slot] = asyncio.Queue()
        for slot in self._slots:
            self._idle.put_nowait(slot)
        self._stopping: set[asyncio.Task[None]] = set()
        self.num_replaced = 0

    async def attempt(self, tally: Tally, body: Callable[[Worker], Awaitable[T]]) -> T:
        """Run `body` with a worker, again with another one when the sandbox failed. Raises SandboxFailed."""
        problem: Exception | None = None
        for _ in range(1 + RETRIES):
            try:
                return await self.once(tally, body)
            except (WorkerFailed, WorkerNotStarted) as error:
                problem = error
        raise SandboxFailed(f"{1 + RETRIES} attempts failed, last: {problem}")

    async def once(self, tally: Tally, body: Callable[[Worker], Awaitable[T]]) -> T:
        """Run `body` with a worker. Raises WorkerFailed, WorkerNotStarted."""
        async with self._worker(tally) as worker:
            return await body(worker)

    @contextlib.asynccontextmanager
    async def _worker(self, tally: Tally) -> AsyncGenerator[Worker]:
        waited_from = time.monotonic()
        slot = await self._idle.get()
        try:
            if slot.worker and (slot.worker.dead or slot.worker.num_jobs >= RUNS_PER_WORKER):
                self._discard(slot)
            if slot.worker is None:
                slot.worker = await self._start(slot.number)
            tally.queue_s += time.monotonic() - waited_from
            yield slot.worker
        except BaseException:  # cancelled in the middle of a run, too: whatever it was doing dies with the worker
            self._discard(slot)
            raise
        finally:
            self._idle.put_nowait(slot)

    def _discard(self, slot: _Slot) -> None:
        if slot.worker:
            self.num_replaced += 1
            task = asyncio.create_task(slot.worker.stop())
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)
            slot.worker = None

    async def fill(self) -> None:
        """Start the workers of all slots, side by side. Raises WorkerNotStarted, SandboxUnavailable."""
        started = await asyncio.gather(*(self._start(slot.number) for slot in self._slots), return_exceptions=True)
        for slot, worker in zip(self._slots, started, strict=True):
            if isinstance(worker, Worker):
                slot.worker = worker
        for worker in started:
            if isinstance(worker, BaseException):
                raise worker

    async def close(self) -> None:
        """End every worker and wait until they are gone. Runs under way die with theirs."""
        for slot in self._slots:
            self._discard(slot)
        await asyncio.gather(*self._stopping)
