"""A child that answers calls, as the service sees it: the program under test, a checker, or test code."""

import asyncio
import secrets
import signal
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from sandbox.inside import wire
from sandbox.limits import SandboxLimits
from sandbox.pipes import Channel
from sandbox.results import Outcome
from sandbox.verdicts import Tally, failure
from sandbox.worker import GRACE_S, Mode, Worker, WorkerFailed

# What a child may say about itself besides a value: a claim to have failed is believed, nothing else.
_CLAIMS: tuple[Outcome, ...] = ("wrong_answer", "runtime_error", "memory_limit", "output_limit")
_DIED = "the process ended before it answered"

# Calls under way at once, or every call would cost two switches between processes. What is sent ahead fits into a pipe:
# no write ever waits for a child that itself waits to be read.
_CALLS_AHEAD = 32
_BYTES_AHEAD = 16_384


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: a value as raw JSON when `outcome` is None, else how it failed."""

    outcome: Outcome | None
    raw: wire.Json = None
    detail: str = ""
    exception: str = ""  # name of the type raised, as the child says


class Session:
    """One child in a worker that the caller holds. `close` before the worker is given back."""

    def __init__(self, worker: Worker, mode: Mode, source: str, limits: SandboxLimits, num_calls: int) -> None:
        self._limits = limits
        self._run = worker.launch(mode, encoded(source), b"", limits, num_calls)
        assert self._run.channel is not None
        self._channel: Channel = self._run.channel
        self.num_calls = 0
        self.over = False  # the child is dead, or not to be talked to any more
        self.cut_off = False  # once closed: the clock or the machine ended it, whatever its code was about to do

    async def loaded(self) -> Reply:
        """Whether the module itself ran through."""
        return self._checked(0, await self._hear())

    async def call(self, entry_point: str, arguments: wire.Json, options: wire.Json) -> Reply:
        """One call; its limits on time are its own."""
        nonce = secrets.randbits(48)
        self.num_calls += 1
        self._run.restart_clock()
        return self._checked(nonce, await self._hear(_frame([nonce, entry_point, arguments, options])))

    async def replies(
        self, entry_point: str, calls: Sequence[tuple[wire.Json, wire.Json]]
    ) -> AsyncGenerator[Reply, None]:
        """The replies to many calls with (args, kwargs), in their order, up to one after which the session is over.

        Each call has the limits on time to itself, from the reply before it: a child that runs ahead while a reply is
        judged does so on nobody's time.
        """
        nonces = (secrets.randbits(48) for _ in calls)
        frames = ((nonce, _frame([nonce, entry_point, *call])) for nonce, call in zip(nonces, calls, strict=True))
        coming = next(frames, None)
        under_way: deque[tuple[int, int]] = deque()
        num_bytes = 0
        while coming or under_way:
            sent: list[bytes] = []
            room = _CALLS_AHEAD - len(under_way) if len(under_way) <= _CALLS_AHEAD // 2 else 0
            while coming and room and (not under_way or num_bytes + len(coming[1]) <= _BYTES_AHEAD):
                nonce, frame = coming
                sent.append(frame)
                under_way.append((nonce, len(frame)))
                num_bytes, room = num_bytes + len(frame), room - 1
                coming = next(frames, None)
            self._run.restart_clock()
            message = await self._hear(b"".join(sent))
            nonce, size = under_way.popleft()
            num_bytes -= size
            yield self._checked(nonce, message)
            if self.over:
                return

    async def begin(self, message: wire.Json) -> None:
        """Send one frame with which something new begins, that has the limits on time to itself."""
        self._run.restart_clock()
        await self._say(message)

    async def answer(self, message: wire.Json) -> None:
        """Send one frame in answer to one heard, on the time of what is under way."""
        self._run.resume_clock()
        await self._say(message)

    async def hear(self) -> wire.Json | Reply:
        """One frame as it came, or the failure that stood in its way."""
        return await self._hear()

    async def _say(self, message: wire.Json) -> None:
        try:
            async with asyncio.timeout(self._limits.wall_s + GRACE_S):
                await self._channel.send(message)
        except EOFError:
            self.over = True
        except TimeoutError:
            raise WorkerFailed("a run that should have been killed still lives") from None

    async def _hear(self, request: bytes = b"") -> wire.Json | Reply:
        try:
            async with asyncio.timeout(self._limits.wall_s + GRACE_S):  # one for both: a call costs microseconds
                await self._channel.write(request)
                message = await self._channel.receive()
            self._run.pause_clock()
            return message
        except EOFError:
            self.over = True
            return Reply("runtime_error", detail=_DIED)
        except wire.TooLarge as error:
            self.over = True
            return Reply("output_limit", detail=str(error))
        except wire.WireError as error:
            self.over = True
            return Reply("runtime_error", detail=f"it wrote to the sandbox's own channel: {error}")
        except TimeoutError:
            raise WorkerFailed("a run that should have been killed still lives") from None

    def _checked(self, nonce: int, message: wire.Json | Reply) -> Reply:
        """A reply to the request `nonce`. One out of turn or out of shape is the program's own writing."""
        if isinstance(message, Reply):
            return message
        parts = cast(list[Any], message) if isinstance(message, list) else []
        if len(parts) >= 3 and type(parts[0]) is int and parts[0] == nonce:
            if parts[1] == "value" and len(parts) == 3:
                return Reply(None, parts[2])
            if parts[1] in _CLAIMS and isinstance(parts[2], str):
                name = parts[3] if len(parts) > 3 and isinstance(parts[3], str) else ""
                return Reply(parts[1], detail=parts[2][:500], exception=name[:100])
        self.over = True
        return Reply("runtime_error", detail="it wrote to the sandbox's own channel")

    async def close(self, tally: Tally) -> tuple[Outcome, str] | None:
        """Kill the child if it lives, charge it, and tell how it failed, if its end says so.

        Nothing wrong with the end of a session that is `over` means that the program cut it short by itself.
        """
        try:
            self._run.kill()
            left = await self._run.end()
        finally:
            self._run.close()
        tally.charge(left)
        failed = failure(left, self._run, self._limits)
        unexplained = failed is not None and failed[0] == "runtime_error" and left.status == -signal.SIGKILL
        self.cut_off = left.killed == "wall" or unexplained
        return failed

    def abandon(self) -> None:
        """Give the descriptors back without waiting; the worker is being stopped."""
        self._run.close()


def _frame(message: wire.Json) -> bytes:
    return wire.frame(wire.dumps(message))


def for_judges(limits: SandboxLimits) -> SandboxLimits:
    """The limits of test code and checkers: an answer that is slow to judge meets the one on processor time first.

    So what ends them by the clock is the machine or their own sleeping, never the program.
    """
    return replace(limits, wall_s=max(limits.wall_s, 3 * limits.cpu_s))


def encoded(source: str) -> bytes:
    """Source text as the program file; lone surrogates become what no compiler accepts."""
    return source.encode("utf-8", "surrogatepass")
