"""An OpenAI-compatible server in the test's own event loop: answers by a function, remembers what it was asked."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from aiohttp import web

Answer = Callable[[dict[str, Any]], "web.Response | str | list[str]"]


class FakeEndpoint:
    """`answer`: from the request's body to a text (for all n choices), texts, or a whole response."""

    def __init__(self, answer: Answer, answer_after_s: float) -> None:
        self.answer, self.answer_after_s = answer, answer_after_s
        self.open = self.most_open = 0
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        await asyncio.sleep(self.answer_after_s)
        self.open -= 1
        answer = self.answer(body)
        if isinstance(answer, web.Response):
            return answer
        texts = [answer] * body["n"] if isinstance(answer, str) else answer
        return web.json_response(protocol_answer(texts, chat=request.path.endswith("/chat/completions")))


def protocol_answer(texts: list[str], *, chat: bool, finish_reason: str = "stop", tokens: int = 100) -> dict[str, Any]:
    """What OpenAI's protocol answers."""
    choices = [
        {"index": i, "finish_reason": finish_reason}
        | ({"message": {"role": "assistant", "content": text}} if chat else {"text": text})
        for i, text in enumerate(texts)
    ]
    return {"choices": choices, "usage": {"total_tokens": tokens}}


@contextlib.asynccontextmanager
async def serving(answer: Answer, *, answer_after_s: float = 0.0) -> AsyncIterator[FakeEndpoint]:
    """Serve on a free port while the block runs."""
    fake = FakeEndpoint(answer, answer_after_s)
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_post("/v1/chat/completions", fake.handle)
    app.router.add_post("/v1/completions", fake.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert runner.addresses
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield fake
    finally:
        await runner.cleanup()
