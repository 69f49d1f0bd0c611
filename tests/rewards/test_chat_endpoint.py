import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from configs.endpoint import Endpoint
from rewards import chat_endpoint
from rewards.chat_endpoint import BudgetSpent, ChatEndpoint, Reply
from rewards.sample import InfrastructureError
from tests.rewards.fake_endpoint import Answer, protocol_answer, serving

pytestmark = pytest.mark.unit
KEY = "sk-not-for-logs"


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_endpoint, "_FIRST_WAIT_S", 0.001)


async def ask(answer: Answer, *, n: int = 1, **options: Any) -> list[Reply]:
    async with serving(answer) as fake:
        endpoint = ChatEndpoint(Endpoint(url=fake.url, model="m", **options))
        await endpoint.start()
        try:
            return await endpoint.complete("1+1:", n=n, temperature=0.5, max_tokens=7, seed=3)
        finally:
            await endpoint.close()


async def test_both_protocols_are_asked_as_they_are_written_down():
    async with serving(lambda body: [f"{i}" for i in range(body["n"])]) as fake:
        endpoint = ChatEndpoint(Endpoint(url=fake.url + "/", model="m"))
        await endpoint.start()
        continued = await endpoint.complete("1+1:", n=3, temperature=0.5, max_tokens=7, seed=3)
        said = await endpoint.chat([{"role": "user", "content": "?"}], n=2, temperature=0, max_tokens=7, seed=3)
        await endpoint.close()
    assert continued == [Reply("0", "stop"), Reply("1", "stop"), Reply("2", "stop")]
    assert [reply.text for reply in said] == ["0", "1"]
    assert fake.bodies[0] == {"prompt": "1+1:", "model": "m", "n": 3, "temperature": 0.5, "max_tokens": 7, "seed": 3}
    assert fake.bodies[1]["messages"] == [{"role": "user", "content": "?"}]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_statuses_that_may_pass_are_tried_again(status: int):
    attempts = iter([web.Response(status=status), web.Response(status=status), "2"])
    assert await ask(lambda body: next(attempts)) == [Reply("2", "stop")]


@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 422])
async def test_statuses_that_will_not_pass_end_the_request_and_no_redirect_is_followed(status: int):
    asked: list[int] = []

    def answer(body: dict[str, Any]) -> web.Response:
        asked.append(1)
        return web.Response(status=status, text="no such model", headers={"Location": "http://127.0.0.1:1/v1"})

    with pytest.raises(InfrastructureError, match=f"status {status}: no such model"):
        await ask(answer)
    assert len(asked) == 1


async def test_a_server_that_is_not_there_is_an_infrastructure_error():
    endpoint = ChatEndpoint(Endpoint(url="http://127.0.0.1:1/v1", model="m", retries=2))
    await endpoint.start()
    with pytest.raises(InfrastructureError, match="ClientConnectorError"):
        await endpoint.complete("", n=1, temperature=0, max_tokens=1, seed=0)
    await endpoint.close()


async def test_the_deadline_holds_over_all_attempts_and_waits():
    def answer(body: dict[str, Any]) -> web.Response:
        return web.Response(status=503, headers={"Retry-After": "9999"})

    started = time.monotonic()
    with pytest.raises(InfrastructureError, match=r"deadline_s=0.3; before that: status 503"):
        await ask(answer, deadline_s=0.3)
    assert time.monotonic() - started < 5


async def test_an_attempt_without_an_answer_is_given_up():
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}/v1"
    endpoint = ChatEndpoint(Endpoint(url=url, model="m", attempt_timeout_s=0.1, retries=1))
    await endpoint.start()
    with pytest.raises(InfrastructureError, match=r"no answer within attempt_timeout_s=0.1"):
        await endpoint.complete("", n=1, temperature=0, max_tokens=1, seed=0)
    await endpoint.close()
    silent.close()


HUGE = "9" * 5000
BAD_ANSWERS = [
    "",
    "<html>captive portal</html>",
    "null",
    "[]",
    "{}",
    '{"choices": null}',
    '{"choices": []}',
    '{"choices": {"0": {"text": "2"}}}',
    '{"choices": [{"text": 2}]}',
    '{"choices": [{"message": {"content": ["2"]}}]}',
    '{"choices": [{"text": "2"}, {"text": "3"}]}',
    "[" * 100_000,
    f'{{"choices": [{{"text": {HUGE}}}]}}',
    "\x00\x1b[2J",
]


@pytest.mark.parametrize("raw", BAD_ANSWERS)
async def test_an_answer_that_is_not_by_the_protocol_is_an_infrastructure_error(raw: str):
    with pytest.raises(InfrastructureError) as caught:
        await ask(lambda body: web.Response(text=raw), retries=1)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


async def test_an_answer_beyond_the_size_limit_is_cut_off(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(chat_endpoint, "MAX_ANSWER_BYTES", 1000)
    with pytest.raises(InfrastructureError, match="more than 1000 bytes"):
        await ask(lambda body: "x" * 100_000)


@pytest.mark.parametrize("usage", [None, {}, {"total_tokens": -5}, {"total_tokens": "many"}, {"total_tokens": True}])
async def test_without_a_count_of_tokens_the_most_that_it_can_be_is_spent(usage: object):
    raw = json.dumps(protocol_answer(["2"], chat=False) | {"usage": usage})
    async with serving(lambda body: web.Response(text=raw)) as fake:
        endpoint = ChatEndpoint(Endpoint(url=fake.url, model="m", max_tokens=50))
        await endpoint.start()
        await endpoint.complete("", n=1, temperature=0, max_tokens=1, seed=0)
        with pytest.raises(BudgetSpent, match="max_tokens = 50"):
            await endpoint.complete("", n=1, temperature=0, max_tokens=1, seed=0)
        await endpoint.close()


async def test_the_budget_of_calls_counts_attempts_and_is_shared():
    async with serving(lambda body: web.Response(status=503)) as fake:
        endpoint = ChatEndpoint(Endpoint(url=fake.url, model="m", max_calls=8, retries=9), share=0.5)
        await endpoint.start()
        with pytest.raises(BudgetSpent, match="max_calls = 8 of the run is spent"):
            await endpoint.complete("", n=1, temperature=0, max_tokens=1, seed=0)
        assert len(fake.bodies) == 4
        await endpoint.close()


async def test_no_more_requests_are_open_than_allowed():
    async with serving(lambda body: "2", answer_after_s=0.02) as fake:
        endpoint = ChatEndpoint(Endpoint(url=fake.url, model="m", max_concurrent=3))
        await endpoint.start()
        await asyncio.gather(*(endpoint.complete("", n=1, temperature=0, max_tokens=1, seed=i) for i in range(12)))
        await endpoint.close()
        assert fake.most_open == 3


@pytest.mark.parametrize("place", ["env", "file"])
async def test_the_key_is_in_one_header_and_in_no_error(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "key").write_text(KEY + "\n")
    monkeypatch.setenv("JUDGE_KEY", KEY)
    option = {"api_key_env": "JUDGE_KEY"} if place == "env" else {"api_key_file": str(tmp_path / "key")}
    async with serving(lambda body: web.Response(status=401, text=f"the key {KEY} is unknown")) as fake:
        endpoint = ChatEndpoint(Endpoint.model_validate({"url": fake.url, "model": "m"} | option))
        await endpoint.start()
        with pytest.raises(InfrastructureError) as caught:
            await endpoint.complete("", n=1, temperature=0, max_tokens=1, seed=0)
        await endpoint.close()
    assert fake.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert KEY not in str(caught.value)
    assert "the key [key] is unknown" in str(caught.value)
    assert KEY not in json.dumps(fake.bodies)


@pytest.mark.parametrize("content", [None, "", "two words", "a\nb", "schlüssel"])
async def test_a_key_that_is_missing_or_none_keeps_the_client_from_starting(content: str | None, tmp_path: Path):
    if content is not None:
        (tmp_path / "key").write_text(content)
    endpoint = ChatEndpoint(Endpoint(url="http://localhost:1/v1", model="m", api_key_file=str(tmp_path / "key")))
    with pytest.raises(InfrastructureError, match="api_key_file") as caught:
        await endpoint.start()
    assert not content or content not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/v1",
        "http://10.0.0.3:8000/v1",
        "ftp://127.0.0.1/v1",
        "file:///etc/passwd",
        "https://user:secret@example.com/v1",
        "https://example.com/v1?key=secret",
        "http://127.0.0.1.example.com/v1",
        "http://127.0.0.1@example.com/v1",
        "http://localhost:port/v1",
        "https:///v1",
        "",
    ],
)
def test_urls_that_would_leak_or_lead_nowhere_are_refused(url: str):
    with pytest.raises(ValueError, match="url"):
        Endpoint(url=url, model="m")


@pytest.mark.parametrize(
    "url", ["https://example.com/v1", "http://127.0.0.1:8000/v1", "http://[::1]:8000/v1", "http://localhost/v1/"]
)
def test_https_anywhere_and_http_on_loopback_are_taken(url: str):
    assert Endpoint(url=url, model="m").url == url.rstrip("/")
