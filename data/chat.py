"""The one place where text becomes token ids: prompts for the engines, and responses for supervised training.

Contract: a prompt ends where the response begins and the two are encoded apart, so that supervised training sees the
same boundary as sampling. What an engine sampled is never encoded: its ids are used as they are.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, cast

import numpy as np
from jinja2 import TemplateError

from data.errors import DataError
from data.records import Int32Array

Template = Literal["chat", "raw"]
Problem = str | Sequence[Mapping[str, Any]]


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that this room uses."""

    @property
    def chat_template(self) -> Any: ...

    def __call__(self, text: str, *, add_special_tokens: bool) -> Any: ...

    def __len__(self) -> int: ...

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any: ...


def check_problem(problem: object, where: str) -> Problem:
    """Return `problem` if it is a string or a list of messages {role, content}; else raise DataError with `where`."""
    if isinstance(problem, str):
        if problem.strip():
            return problem
        raise DataError(f"{where} is an empty string; a problem needs text. Remove the row or fill it in.")
    if isinstance(problem, list) and problem:
        messages = cast("list[object]", problem)
        if all(_is_message(message) for message in messages):
            return cast("list[Mapping[str, Any]]", problem)
    shown = repr(cast("object", problem))
    raise DataError(
        f"{where} is {shown[:80]}{'…' if len(shown) > 80 else ''}; a problem is a string or a list of messages such as "
        '{"role": "user", "content": "…"} with text in both. Name another column or convert this one.'
    )


def prompt_text(tokenizer: Tokenizer, problem: Problem, *, system_prompt: str | None, template: Template) -> str:
    """The prompt as text, before it is encoded.

    `raw` is the problem as it is; `chat` puts it through the tokenizer's chat template, up to where the answer begins.
    Raises DataError when the tokenizer has no chat template, the template refuses the messages, or `raw` is asked for
    what only a template can give (messages, a system prompt).
    """
    if template == "raw":
        if system_prompt is not None or not isinstance(problem, str):
            given = "a system prompt" if system_prompt is not None else "a list of messages"
            raise DataError(f"`template: raw` takes a problem as plain text, not {given}; use `template: chat`.")
        return problem
    if not tokenizer.chat_template:
        raise DataError(
            "`template: chat` needs a tokenizer with a chat template, and this one has none; use `template: raw`, or a "
            "policy folder whose tokenizer_config.json or chat_template.jinja holds one."
        )
    messages: list[Mapping[str, Any]] = [{"role": "user", "content": problem}]
    if not isinstance(problem, str):
        messages = list(problem)
    if system_prompt is not None:
        if messages[0]["role"] == "system":
            raise DataError(
                "the problem's messages begin with a system message and `system_prompt` is set as well; unset it, or "
                "take the system message out of the rows."
            )
        messages.insert(0, {"role": "system", "content": system_prompt})
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    except TemplateError as error:
        roles = [message["role"] for message in messages]
        raise DataError(
            f"the tokenizer's chat template refuses messages with the roles {roles}: {error}. Change the rows or the "
            "system prompt to what the template accepts."
        ) from error


def encode_prompt(tokenizer: Tokenizer, text: str, *, template: Template) -> Int32Array:
    """[P] token ids of a prompt's text. A chat template writes its own special tokens; raw text gets the usual ones."""
    return _encode(tokenizer, text, add_special_tokens=template == "raw")


def render_prompt(
    tokenizer: Tokenizer, problem: Problem, *, system_prompt: str | None, template: Template
) -> tuple[Int32Array, str]:
    """[P] token ids of a prompt, as the engine gets them, and its text, for rewards and people. Raises DataError."""
    text = prompt_text(tokenizer, problem, system_prompt=system_prompt, template=template)
    return encode_prompt(tokenizer, text, template=template), text


def render_response(tokenizer: Tokenizer, text: str) -> Int32Array:
    """[T] token ids of a response, with eos as the last. Raises DataError when the tokenizer has no eos."""
    eos: int | None = getattr(tokenizer, "eos_token_id", None)  # transformers makes the attribute on demand
    if eos is None:
        raise DataError("the tokenizer names no eos token, so a response could not end; set `eos_token` in its config.")
    ids = _encode(tokenizer, text, add_special_tokens=False)
    return np.append(ids, np.int32(eos)).astype(np.int32)


def encode_response_part(tokenizer: Tokenizer, text: str) -> Int32Array:
    """[T] token ids of a text that stands inside a response: without special tokens around it. Raises DataError."""
    return _encode(tokenizer, text, add_special_tokens=False)


def _encode(tokenizer: Tokenizer, text: str, *, add_special_tokens: bool) -> Int32Array:
    try:
        return np.array(tokenizer(text, add_special_tokens=add_special_tokens)["input_ids"], dtype=np.int32)
    except Exception as error:
        if type(error) is not Exception:  # the tokenizers library raises the bare class for unknown symbols
            raise
        raise DataError(
            f"the text {text[:80]!r} has a symbol that the policy's vocabulary does not: {error}. Use prompts and "
            "traces made for this vocabulary, or a policy folder with a full tokenizer."
        ) from error


def _is_message(message: object) -> bool:
    if not isinstance(message, Mapping):
        return False
    fields = cast("Mapping[str, object]", message)
    return isinstance(fields.get("role"), str) and isinstance(fields.get("content"), str)
