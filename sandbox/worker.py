"""One zygote as the service sees it: started with an empty environment, given one run at a time, killed on doubt."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from sandbox.inside.zygote import PROTOCOL
from sandbox.languages import RESULT_FILE, Kit
from sandbox.limits import SandboxLimits
from sandbox.pipes import Channel, Drain, sealed
from sandbox.tiers import Tier
from sandbox.walls.cgroup import Group

START_TIMEOUT_S = 30.0
GRACE_S = 5.0  # how much longer than the limits a zygote may take to report the end of a run
_CLOCK_EVERY_S = 0.05
_ORDERLY_S = 3.0  # how long a zygote may take to end by itself before it is killed
# The package is entered without its __init__, which imports what a zygote must not carry.
_BOOT = """
import sys, types
package = types.ModuleType("sandbox"); package.__path__ = [sys.argv[1]]; sys.modules["sandbox"] = package
from sandbox.inside import zygote
zygote.main(int(sys.argv[2]), sys.argv[3])
"""

_numbers = itertools.count()

Mode = Literal["program", "functions", "test", "syntax", "compile", "binary", "engine"]


class WorkerFailed(RuntimeError):
    """The sandbox failed, not the program: the zygote died, hung, or could not raise a child's walls."""


class WorkerNotStarted(RuntimeError):
    """The zygote could not raise its own walls; says which call the kernel refused."""


@dataclass(frozen=True, slots=True)
class ChildExit:
    """What the zygote reports about a child it has reaped."""

    status: int  # exit status, or minus the signal that ended it
    killed: str  # "wall", "cpu", "memory", "asked", or ""
    cpu_s: float
    wall_s: float
    peak_memory_bytes: int


class Run:
    """A child under way. `channel` carries requests and replies, only for modes that have calls."""

    def __init__(self, worker: "Worker", job: int, fds: list[int], limits: SandboxLimits) -> None:
        self._worker, self._job, self._limits = worker, job, limits
        self._loop = asyncio.get_running_loop()
        self._clock_from = self._loop.time()
        self._waits_from: float | None = None  # since when the child waits for the service
        self._paused = False
        self._exited = worker.next_message()
        self.stdout = Drain(fds[0], limits.output_bytes, self.kill)
        self.stderr = Drain(fds[1], limits.output_bytes, self.kill)
        self.channel = Channel(fds[2], fds[3], limits.reply_bytes) if len(fds) > 2 else None
        self._look = self._loop.call_later(_CLOCK_EVERY_S, self._pause) if self.channel else None

    def kill(self) -> None:
        """Have the child killed; `end` then reports it."""
        self._worker.tell("kill", self._job)

    def restart_clock(self) -> None:
        """The limits on time count anew from about now, for the next call. Free for a series of short calls."""
        self._waits_from = None
        if self._paused or self._loop.time() - self._clock_from > _CLOCK_EVERY_S:
            self._clock_from, self._paused = self._loop.time(), False
            self._worker.tell("clock", self._job)

    def pause_clock(self) -> None:
        """The child waits for the service now, which is no time of its own; free unless that takes long."""
        self._waits_from = self._loop.time()

    def resume_clock(self) -> None:
        """The child goes on with what it was doing, in the time that it had left."""
        self._waits_from = None
        if self._paused:
            self._paused = False
            self._worker.tell("resume", self._job)

    def _pause(self) -> None:
        """Every now and then: a timer for each call would cost more than the call."""
        self._look = self._loop.call_later(_CLOCK_EVERY_S, self._pause)
        if not self._paused and self._waits_from and self._loop.time() - self._waits_from > _CLOCK_EVERY_S / 2:
            self._paused = True
            self._worker.tell("pause", self._job)

    @property
    def output_overflowed(self) -> bool:
        """Whether it wrote more than is read, on either stream."""
        return self.stdout.overflowed or self.stderr.overflowed

    @property
    def stderr_tail(self) -> str:
        """For people."""
        return bytes(self.stderr.data[-8000:]).decode(errors="replace")[-2000:]

    async def end(self) -> ChildExit:
        """Wait until it is dead and its pipes are read. Raises WorkerFailed when the zygote does not say so in time."""
        deadline_s = self._limits.wall_s + GRACE_S
        try:
            async with asyncio.timeout(deadline_s):
                message = await self._exited
                await self.stdout.ended
                await self.stderr.ended
        except TimeoutError:
            raise WorkerFailed(f"the end of a run was not reported within {deadline_s:.0f} s") from None
        if message["problem"]:
            raise WorkerFailed(f"the walls of a run: {message['problem']}")
        left = ChildExit(**{name: message[name] for name in ChildExit.__slots__})
        if left.status == -signal.SIGKILL and not left.killed and self._worker.ran_out_of_memory():
            return replace(left, killed="memory")
        return left

    def close(self) -> None:
        """Give every descriptor back."""
        if self._look:
            self._look.cancel()
        self.stdout.close()
        self.stderr.close()
        if self.channel:
            self.channel.close()


class Worker:
    """A live zygote. Not for two runs at once."""

    def __init__(self, process: "subprocess.Popen[bytes]", control: socket.socket, group: Group) -> None:
        self._process, self._control, self._group = process, control, group
        self._loop = asyncio.get_running_loop()
        self._message: asyncio.Future[dict[str, Any]] | None = None
        self.num_jobs = 0
        self.walls: list[str] = []
        self.dead = False
        self._loop.add_reader(control, self._read_message)

    @classmethod
    async def start(cls, tier: Tier, limits: SandboxLimits, outside_uid: int, kit: Kit | None = None) -> "Worker":
        """Raises WorkerNotStarted, SandboxUnavailable without an interpreter."""
        python = tier.interpreter(outside_uid).path
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        # Files are memory too. What the run shares with the zygote is counted where it was read, so nothing is added.
        group = Group(next(_numbers), limits.memory_bytes + limits.scratch_bytes, 2 * limits.threads)
        of_python = tier.settings(limits, outside_uid, group.join_files)
        settings = json.dumps(kit.settings(of_python) if kit else of_python)
        package = str(Path(__file__).resolve().parent)
        command = [python, "-I", "-S", "-B", "-X", "utf8", "-c", _BOOT, package, str(theirs.fileno()), settings]
        with theirs:
            process = subprocess.Popen(
                command,
                env={"MALLOC_ARENA_MAX": "2", "LD_BIND_NOW": "1"},  # or each run looks up the same C functions again
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        worker = cls(process, ours, group)
        try:
            await worker._hear_ready()
        except BaseException:
            await worker.stop()
            raise
        return worker

    async def _hear_ready(self) -> None:
        try:
            message = await asyncio.wait_for(self.next_message(), START_TIMEOUT_S)
        except TimeoutError:
            raise WorkerNotStarted(f"it did not start within {START_TIMEOUT_S:.0f} s") from None
        except WorkerFailed as error:
            raise WorkerNotStarted(f"its process ended ({error})") from None
        if (theirs := message.get("protocol")) != PROTOCOL:
            raise WorkerNotStarted(
                f"the files of the sandbox on disk are of version {theirs} and this process is of version {PROTOCOL}: "
                "they were changed while it ran; restart it"
            )
        if message["op"] != "ready":
            raise WorkerNotStarted(str(message["problem"]))
        self.walls = message["walls"]

    @property
    def pid(self) -> int:
        """The process that was started; with namespaces the zygote proper is its child."""
        return self._process.pid

    def next_message(self) -> asyncio.Future[dict[str, Any]]:
        """What the zygote says next; fails with WorkerFailed when it dies instead."""
        self._message = self._loop.create_future()
        return self._message

    def _read_message(self) -> None:
        try:
            data = self._control.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        waiting, self._message = self._message, None
        if data and waiting and not waiting.done():
            waiting.set_result(json.loads(data))
        elif not data:
            self.dead = True
            self._loop.remove_reader(self._control)
            if waiting and not waiting.done():
                waiting.set_exception(WorkerFailed("the zygote died"))
                waiting.exception()  # seen, even if nobody waits any more

    def launch(
        self,
        mode: Mode,
        program: bytes,
        stdin: bytes,
        limits: SandboxLimits,
        num_calls: int = 1,
        arguments: Sequence[str] = (),
        source_file: str = "",
    ) -> Run:
        """Start a child. Whoever calls this awaits `Run.end`, or else stops the worker. Raises WorkerFailed.

        `arguments` are for the modes that execute something; `source_file` is what a compiler is to find.
        """
        self.num_jobs += 1
        ours: list[int] = []
        theirs: list[int] = []
        job = {
            "op": "run",
            "job": self.num_jobs,
            "mode": mode,
            "cpu_s": limits.cpu_s,
            "wall_s": limits.wall_s,
            "total_cpu_s": limits.cpu_s * max(num_calls, 1),
            "memory_bytes": limits.memory_bytes,
        }
        if arguments:
            job |= {"arguments": list(arguments), "source_file": source_file, "result_file": RESULT_FILE}
        try:
            theirs.append(sealed(stdin))
            _pipe(ours, theirs)
            _pipe(ours, theirs)
            theirs.append(sealed(program, executable=mode == "binary"))
            if mode in ("functions", "test"):
                _pipe(theirs, ours)
                _pipe(ours, theirs)
            socket.send_fds(self._control, [json.dumps(job).encode()], theirs)
        except OSError as error:
            self.dead = True
            for fd in ours:
                os.close(fd)
            raise WorkerFailed(f"a run could not be handed over: {error}") from error
        finally:
            for fd in theirs:
                os.close(fd)
        return Run(self, self.num_jobs, ours, limits)

    def tell(self, operation: str, job: int) -> None:
        """A word to the watcher of the run `job`: "kill" or "clock". A run that is over does not hear it."""
        with contextlib.suppress(OSError):  # a zygote that is gone is seen by the reader of its messages
            self._control.send(json.dumps({"op": operation, "job": job}).encode())

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel has killed something for the memory of this worker's group since this was last asked."""
        return self._group.killed_again()

    async def stop(self) -> None:
        """End the zygote and with it whatever it runs; nothing of either is left when this returns."""
        self.dead = True
        self._loop.remove_reader(self._control)
        with contextlib.suppress(OSError):  # a zygote that is gone
            self._control.shutdown(socket.SHUT_WR)  # it kills its run, reaps it, and ends
        try:
            await asyncio.to_thread(self._process.wait, _ORDERLY_S)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGKILL)
            await asyncio.to_thread(self._process.wait, GRACE_S)
        self._control.close()
        self._group.remove()


def _pipe(readers: list[int], writers: list[int]) -> None:
    read_end, write_end = os.pipe()
    readers.append(read_end)
    writers.append(write_end)
