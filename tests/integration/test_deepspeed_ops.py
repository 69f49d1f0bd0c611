"""DeepSpeed's compiled operator is loaded whatever a killed process left behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

DEADLINE_S = 300  # long enough to compile it, should `make setup` not have done so


def test_the_guard_of_a_killed_process_blocks_nobody() -> None:
    guard = Path(sys.prefix) / "torch_extensions" / "deepspeed_shm_comm" / "lock"
    guard.parent.mkdir(parents=True, exist_ok=True)
    guard.touch()  # what a rank leaves that is killed while it loads the operator
    environment = {key: value for key, value in os.environ.items() if key != "TORCH_EXTENSIONS_DIR"}
    subprocess.run(
        [sys.executable, "-m", "actors.deepspeed_ops"],
        env=environment | {"DS_ACCELERATOR": "cpu"},
        check=True,
        timeout=DEADLINE_S,
    )
    assert not guard.exists()
