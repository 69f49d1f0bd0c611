"""What a run leaves in shared memory when it is killed is taken away by the next one."""

import os
from pathlib import Path

import pytest

from cli.session import own_shared_memory

pytestmark = pytest.mark.unit

NO_PROCESS = 2**22 + 1  # above the kernel's largest process id


def test_weights_of_killed_runs_of_the_same_name_go_and_all_others_stay(tmp_path: Path) -> None:
    dead = tmp_path / f"rayzero-demo-{NO_PROCESS}"
    alive = tmp_path / f"rayzero-demo-{os.getppid()}"
    other = tmp_path / f"rayzero-demo-two-{NO_PROCESS}"
    for folder in (dead, alive, other):
        folder.mkdir()
        (folder / "slot0.safetensors").touch()
    assert own_shared_memory("demo", tmp_path) == tmp_path / f"rayzero-demo-{os.getpid()}"
    assert sorted(tmp_path.iterdir()) == sorted([alive, other])
