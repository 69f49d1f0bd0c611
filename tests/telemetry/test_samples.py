"""The table of samples stays small and shows the whole run."""

import json
from pathlib import Path

import pytest

from telemetry.samples import MAX_ROWS, SampleTable

pytestmark = pytest.mark.unit


def steps_of(table: SampleTable) -> list[int]:
    table.save()
    content = json.loads(table.path.read_text())
    return sorted({row[content["columns"].index("step")] for row in content["data"]})


def test_rows_have_the_form_of_an_mlflow_table(tmp_path: Path) -> None:
    table = SampleTable(tmp_path / "samples.json")
    table.add(2, [{"prompt": "1+1:", "score": None, "odd": {1: 2}}])
    table.add(1, [{"prompt": "2+2:", "score": 1.0}])
    table.save()
    assert json.loads(table.path.read_text()) == {
        "columns": ["step", "prompt", "score", "odd"],
        "data": [[1, "2+2:", 1.0, None], [2, "1+1:", None, "{1: 2}"]],
    }


def test_a_long_run_is_thinned_but_keeps_its_ends(tmp_path: Path) -> None:
    table = SampleTable(tmp_path / "samples.json")
    for step in range(1000):
        table.add(step, [{"completion": str(step)}] * 8)
    steps = steps_of(table)
    assert len(steps) * 8 <= MAX_ROWS
    assert len(steps) > MAX_ROWS // 8 // 3
    assert steps[0] == 0
    assert steps[-1] == 999


def test_a_resumed_run_goes_on_with_its_table(tmp_path: Path) -> None:
    first = SampleTable(tmp_path / "samples.json")
    first.add(1, [{"completion": "a"}])
    first.add(2, [{"completion": "lost"}])
    first.save()
    second = SampleTable(tmp_path / "samples.json")
    second.add(2, [{"completion": "b"}])
    second.save()
    assert json.loads(second.path.read_text())["data"] == [[1, "a"], [2, "b"]]


def test_a_foreign_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "samples.json").write_text("[]")
    with pytest.raises(ValueError, match=r"samples\.json is not a table of samples"):
        SampleTable(tmp_path / "samples.json")
