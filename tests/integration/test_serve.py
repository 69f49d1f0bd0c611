"""`rayzero serve` with a real engine: a teacher for the endpoint fleet, closed to who has no key, gone when told."""

import asyncio
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest

from actors.endpoint_fleet import EndpointFleet
from configs.endpoint import TeacherEndpoint
from data.records import Group, GroupRequest, Prompt, Sampling
from data.vocabulary import build_tokenizer

pytestmark = pytest.mark.integration
START_S = 240.0
TOKENIZER = build_tokenizer("characters")


@dataclass(frozen=True)
class Served:
    url: str
    key_file: Path
    process: psutil.Popen


@pytest.fixture(scope="module")
def served(policy_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("serve")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "cli.main", "serve", str(policy_folders["tied"]), "--port", str(port)]
    command += ["--name", "teacher", "--key-file", str(folder / "key"), "--kv-cache-gib", "0.25"]
    with open(folder / "printed", "w") as printed:
        process = psutil.Popen(command, stdout=printed, stderr=subprocess.STDOUT, env=dict(os.environ))
    try:
        yield Served(f"http://127.0.0.1:{port}/v1", folder / "key", process)
    finally:
        for one in [*process.children(recursive=True), process] if process.is_running() else []:
            one.kill()
        process.wait(30)
        print((folder / "printed").read_text()[-4000:])


def request(limit: int) -> GroupRequest:
    text = "676+236:"
    prompt = Prompt("addition", np.array(TOKENIZER.encode(text), dtype=np.int32), text, {"answer": "912"})
    return GroupRequest(7, prompt, 3, Sampling(1.0, limit), seed=5)


async def ask(served: Served, limit: int) -> Group:
    """The client's own retries bridge the engine's start."""
    waits = {"retries": 100, "attempt_timeout_s": 60.0, "deadline_s": START_S}
    key = {"api_key_file": str(served.key_file)}
    fleet = EndpointFleet(
        TeacherEndpoint.model_validate({"url": served.url, "model": "teacher"} | waits | key), TOKENIZER
    )
    while not served.key_file.exists():
        assert served.process.poll() is None, "the server ended before it made its key"
        await asyncio.sleep(0.1)
    await fleet.start()
    try:
        asked = asyncio.ensure_future(fleet.generate(request(limit)))
        while not asked.done():
            await asyncio.wait([asked], timeout=0.5)
            assert served.process.poll() is None, "the server ended before it answered"
        return await asked
    finally:
        await fleet.close()


def test_the_endpoint_fleet_gets_its_groups_from_a_served_policy(served: Served) -> None:
    group = asyncio.run(asyncio.wait_for(ask(served, 12), START_S + 60))
    assert len(group.completions) == 3
    assert all(0 < len(completion.token_ids) <= 12 for completion in group.completions)
    assert len({completion.text for completion in group.completions}) > 1, "random weights at temperature 1"
    assert np.isnan(group.completions[0].logprobs).all()


def test_who_has_no_key_gets_nothing(served: Served) -> None:
    body = b'{"model": "teacher", "prompt": "1+1:", "max_tokens": 2}'
    for headers in ({}, {"Authorization": "Bearer guessed"}):
        asked = urllib.request.Request(
            f"{served.url}/completions", data=body, headers={"Content-Type": "application/json"} | headers
        )
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(asked, timeout=30)


def test_a_server_that_is_told_to_end_leaves_no_engine(served: Served) -> None:
    engines = served.process.children(recursive=True)
    assert engines
    served.process.terminate()
    served.process.wait(60)
    _, left = psutil.wait_procs(engines, timeout=30)
    assert left == []
