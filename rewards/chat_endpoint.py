"""A client of an OpenAI-compatible endpoint that ends every request in an answer or an InfrastructureError.

Contract: bounded in time (deadline), in size (answers of up to 8 MiB), in number (places, budget) and in attempts.
The key goes into one header and nowhere else: no redirect is followed, and no error shows it. `start` before use and
`close` after, in the event loop of the calls.
"""

import asyncio
import json
import os
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import aiohttp

from configs.endpoint import Endpoint
from rewards.sample import InfrastructureError

MAX_ANSWER_BYTES = 8 * 2**20
MAX_WAIT_S = 30.0
_FIRST_WAIT_S = 0.5
_RETRIED = {408, 425, 429, 500, 502, 503, 504, 529}
_SHOWN_CHARACTERS = 300
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")

Message = Mapping[str, str]  # {"role": ..., "content": ...}


class BudgetSpent(InfrastructureError):
    """The run's calls or tokens are used up; nothing is asked any more."""


class _Retryable(Exception):
    """An attempt failed in a way that another may not."""

    def __init__(self, cause: str, wait_s: float = 0.0) -> None:
        super().__init__(cause)
        self.wait_s = wait_s  # that the server asks for


@dataclass(frozen=True, slots=True)
class Reply:
    """One text that the model wrote."""

    text: str
    finish_reason: str  # "stop", "length", or whatever else the server says


class ChatEndpoint:
    """`share`: the part of the budget that is this process's, such as 1/4 when four processes ask."""

    def __init__(self, config: Endpoint, *, share: float = 1.0) -> None:
        self._config = config
        self._calls_left = None if config.max_calls is None else max(1, int(config.max_calls * share))
        self._tokens_left = None if config.max_tokens is None else max(1, int(config.max_tokens * share))
        self._places = asyncio.Semaphore(config.max_concurrent)
        self._key = ""
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Read the key. Raises InfrastructureError when it is not where the config says."""
        self._key = _read_key(self._config)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._config.max_concurrent),
            auto_decompress=False,  # so that the limit on an answer's bytes is one on its text
            headers={"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {self._key}"} if self._key else {}),
        )

    async def close(self) -> None:
        """End open requests and connections."""
        if self._session is not None:
            await self._session.close()

    async def chat(
        self, messages: Sequence[Message], *, n: int, temperature: float, max_tokens: int, seed: int
    ) -> list[Reply]:
        """[n] answers to a conversation. Raises InfrastructureError."""
        body = {"messages": [dict(message) for message in messages]}
        return await self._ask("chat/completions", body, n, temperature, max_tokens, seed)

    async def complete(self, prompt: str, *, n: int, temperature: float, max_tokens: int, seed: int) -> list[Reply]:
        """[n] continuations of a text. Raises InfrastructureError."""
        return await self._ask("completions", {"prompt": prompt}, n, temperature, max_tokens, seed)

    async def _ask(
        self, path: str, body: dict[str, Any], n: int, temperature: float, max_tokens: int, seed: int
    ) -> list[Reply]:
        body |= {
            "model": self._config.model,
            "n": n,
            "temperature": temperature,
            "max_tokens": max_tokens,
            "seed": seed,
        }
        payload = json.dumps(body).encode()
        cause = "it had no place for the request"
        try:
            async with asyncio.timeout(self._config.deadline_s), self._places:
                for attempt in range(1 + self._config.retries):
                    try:
                        return self._parse(await self._attempt(path, payload), n, len(payload), max_tokens)
                    except _Retryable as error:
                        cause = str(error)
                        if attempt == self._config.retries:
                            break
                        wait_s = max(error.wait_s, _FIRST_WAIT_S * 2**attempt * random.uniform(0.5, 1.5))
                        await asyncio.sleep(min(wait_s, MAX_WAIT_S))
        except TimeoutError:
            cause = f"no answer within deadline_s={self._config.deadline_s:g}; before that: {cause}"
        raise InfrastructureError(f"{self._config.url}: {cause}")

    async def _attempt(self, path: str, payload: bytes) -> bytes:
        if self._session is None:
            raise InfrastructureError("the endpoint's client was not started")
        self._spend_call()
        timeout = aiohttp.ClientTimeout(total=self._config.attempt_timeout_s)
        try:
            async with self._session.post(
                f"{self._config.url}/{path}",
                data=payload,
                headers={"Content-Type": "application/json"},
                allow_redirects=False,
                timeout=timeout,
            ) as response:
                raw = await _read(response)
                if response.status == 200:
                    return raw
                cause = f"status {response.status}: {self._shown(raw)}"
                if response.status in _RETRIED:
                    raise _Retryable(cause, _retry_after(response))
                raise InfrastructureError(f"{self._config.url}: {cause}")
        except TimeoutError as error:
            raise _Retryable(f"no answer within attempt_timeout_s={self._config.attempt_timeout_s:g}") from error
        except aiohttp.ClientError as error:
            raise _Retryable(self._hide(f"{type(error).__name__}: {error}")) from error

    def _parse(self, raw: bytes, n: int, payload_bytes: int, max_tokens: int) -> list[Reply]:
        """The texts of an answer. One that is not by the protocol is tried again: a proxy may have spoken."""
        try:
            answer: object = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise _Retryable(f"the answer is no JSON: {self._shown(raw)}") from error
        usage = _field(answer, "usage")
        tokens = _field(usage, "total_tokens")
        if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 0:
            tokens = payload_bytes + n * max_tokens  # no count: the most that it can have been
        self._spend_tokens(tokens)
        replies = [_reply(choice) for choice in _choices(answer)]
        texts = [reply for reply in replies if reply is not None]
        if len(texts) != len(replies) or len(texts) != n:
            raise _Retryable(f"the answer has not {n} texts: {self._shown(raw)}")
        return texts

    def _spend_call(self) -> None:
        if self._tokens_left is not None and self._tokens_left <= 0:
            raise self._spent("max_tokens", self._config.max_tokens)
        if self._calls_left is not None:
            if self._calls_left <= 0:
                raise self._spent("max_calls", self._config.max_calls)
            self._calls_left -= 1

    def _spend_tokens(self, tokens: int) -> None:
        if self._tokens_left is not None:
            self._tokens_left -= tokens

    def _spent(self, name: str, limit: int | None) -> BudgetSpent:
        return BudgetSpent(
            f"{self._config.url}: the budget {name} = {limit} of the run is spent (this process's share of it); raise "
            f"{name}, or train for fewer steps"
        )

    def _shown(self, raw: bytes) -> str:
        text = _CONTROL.sub(" ", raw[: 4 * _SHOWN_CHARACTERS].decode(errors="replace"))
        return self._hide(text)[:_SHOWN_CHARACTERS]

    def _hide(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text


def _read_key(config: Endpoint) -> str:
    if config.api_key_file is not None:
        try:
            key = Path(config.api_key_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InfrastructureError(f"api_key_file = {config.api_key_file}: cannot be read ({error})") from error
        where = f"api_key_file = {config.api_key_file}"
    elif config.api_key_env is not None:
        key = os.environ.get(config.api_key_env, "").strip()
        where = f"api_key_env = {config.api_key_env}"
    else:
        return ""
    if not key:
        raise InfrastructureError(f"{where}: there is no key in it, in the process that asks; set it on that node")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InfrastructureError(f"{where}: a key is one line of ASCII characters without spaces; this is not")
    return key


async def _read(response: aiohttp.ClientResponse) -> bytes:
    raw = bytearray()
    async for chunk in response.content.iter_chunked(65536):
        raw += chunk
        if len(raw) > MAX_ANSWER_BYTES:
            response.close()
            raise InfrastructureError(f"{response.url}: the answer has more than {MAX_ANSWER_BYTES} bytes")
    return bytes(raw)


def _retry_after(response: aiohttp.ClientResponse) -> float:
    """Seconds that the server asks to wait; 0 when it does not say so in digits."""
    asked = response.headers.get("Retry-After", "")
    return float(asked) if asked.isascii() and asked.isdigit() and len(asked) < 6 else 0.0


def _choices(answer: object) -> list[Any]:
    choices = _field(answer, "choices")
    return cast("list[Any]", choices) if isinstance(choices, list) else []


def _field(value: object, name: str) -> object:
    """A field of a JSON object; None when it is no object or has none."""
    return cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None


def _reply(choice: object) -> Reply | None:
    """The text of a choice of either protocol; None for what is none. A message without content is an empty text."""
    message = _field(choice, "message")
    content = _field(message, "content")
    text = _field(choice, "text") if message is None else "" if content is None else content
    return Reply(text, str(_field(choice, "finish_reason"))) if isinstance(text, str) else None
