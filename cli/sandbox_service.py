"""The sandbox as an HTTP service with a bearer token, for reward actors elsewhere (`rewards.sandbox.url`).

    GET  /health      -> 200, for probes, without a token and without a word about anything
    GET  /v1/sandbox  -> its tier, its limits, and the largest body it takes
    POST /v1/run      -> a task as JSON in (sandbox/task_json.py), its result out

400: no task; 401: no or another token; 408: a body that does not come; 413: too large a body; 422: a task that is wrong
itself; 429: too many are waiting. A caller that hangs up ends its run. The token is in no message and no log.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import signal
from collections.abc import Awaitable, Callable
from dataclasses import asdict

from aiohttp import web

from sandbox import Sandbox, Task, TaskError
from sandbox.remote import ABOUT_PATH, RUN_PATH
from sandbox.task_json import result_to_json, task_from_json

log = logging.getLogger(__name__)

WAITING_PER_WORKER = 16  # tasks taken in for each worker; above it callers are told to come again
BODY_TIMEOUT_S = 30.0
DRAIN_TIMEOUT_S = 30.0  # how long runs under way may take after SIGTERM
HEALTH_PATH = "/health"
_LARGE_BYTES = 1 << 16  # parsed in a thread, so that the service goes on

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class SandboxService:
    """An entered sandbox behind HTTP."""

    def __init__(self, sandbox: Sandbox, token: str, max_body_bytes: int) -> None:
        self._sandbox, self._max_body_bytes = sandbox, max_body_bytes
        self._digest = _digest(token)
        self._under_way = 0
        self._most = WAITING_PER_WORKER * sandbox.workers

    def application(self) -> web.Application:
        """For any of aiohttp's runners."""
        app = web.Application(middlewares=[self._guard], client_max_size=self._max_body_bytes)
        app.router.add_get(HEALTH_PATH, _health)
        app.router.add_get(ABOUT_PATH, self._about)
        app.router.add_post(RUN_PATH, self._run)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Nobody without the token learns even which paths there are."""
        if request.path != HEALTH_PATH and not self._has_token(request):
            return _refuse(401, "no or another token", {"WWW-Authenticate": "Bearer"})
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _refuse(error.status, error.reason)

    def _has_token(self, request: web.Request) -> bool:
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        # Of digests, so that not even the length of the token shows in the time that this takes.
        return kind.lower() == "bearer" and hmac.compare_digest(_digest(given.strip()), self._digest)

    async def _about(self, _: web.Request) -> web.Response:
        about = {
            "isolation": self._sandbox.isolation,
            "limits": asdict(self._sandbox.limits),
            "max_body_bytes": self._max_body_bytes,
        }
        return web.json_response(about)

    async def _run(self, request: web.Request) -> web.Response:
        if (request.content_length or 0) > self._max_body_bytes:
            return self._too_large()
        if self._under_way >= self._most:
            return _refuse(429, f"{self._under_way} tasks are under way", {"Retry-After": "1"})
        self._under_way += 1
        try:
            try:
                async with asyncio.timeout(BODY_TIMEOUT_S):
                    body = await request.read()
            except TimeoutError:
                return _refuse(408, f"the body was not there within {BODY_TIMEOUT_S:g} s")
            except web.HTTPRequestEntityTooLarge:
                return self._too_large()
            try:
                task = _parse(body) if len(body) < _LARGE_BYTES else await asyncio.to_thread(_parse, body)
            except (ValueError, RecursionError) as error:
                return _refuse(400, str(error)[:500])
            try:
                result = await self._sandbox.run(task)
            except TaskError as error:
                return _refuse(422, str(error)[:2000])
            return web.json_response(result_to_json(result))
        finally:
            self._under_way -= 1

    def _too_large(self) -> web.Response:
        return _refuse(413, f"a body of more than {self._max_body_bytes:,} bytes")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _parse(body: bytes) -> Task:
    return task_from_json(json.loads(body))


def _refuse(status: int, reason: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": reason}, status=status, headers=headers)


async def _health(_: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def serve(
    sandbox: Sandbox, token: str, host: str, port: int, max_body_bytes: int, on_ready: Callable[[str, int], None]
) -> None:
    """Until SIGTERM or SIGINT; then what is under way is finished and nothing new taken. `on_ready` gets the port.

    Raises SandboxUnavailable when no tier holds, OSError when the address cannot be had.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with sandbox:
        service = SandboxService(sandbox, token, max_body_bytes)
        runner = web.AppRunner(
            service.application(), access_log=None, handler_cancellation=True, shutdown_timeout=DRAIN_TIMEOUT_S
        )
        await runner.setup()
        try:
            site = web.TCPSite(runner, host, port)
            await site.start()
            on_ready(host, runner.addresses[0][1])
            await stop.wait()
            log.info("ending: no new tasks; those under way have %g s", DRAIN_TIMEOUT_S)
        finally:
            await runner.cleanup()
