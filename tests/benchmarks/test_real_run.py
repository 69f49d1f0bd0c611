"""The records of a run are read whole."""

import json
from pathlib import Path

import pytest

from benchmarks.real_run import read_all

pytestmark = pytest.mark.unit


def test_a_long_metrics_file_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps({"step": i, "time": 1.0 * i, "a/b": 0.5}) + "\n" for i in range(5000)))
    assert [line.step for line in read_all(path)] == list(range(5000))
