"""A pool of processes that judge answers and can be killed at any time.

A question that uses up its processor time, or three times that on the clock, is killed and raises VerifierTimeout;
one that kills its process raises VerifierDied; what goes wrong without the answer's doing raises VerifierUnavailable.
No process outlives the pool: they die with their parent, at the end of their input, and at `close`.
"""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Any

from rewards.sample import InfrastructureError

START_TIMEOUT_S = 60.0
CLOSE_TIMEOUT_S = 2.0
CLOCK_FACTOR = 3.0  # clock time allowed for one second of processor time: the cores may be shared
_ROOT = Path(__file__).resolve().parents[1]


class VerifierTimeout(RuntimeError):
    """The question did not end within its processor time; its process was killed."""


class VerifierDied(RuntimeError):
    """The question brought its process down or over its memory, twice or by its own report."""


class VerifierUnavailable(InfrastructureError):
    """No verifier process could be started or reached."""


class _Killed(Exception):
    """The worker died of the given signal while it had a request."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"signal {signal_number}")
        self.signal = signal_number


class _Verifier:
    """One supervisor process with its worker. At most one request at a time."""

    def __init__(self, memory_mib: int, module: str) -> None:
        self._memory_mib, self._module = memory_mib, module
        self._process: Process | None = None
        self._killed = False  # a kill was sent, and the frames up to the next "ready" are still to be read

    async def start(self) -> None:
        """Start the process if it does not run, and wait until a worker is ready."""
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                if self._process is None:
                    await self._spawn()
                elif self._killed:
                    await self._until("died")
                    await self._until("ready")
                self._killed = False
        except (TimeoutError, OSError) as error:
            await self.stop()
            raise VerifierUnavailable(f"verifier process did not start in {START_TIMEOUT_S:g} s ({error!r})") from error
        except VerifierUnavailable:
            await self.stop()
            raise

    async def _spawn(self) -> None:
        paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", self._module, str(self._memory_mib),
            stdin=PIPE, stdout=PIPE, stderr=DEVNULL, cwd=_ROOT, start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        await self._until("ready")

    async def ask(self, question: dict[str, Any], cpu_s: float) -> dict[str, Any]:
        """Reply to one request. Raises _Killed, TimeoutError (then the worker is being killed), VerifierUnavailable."""
        await self.start()
        assert self._process is not None
        assert self._process.stdin is not None
        # No id can be guessed, so that nothing an answer brings about can pass for the reply to a later question.
        request = {"id": secrets.token_hex(8), **question, "cpu_s": cpu_s}
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            async with asyncio.timeout(CLOCK_FACTOR * cpu_s):
                while True:
                    frame = await self._frame()
                    if frame.get("id") == request["id"]:
                        return frame
                    if "died" in frame:
                        break
        except (TimeoutError, asyncio.CancelledError):
            self._kill_worker()
            raise
        await self._restarted()
        raise _Killed(int(frame["died"]))

    async def _restarted(self) -> None:
        """Wait for the worker that takes the place of a dead one. Raises VerifierUnavailable."""
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._until("ready")
        except TimeoutError as error:
            await self.stop()
            raise VerifierUnavailable(f"no new verifier worker within {START_TIMEOUT_S:g} s") from error

    def _kill_worker(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGUSR1)
            self._killed = True

    async def _until(self, key: str) -> None:
        while key not in await self._frame():
            pass

    async def _frame(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line.endswith(b"\n"):
            await self.stop()
            raise VerifierUnavailable("verifier process ended unexpectedly")
        frame: dict[str, Any] = json.loads(line)
        if "failed" in frame:
            raise VerifierUnavailable(f"verifier process cannot start: {frame['failed']}")
        return frame

    async def stop(self) -> None:
        """End the process: by the end of its input, or by a kill after CLOSE_TIMEOUT_S."""
        process, self._process, self._killed = self._process, None, False
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGUSR1)  # a busy worker does not read its input
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


class VerifierPool:
    """`workers` verifier processes with a memory cap each; requests wait for a free one, in order of arrival."""

    def __init__(
        self, workers: int, timeout_s: float, memory_mib: int = 1024, module: str = "rewards.verifier_worker"
    ) -> None:
        """`module` is what the processes run; it speaks the protocol of rewards/verifier_worker.py."""
        self._verifiers = [_Verifier(memory_mib, module) for _ in range(workers)]
        self._free: asyncio.Queue[_Verifier] = asyncio.Queue()
        self._timeout_s = timeout_s

    async def start(self) -> None:
        """Start all processes side by side. Raises VerifierUnavailable."""
        await asyncio.gather(*(verifier.start() for verifier in self._verifiers))
        for verifier in self._verifiers:
            self._free.put_nowait(verifier)

    async def close(self) -> None:
        """End all processes, busy or not."""
        await asyncio.gather(*(verifier.stop() for verifier in self._verifiers))

    async def same(self, gold: str, answer: str) -> bool:
        """Whether the answers agree. Raises what `ask` raises."""
        return bool((await self.ask({"gold": gold, "answer": answer}))["same"])

    async def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """The reply to one question. Raises VerifierTimeout, VerifierDied, VerifierUnavailable, or RuntimeError.

        The wait for a free process is bounded: whoever holds one has a deadline.
        """
        verifier = await self._free.get()
        try:
            return await self._ask_twice(verifier, question)
        finally:
            self._free.put_nowait(verifier)

    async def _ask_twice(self, verifier: _Verifier, question: dict[str, Any]) -> dict[str, Any]:
        """Ask again after a death that may have had another cause than the answer (such as the host's memory)."""
        for last in (False, True):
            try:
                reply = await verifier.ask(question, self._timeout_s)
            except TimeoutError as error:
                raise VerifierTimeout(f"no verdict within {self._timeout_s:g} s") from error
            except _Killed as death:
                if death.signal == signal.SIGPROF:
                    raise VerifierTimeout(f"no verdict within {self._timeout_s:g} s of processor time") from death
                if last:
                    raise VerifierDied(f"the verifier died twice of signal {death.signal}") from death
                continue
            except VerifierUnavailable:
                if last:
                    raise
                continue
            if "refused" in reply:
                raise VerifierDied(f"the verifier failed with {reply['refused']}")
            if "error" in reply:
                raise RuntimeError(f"the verifier raised {reply['error']}")
            return reply
        raise AssertionError("unreachable")
