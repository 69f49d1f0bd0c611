"""A model behind an OpenAI-compatible HTTP endpoint: where it is, who may ask it, how often and how long."""

from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt

from configs.strict import Section


def _check_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        parts.port  # noqa: B018 - raises when it is no number
    except ValueError as error:
        raise ValueError(f"not a URL ({error}); write it as https://host/v1") from error
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError("no user, password, query or fragment belongs here; a key goes into api_key_env or _file")
    if not host or parts.scheme not in ("http", "https"):
        raise ValueError("write it as https://host/v1, or http://127.0.0.1:8000/v1 on this machine")
    if parts.scheme == "http" and not _is_loopback(host):
        raise ValueError("plain http would show prompts and the key to the network; use https, or a loopback address")
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Endpoint(Section):
    """A model that is asked over HTTP by OpenAI's protocol, as vLLM and most providers serve it."""

    url: Annotated[str, AfterValidator(_check_url)]
    """Up to and with `/v1`: https anywhere, http only on a loopback address."""
    model: Annotated[str, Field(min_length=1)]
    """Name of the model there."""
    api_key_env: str | None = None
    """Environment variable that holds the key, where the request is made; the key itself never stands in a config."""
    api_key_file: str | None = None
    """File that holds the key and nothing else, instead of `api_key_env`."""
    attempt_timeout_s: PositiveFloat = 60.0
    """Deadline of one attempt, in seconds."""
    deadline_s: PositiveFloat = 120.0
    """Deadline of a request, in seconds, with its attempts, the waits between them and the wait for a place."""
    retries: NonNegativeInt = 4
    """Further attempts after a refused connection, a missed deadline, and the statuses 408, 429 and 5xx; the waits
    between them double."""
    max_concurrent: PositiveInt = 16
    """Requests that one process has open at the same time; the others wait for a place."""
    max_calls: PositiveInt | None = None
    """Most requests of a run, repeated ones included; shared out evenly among the processes that ask. None: no
    limit."""
    max_tokens: PositiveInt | None = None
    """Most tokens of a run, of prompts and answers, shared out as above. None: no limit."""


class TeacherEndpoint(Endpoint):
    """A teacher behind an endpoint, whose answers a student is trained on."""

    api: Literal["completions", "chat"] = "completions"
    """`completions`: the teacher goes on with the prompt's text. `chat`: the text is a user's message to it, for a
    teacher whose chat template is not the student's; the student's prompts are then plain text (`template: raw`)."""
