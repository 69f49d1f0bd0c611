"""One HTTP request over a connection of its own, with the standard library: bounded, and nothing followed or guessed.

A connection for each request lets a cluster's service address spread the requests over all pods behind it.
"""

import asyncio
import contextlib
import socket
import ssl
from urllib.parse import urlsplit

CONNECT_TIMEOUT_S = 10.0
MAX_REPLY_BYTES = 64 << 20
_MAX_HEAD_BYTES = 1 << 16
# A machine that is gone is noticed after 10 + 3 * 5 s, however long the answer may take.
_KEEP_ALIVE = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))


class HttpError(OSError):
    """No connection, a connection that broke, or an answer that is no HTTP."""


def checked_url(url: str) -> str:
    """The URL without a slash at its end. Raises ValueError for one that is not of the form http(s)://host[:port]."""
    parts = urlsplit(url)
    try:
        known = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        known = False
    if not known or parts.path not in ("", "/") or parts.query or parts.fragment or parts.username or not url.isascii():
        raise ValueError(f"{url!r} is no address of a service; it must look like http://sandbox:8400")
    return url.rstrip("/")


async def request(url: str, method: str, path: str, token: str, body: bytes, timeout_s: float) -> tuple[int, bytes]:
    """(status, body of the answer). `url` from `checked_url`. Raises HttpError; TimeoutError after `timeout_s`."""
    parts = urlsplit(url)
    secure = ssl.create_default_context() if parts.scheme == "https" else None
    port = parts.port or (443 if secure else 80)
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    async with asyncio.timeout(timeout_s):
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                opening = asyncio.open_connection(parts.hostname, port, ssl=secure, limit=_MAX_HEAD_BYTES)
                reader, writer = await opening
        except (OSError, TimeoutError) as error:
            raise HttpError(f"no connection to {url}: {error or 'no answer'}") from error
        try:
            _notice_the_dead(writer)
            return await _exchange(reader, writer, head.encode("ascii") + body)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
            raise HttpError(f"{url} did not answer as a service does: {type(error).__name__}: {error}") from error
        finally:
            writer.transport.abort()


def _notice_the_dead(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEP_ALIVE:
        connection.setsockopt(socket.IPPROTO_TCP, option, value)


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> tuple[int, bytes]:
    writer.write(data)
    with contextlib.suppress(
        ConnectionError
    ):  # who refuses the head does not read the rest, and its answer may be there
        await writer.drain()
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    version, status, *_ = lines[0].split(" ", 2)
    if not version.startswith("HTTP/1."):
        raise ValueError(f"{version[:20]!r} is not HTTP/1")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    size = int(headers.get("content-length", "-1"))
    if not 0 <= size <= MAX_REPLY_BYTES:
        raise ValueError(f"an answer of {size} bytes; it must give its length, at most {MAX_REPLY_BYTES:,}")
    return int(status), await reader.readexactly(size)
