"""A sandbox that is a service somewhere else (`rayzero sandbox serve`), to be used as the one of box.py.

What goes wrong on the way is `infra_error`, tried several times before and never a verdict on the program. Entering
asks the service for its tier and limits and refuses other ones than are wanted: verdicts depend on them.
"""

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import asdict
from types import TracebackType
from typing import Any, Literal, Self, cast

from sandbox import http
from sandbox.box import limits_of, num_tests
from sandbox.inside import wire
from sandbox.limits import SandboxLimits
from sandbox.results import Isolation, Outcome, RunResult, SandboxUnavailable, TaskError
from sandbox.task_json import result_from_json, task_to_json
from sandbox.tasks import Task

ABOUT_PATH, RUN_PATH = "/v1/sandbox", "/v1/run"
ABOUT_TIMEOUT_S = 20.0
BUSY_TIMEOUT_S = 120.0  # how long a service may say that it is busy before that is an error
RETRIES = 4
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.25, 4.0
_BUSY, _PASSING = 429, (502, 503, 504)


class RemoteSandbox:
    """`async with RemoteSandbox(url, token) as box`. Entering raises SandboxUnavailable."""

    def __init__(
        self,
        url: str,
        token: Callable[[], str],
        limits: SandboxLimits | None = None,
        isolation: Literal["auto"] | Isolation = "auto",
    ) -> None:
        """`token` reads it when the sandbox is entered. Raises ValueError for a URL that is none."""
        self._url, self._read_token, self._asked = http.checked_url(url), token, isolation
        self._token = ""
        self.limits = limits or SandboxLimits()
        self._isolation: Isolation | None = None
        self._max_body_bytes = 0

    async def __aenter__(self) -> Self:
        self._token = self._read_token()
        try:
            status, body = await self._persistently("GET", ABOUT_PATH, b"", ABOUT_TIMEOUT_S)
        except OSError as error:  # TimeoutError is one
            raise SandboxUnavailable(f"the sandbox service: {error or 'no answer in time'}") from error
        if status != 200:
            raise SandboxUnavailable(f"the sandbox service at {self._url}: {_refusal(status, body)}")
        try:
            about = cast(dict[str, Any], json.loads(body))
            isolation, limits = cast(Isolation, about["isolation"]), SandboxLimits(**about["limits"])
            self._max_body_bytes = int(about["max_body_bytes"])
        except (ValueError, TypeError, KeyError) as error:
            raise SandboxUnavailable(f"{self._url} does not answer as `rayzero sandbox serve` does: {error}") from error
        self._check(isolation, limits)
        self._isolation = isolation
        return self

    def _check(self, isolation: Isolation, limits: SandboxLimits) -> None:
        wanted = ("namespaces", "portable") if self._asked == "auto" else (self._asked,)
        if isolation not in wanted:
            raise SandboxUnavailable(
                f"the sandbox service at {self._url} has isolation {isolation}; wanted: {' or '.join(wanted)}. "
                "Start it with another --isolation or change `isolation` here"
            )
        theirs = asdict(limits)
        other = {name: (mine, theirs[name]) for name, mine in asdict(self.limits).items() if mine != theirs[name]}
        if other:
            told = ", ".join(f"{name}: {mine:g} here and {there:g} there" for name, (mine, there) in other.items())
            raise SandboxUnavailable(
                f"the sandbox service at {self._url} has other limits, so its verdicts would differ: {told}. "
                "Start it with these limits or change them here"
            )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._isolation = None

    @property
    def isolation(self) -> Isolation:
        """The tier of the service. Raises RuntimeError before the sandbox is entered."""
        if self._isolation is None:
            raise RuntimeError("the sandbox has no tier yet: use it as `async with RemoteSandbox(...) as box`")
        return self._isolation

    async def run(self, task: Task) -> RunResult:
        """As `Sandbox.run`; when the caller gives up, the service ends what it runs."""
        tests, isolation = num_tests(task), self.isolation
        try:
            body = await asyncio.to_thread(lambda: wire.dumps(task_to_json(task)))
        except (ValueError, RecursionError) as error:
            raise TaskError(f"the task cannot be sent: {error}") from error
        if len(body) > self._max_body_bytes:
            raise TaskError(
                f"the task has {len(body):,} bytes as JSON and the sandbox service takes {self._max_body_bytes:,}; "
                "start it with a larger --max-body-mib"
            )
        # Two processes may take turns for each test, and each start over twice.
        longest_s = BUSY_TIMEOUT_S + 6 * (tests + 1) * limits_of(task, self.limits).wall_s
        try:
            status, answer = await self._persistently("POST", RUN_PATH, body, longest_s)
            if status == 200:
                return await asyncio.to_thread(lambda: result_from_json(json.loads(answer)))
            if status == 422:
                raise TaskError(_refusal(status, answer))
            broken = _refusal(status, answer)
        except TaskError:
            raise
        except (OSError, ValueError) as error:  # TimeoutError is an OSError
            broken = str(error) or f"no answer within {longest_s:g} s"
        outcome: Outcome = "infra_error"
        return RunResult(outcome, (), tests, isolation, f"the sandbox service: {broken}")

    async def _persistently(self, method: str, path: str, body: bytes, timeout_s: float) -> tuple[int, bytes]:
        """Ask until there is an answer. Raises HttpError when the service cannot be reached, TimeoutError."""
        loop = asyncio.get_running_loop()
        busy_until, wait_s, failures = loop.time() + BUSY_TIMEOUT_S, _FIRST_WAIT_S, 0
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    status, answer = await http.request(self._url, method, path, self._token, body, timeout_s)
                except http.HttpError:
                    if (failures := failures + 1) > RETRIES:
                        raise
                else:
                    failures += status in _PASSING
                    is_busy = status == _BUSY and loop.time() < busy_until
                    if not is_busy and (status not in _PASSING or failures > RETRIES):
                        return status, answer
                await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


def _refusal(status: int, body: bytes) -> str:
    try:
        told = cast(dict[str, Any], json.loads(body))["error"]
    except (ValueError, TypeError, KeyError):
        told = body[:200].decode(errors="replace")
    return str(told) if status == 422 else f"status {status}: {told}"
