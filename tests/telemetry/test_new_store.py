"""A store that does not exist yet is made once, however many trackers come at the same time."""

import subprocess
import sys
from pathlib import Path

import pytest

from telemetry.mlflow_client import connect

pytestmark = pytest.mark.integration

OPEN = "import sys; from telemetry.mlflow_client import connect; connect(sys.argv[1]).create_run('0')"


def test_trackers_that_start_together_leave_a_store_that_opens(tmp_path: Path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    processes = [subprocess.Popen([sys.executable, "-c", OPEN, uri]) for _ in range(3)]
    assert [process.wait(timeout=240) for process in processes] == [0, 0, 0]
    assert len(connect(uri).search_runs(["0"])) == 3
