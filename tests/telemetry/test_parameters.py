"""What of a config may leave the machine."""

import pytest

from telemetry.parameters import MAX_PARAMETER_LENGTH, REDACTED, flatten_config, redact_secrets

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "key", ["hf_token", "token", "api_key", "API_KEY", "password", "wandb-api-key", "client_secret", "Authorization"]
)
def test_secrets_never_show(key: str) -> None:
    config = {"rollout": {"engine_options": {key: "s3cret"}}, "list": [{key: ["s3cret"]}]}
    assert "s3cret" not in str(redact_secrets(config))
    assert "s3cret" not in str(flatten_config(config))


@pytest.mark.parametrize("key", ["max_completion_tokens", "tokens_per_microbatch", "tokenizer", "group_size"])
def test_keys_that_only_sound_like_secrets_show(key: str) -> None:
    assert redact_secrets({key: 64}) == {key: 64}


def test_logins_inside_uris_are_taken_out() -> None:
    config = {"mlflow_uri": "https://me:pass@host:5000/x", "path": "a@b"}
    assert redact_secrets(config) == {"mlflow_uri": f"https://{REDACTED}@host:5000/x", "path": "a@b"}


def test_an_unset_secret_shows_that_it_is_unset() -> None:
    assert redact_secrets({"token": None}) == {"token": None}


def test_sections_are_joined_by_dots_and_lists_of_sections_by_index() -> None:
    config = {"a": {"b": 1, "c": [1, 2]}, "stages": [{"steps": 3}], "empty": {}, "none": []}
    assert flatten_config(config) == {
        "a.b": "1",
        "a.c": "[1, 2]",
        "stages.0.steps": "3",
        "empty": "{}",
        "none": "[]",
    }


def test_long_values_end_at_the_limit() -> None:
    value = flatten_config({"prompt": "x" * 10_000})["prompt"]
    assert len(value) == MAX_PARAMETER_LENGTH
    assert value.endswith("…")
