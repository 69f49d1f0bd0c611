"""The service's ends of a run's descriptors. Whatever comes out of them is hostile: bounded, and never pickle."""

import asyncio
import fcntl
import os
from collections.abc import Callable

from sandbox.inside import wire

_READ_BYTES = 1 << 16
_MFD_EXEC = 0x10


def sealed(data: bytes, executable: bool = False) -> int:
    """A descriptor of bytes in memory that nobody can change, at its beginning: input without a pump, and seekable."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        fd = os.memfd_create("input", flags | (_MFD_EXEC if executable else 0))
    except OSError:
        if not executable:
            raise
        fd = os.memfd_create("input", flags)  # before Linux 6.3 there is no such flag and all of them can be executed
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]
        os.lseek(fd, 0, os.SEEK_SET)
        seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    except BaseException:
        os.close(fd)
        raise
    return fd


class Drain:
    """Reads a pipe to its end, keeps the first `limit` bytes, and tells once when there are more."""

    def __init__(self, fd: int, limit: int, too_much: Callable[[], None]) -> None:
        self.data, self.overflowed = bytearray(), False
        self._fd, self._limit, self._too_much = fd, limit, too_much
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._read)

    def _read(self) -> None:
        try:
            part = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return
        if not part:
            self.close()
            return
        room = self._limit - len(self.data)
        self.data += part[: max(room, 0)]
        if len(part) > room and not self.overflowed:
            self.overflowed = True
            self._too_much()

    def close(self) -> None:
        """Stop reading; what was read stays."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
            if not self.ended.done():
                self.ended.set_result(None)


class Channel:
    """Frames to and from the child of a run; one coroutine at a time sends or receives.

    The loop watches for replies all the time, which is cheaper than asking it to anew for each; only while more lies
    here unasked for than one reply can be does it not.
    """

    def __init__(self, request_fd: int, reply_fd: int, max_reply_bytes: int) -> None:
        self._request_fd, self._reply_fd, self._max = request_fd, reply_fd, max_reply_bytes
        os.set_blocking(request_fd, False)
        os.set_blocking(reply_fd, False)
        self._buffer = bytearray()
        self._loop = asyncio.get_running_loop()
        self._more: asyncio.Future[None] | None = None  # of who waits for more than there is
        self._ended = self._watched = False
        self._watch()

    async def send(self, message: wire.Json) -> None:
        """Write one frame. Raises EOFError when the child is gone, wire.WireError when it is nested too deeply."""
        try:
            frame = wire.frame(wire.dumps(message))
        except RecursionError:
            raise wire.TooLarge("a value nested too deeply") from None
        await self.write(frame)

    async def write(self, frames: bytes) -> None:
        """Write frames as they are. Raises EOFError when the child is gone."""
        rest = memoryview(frames)
        while rest:
            try:
                rest = rest[os.write(self._request_fd, rest) :]
            except BlockingIOError:
                await self._writable()
            except OSError:
                raise EOFError("the child is gone") from None

    async def receive(self) -> wire.Json:
        """The next frame. Raises EOFError at its end, wire.TooLarge for a frame that is not read, wire.WireError."""
        size = int.from_bytes(await self._take(wire.HEADER_BYTES), "big")
        if size > self._max:
            raise wire.TooLarge(f"a reply of {size:,} bytes; at most {self._max:,}")
        data = await self._take(size)
        return wire.loads(data) if size < _READ_BYTES else await asyncio.to_thread(wire.loads, data)

    async def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            if self._ended:
                raise EOFError("the child is gone")
            if self._read():  # often it is there already
                continue
            self._watch()
            self._more = self._loop.create_future()
            await self._more
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _watch(self) -> None:
        if not self._watched and not self._ended:
            self._watched = True
            self._loop.add_reader(self._reply_fd, self._read)

    def _unwatch(self) -> None:
        if self._watched:
            self._watched = False
            self._loop.remove_reader(self._reply_fd)

    def _read(self) -> bool:
        try:
            part = os.read(self._reply_fd, _READ_BYTES)
        except BlockingIOError:
            return False
        self._buffer += part
        self._ended = not part
        if self._ended or len(self._buffer) > self._max + wire.HEADER_BYTES:
            self._unwatch()
        if self._more and not self._more.done():
            self._more.set_result(None)
        return True

    async def _writable(self) -> None:
        ready: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_writer(self._request_fd, lambda: ready.done() or ready.set_result(None))
        try:
            await ready
        finally:
            self._loop.remove_writer(self._request_fd)

    def close(self) -> None:
        """Give both descriptors back."""
        self._unwatch()
        self._ended = True
        for fd in (self._request_fd, self._reply_fd):
            if fd >= 0:
                os.close(fd)
        self._request_fd = self._reply_fd = -1
