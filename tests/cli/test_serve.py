import json
from pathlib import Path
from typing import Any

import pytest

from actors.engine_plugin import OWNER_PID_VARIABLE
from cli.serve import Server, prepare_server

pytestmark = pytest.mark.unit


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 160}))
    return folder


def prepared(model: Path, **changes: Any) -> Server:
    settings: dict[str, Any] = {"port": 8123, "name": "judge", "max_model_len": None, "gpus": 0, "kv_cache_gib": 1.0}
    settings["key_file"] = model.parent / "key"
    return prepare_server(model, **(settings | changes))


def test_the_server_listens_on_loopback_alone_with_the_settings_of_a_cpu_engine(model: Path):
    server = prepared(model)
    flags = " ".join(server.command)
    assert "--host 127.0.0.1 --port 8123" in flags
    assert "--served-model-name judge --max-model-len 160" in flags
    assert "--no-enable-chunked-prefill" in flags
    assert "--block-size 32" in flags
    assert server.environment["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert int(server.environment[OWNER_PID_VARIABLE]) > 1
    assert server.url == "http://127.0.0.1:8123/v1"


def test_on_gpus_it_has_none_of_these(model: Path):
    server = prepared(model, gpus=2)
    assert "--tensor-parallel-size 2" in " ".join(server.command)
    assert "--block-size" not in server.command
    assert "VLLM_CPU_OMP_THREADS_BIND" not in server.environment


def test_the_key_is_random_in_a_private_file_and_not_on_the_command_line(model: Path):
    server, other = prepared(model), prepared(model, key_file=model.parent / "other")
    key = server.key_file.read_text().strip()
    assert len(key) >= 40
    assert server.environment["VLLM_API_KEY"] == key != other.environment["VLLM_API_KEY"]
    assert server.key_file.stat().st_mode & 0o777 == 0o600
    assert key not in " ".join(server.command)
    assert prepared(model).environment["VLLM_API_KEY"] == key  # the same file again


def test_a_key_that_others_can_read_is_refused(model: Path):
    (model.parent / "key").write_text("secret")
    (model.parent / "key").chmod(0o644)
    with pytest.raises(ValueError, match="chmod 600"):
        prepared(model)


def test_a_folder_without_a_model_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="is no model folder"):
        prepared(tmp_path / "nothing")
