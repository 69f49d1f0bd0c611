"""The sandbox behind HTTP judges as the one in process does, and answers nobody without the token."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from cli.sandbox_service import SandboxService
from configs.sandbox import Sandbox as Section
from sandbox import (
    AssertTask,
    Checker,
    FunctionCall,
    FunctionTask,
    RunResult,
    Sandbox,
    SandboxLimits,
    SandboxUnavailable,
    StdioTask,
    SyntaxTask,
    Task,
    TaskError,
    http,
    remote,
)
from sandbox.configured import configured
from sandbox.limits import MIB
from sandbox.remote import ABOUT_PATH, RUN_PATH, RemoteSandbox

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-for-tests-0123456789"
LIMITS = SandboxLimits(cpu_s=1.0, wall_s=20.0, memory_bytes=256 * MIB, output_bytes=MIB)
BODY_BYTES = MIB
SUM = "print(sum(map(int, input().split())))"
FIRST_OF_TWO = Checker("def check(given, expected, actual): return actual.split()[:1] == expected.split()[:1]")
TASKS: list[Task] = [
    StdioTask("python", SUM, [("1 2", "3"), ("4 5", "9")]),
    StdioTask("python", SUM, [("1 2", "3"), ("4 5", "8"), ("0 0", "0")], stop_at_first_failure=False),
    StdioTask("python", "print(1 / 3)", [("", "0.3333333")], "float"),
    StdioTask("python", "print('a', 2)", [("", "a 1")], FIRST_OF_TWO),
    StdioTask("python", "print(", [("", "")]),
    StdioTask("python", "raise SystemExit(3)", [("", "")]),
    StdioTask("python", "while True: pass", [("", "")]),
    StdioTask("python", "x = bytearray(1 << 30)", [("", "")]),
    StdioTask("python", "print('x' * 5_000_000)", [("", "")]),
    StdioTask("python", "import ctypes\nctypes.CDLL(None).ptrace(0, 0, 0, 0)", [("", "")]),
    FunctionTask("def f(a): return {a, 2**70}", "f", [FunctionCall([1], {1, 2**70}), FunctionCall([2], {1})]),
    FunctionTask("class S:\n def f(self, a): return (a, 1.0)", "S.f", [FunctionCall([b"x"], (b"x", 1))], "python"),
    FunctionTask("def f(): return [2, 1]", "f", [FunctionCall([], [1, 2])], "unordered"),
    FunctionTask("def f(a): return a", "f", [FunctionCall([1], 2)], Checker("def check(a, b, c): return c + 1 == b")),
    AssertTask("def f(a): return a + 1", "assert f(1) == 2\nassert f(2) == 4", "f", stop_at_first_failure=False),
    AssertTask("def f(a): return a", "def check(candidate):\n    assert candidate(1) == 1", "f", "import math"),
    SyntaxTask("python", "x = 1"),
    SyntaxTask("python", "x ="),
]


@asynccontextmanager
async def serving(box: Sandbox) -> AsyncIterator[str]:
    """The address of a service before the sandbox, which is entered."""
    service = SandboxService(box, TOKEN, BODY_BYTES)
    runner = web.AppRunner(service.application(), access_log=None, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def box() -> AsyncIterator[Sandbox]:
    """One for all tests: entering it attacks the walls, which takes longer than most of them."""
    async with Sandbox(LIMITS, workers=1) as entered:
        yield entered


def client(url: str, token: str = TOKEN, limits: SandboxLimits = LIMITS) -> RemoteSandbox:
    return RemoteSandbox(url, lambda: token, limits)


def judged(result: RunResult) -> RunResult:
    """All of it but what a clock or the heap says."""
    tests = tuple(replace(test, cpu_s=0, wall_s=0, peak_memory_bytes=0) for test in result.tests)
    return replace(result, tests=tests, cpu_s=0, wall_s=0, queue_s=0, peak_memory_bytes=0)


async def test_a_mixed_list_of_tasks_gets_equal_verdicts_here_and_there(box: Sandbox):
    async with serving(box) as url, client(url) as far:
        here = await asyncio.gather(*map(box.run, TASKS))
        there = await asyncio.gather(*map(far.run, TASKS))
        assert [judged(result) for result in there] == [judged(result) for result in here]
        assert {result.outcome for result in here} >= {
            "passed", "wrong_answer", "runtime_error", "time_limit", "memory_limit", "output_limit", "compile_error",
            "sandbox_violation",
        }  # fmt: skip
        wrong = StdioTask("python", "", [("", "")], Checker("def check(a, b, c): return 1"))
        for runner in (box, far):
            with pytest.raises(TaskError, match="other than True and False"):
                await runner.run(wrong)


async def test_who_has_no_token_gets_401_and_nothing_else(box: Sandbox):
    async with serving(box) as url:
        for token in ("", TOKEN[:-1], TOKEN + "0", TOKEN.upper()):
            for method, path in (("GET", ABOUT_PATH), ("POST", RUN_PATH), ("GET", "/elsewhere")):
                status, body = await http.request(url, method, path, token, b"{}", 10)
                assert (status, json.loads(body)) == (401, {"error": "no or another token"})
        assert (await http.request(url, "GET", "/health", "", b"", 10))[0] == 200
        assert (await http.request(url, "GET", "/elsewhere", TOKEN, b"", 10))[0] == 404
        with pytest.raises(SandboxUnavailable, match="status 401"):
            async with client(url, TOKEN + "0"):
                pass


@pytest.mark.parametrize(
    "body", [b"", b"garbage", b"\xff", b"[]", b'{"kind": "stdio"}', b"[" * 100_000, b"9" * 5000, b'{"kind": 1e999}']
)
async def test_what_is_no_task_gets_400(box: Sandbox, body: bytes):
    async with serving(box) as url:
        status, answer = await http.request(url, "POST", RUN_PATH, TOKEN, body, 10)
        assert status == 400
        assert json.loads(answer)["error"]


async def test_a_large_body_gets_413_whether_it_tells_its_length_or_not(box: Sandbox):
    async with serving(box) as url:
        status, _ = await http.request(url, "POST", RUN_PATH, TOKEN, b" " * (BODY_BYTES + 1), 10)
        assert status == 413
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        head = f"POST {RUN_PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        writer.write(
            head.encode()
            + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (2 * BODY_BYTES)
            + b" " * 2 * BODY_BYTES
            + b"\r\n0\r\n\r\n"
        )
        assert b" 413 " in await asyncio.wait_for(reader.readline(), 10)
        writer.close()
        async with client(url) as far:
            with pytest.raises(TaskError, match="--max-body-mib"):
                await far.run(SyntaxTask("python", " " * BODY_BYTES))


async def test_too_many_at_once_get_429_and_the_client_comes_again(box: Sandbox, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cli.sandbox_service.WAITING_PER_WORKER", 1)
    body = json.dumps(remote.task_to_json(StdioTask("python", "import time; time.sleep(0.5)", [("", "")]))).encode()
    async with serving(box) as url:
        answers = [http.request(url, "POST", RUN_PATH, TOKEN, body, 20) for _ in range(4)]
        statuses = sorted([status for status, _ in await asyncio.gather(*answers)])
        assert statuses == [200, 429, 429, 429]
        async with client(url) as far:
            results = await asyncio.gather(*(far.run(TASKS[0]) for _ in range(4)))
        assert [result.outcome for result in results] == ["passed"] * 4


async def test_a_caller_that_hangs_up_ends_its_run(box: Sandbox):
    async with serving(box) as url, client(url) as far:
        sleeping = asyncio.create_task(far.run(StdioTask("python", "import time; time.sleep(50)", [("", "")])))
        await asyncio.sleep(0.3)  # nothing tells when the program has begun; the rule holds before that as well
        sleeping.cancel()
        started = time.monotonic()
        assert (await box.run(TASKS[0])).passed
        assert time.monotonic() - started < LIMITS.wall_s / 2


async def test_a_service_of_other_limits_or_walls_is_refused(box: Sandbox):
    async with serving(box) as url:
        with pytest.raises(SandboxUnavailable, match="cpu_s: 2 here and 1 there"):
            async with client(url, limits=replace(LIMITS, cpu_s=2.0)):
                pass
        other = "portable" if box.isolation == "namespaces" else "namespaces"
        with pytest.raises(SandboxUnavailable, match=f"wanted: {other}"):
            async with RemoteSandbox(url, lambda: TOKEN, LIMITS, other):
                pass


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"SSH-2.0\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-"]
)
async def test_a_broken_way_is_infra_error_and_never_a_verdict(
    box: Sandbox, answer: bytes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(remote, "_FIRST_WAIT_S", 0.01)
    asked = 0

    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with serving(box) as url, client(url) as far:
        async with await asyncio.start_server(break_off, "127.0.0.1", 0) as broken:
            far._url = f"http://127.0.0.1:{broken.sockets[0].getsockname()[1]}"
            result = await far.run(TASKS[0])
        assert (result.outcome, result.passed_share, asked) == ("infra_error", 0.0, 1 + remote.RETRIES)


async def test_nobody_at_the_address_is_sandbox_unavailable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(remote, "_FIRST_WAIT_S", 0.01)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    (tmp_path / "token").write_text(TOKEN + "\n")
    with pytest.raises(SandboxUnavailable, match="no connection"):
        async with configured(Section(url=url, token_file=str(tmp_path / "token"))):
            pass
    with pytest.raises(SandboxUnavailable, match="the environment variable RAYZERO_ABSENT has 0 characters"):
        async with configured(Section(url=url, token_env="RAYZERO_ABSENT")):
            pass


# ---- the command ----


@contextmanager
def command(*options: str, token: str = TOKEN) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAYZERO_SANDBOX_TOKEN": token, "PYTHONUNBUFFERED": "1"}
    arguments = [sys.executable, "-m", "cli.main", "sandbox", "serve", "--port", "0", *options]
    with subprocess.Popen(
        arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        try:
            yield process
        finally:
            process.kill()


async def test_sigterm_finishes_what_is_under_way_and_ends_with_0(tmp_path: Path):
    with command("--workers", "1") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), 60)
        url = line.split()[-1]
        assert url.startswith("http://127.0.0.1:")
        async with RemoteSandbox(url, lambda: TOKEN) as far:
            sleeping = StdioTask("python", "import time; time.sleep(2); print(1)", [("", "1")])
            running = asyncio.create_task(far.run(sleeping))
            await asyncio.sleep(0.7)  # for the request to be there; earlier it would be refused, and that is retried
            process.send_signal(signal.SIGTERM)
            assert (await running).passed
        assert await asyncio.to_thread(process.wait, 20) == 0
        said = line + process.stdout.read() + process.stderr.read()
    assert TOKEN not in said


@pytest.mark.parametrize("token", ["", "short", "with some spaces in it"])
async def test_without_a_fit_token_it_does_not_start(token: str):
    with command(token=token) as process:
        out, error = await asyncio.to_thread(process.communicate, None, 60)
    assert process.returncode == 2
    assert "RAYZERO_SANDBOX_TOKEN" in error
    assert out == ""
    assert not token or token not in error.replace("printable ones of ASCII without spaces", "")
