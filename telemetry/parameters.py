"""A config as it may be shown: without secrets, nested for reading or flat as MLflow parameters."""

import re
from collections.abc import Mapping
from typing import Any

from telemetry.metrics import legal_name

REDACTED = "[redacted]"
MAX_PARAMETER_LENGTH = 6000  # of MLflow

# The last word of a key decides, so that max_completion_tokens is shown and hf_token is not.
_SECRET_KEY = re.compile(
    r"(^|[_.-])(password|passwd|passphrase|secret|secrets|token|credential|credentials|authorization|apikey"
    r"|(api|access|private|secret|signing)[_-]?key)$",
    re.IGNORECASE,
)
_URI_LOGIN = re.compile(r"(?<=://)[^/\s@]+@")


def redact_secrets(value: Any, key: str = "") -> Any:
    """A copy with the values of secret keys, and logins inside URIs, replaced by `[redacted]`.

    Empty values stay, so that a reader sees whether a secret was set.
    """
    if key and _SECRET_KEY.search(key) and value not in (None, "", False):
        return REDACTED
    if isinstance(value, Mapping):
        return {str(k): redact_secrets(v, str(k)) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [redact_secrets(v, key) for v in value]
    return _URI_LOGIN.sub(f"{REDACTED}@", value) if isinstance(value, str) else value


def flatten_config(config: Mapping[str, Any]) -> dict[str, str]:
    """`{"rollout": {"workers": 1}}` as `{"rollout.workers": "1"}`, redacted; lists of sections by index.

    Values longer than MLflow's limit end in an ellipsis. An empty section is `{}`, an empty list `[]`.
    """
    flat: dict[str, str] = {}
    _flatten(redact_secrets(config), "", flat)
    return flat


def _flatten(value: Any, path: str, flat: dict[str, str]) -> None:
    if isinstance(value, Mapping) and value:
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        items = [(str(index), item) for index, item in enumerate(value)]
    else:
        text = str(value)
        shortened = text if len(text) <= MAX_PARAMETER_LENGTH else text[: MAX_PARAMETER_LENGTH - 1] + "…"
        flat[legal_name(path)] = shortened
        return
    for name, item in items:
        _flatten(item, f"{path}.{name}" if path else name, flat)
