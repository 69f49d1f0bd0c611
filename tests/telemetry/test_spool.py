"""metrics.jsonl survives crashes, threads and odd numbers."""

import json
import math
import threading
from pathlib import Path

import numpy as np
import pytest

from telemetry.spool import SpoolWriter, count_lines, read_lines, read_metrics

pytestmark = pytest.mark.unit


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def test_what_is_written_is_read_back(path: Path) -> None:
    writer = SpoolWriter(path)
    writer.append(1, {"reward/mean": 0.5, "train/loss": float(np.float32(0.25))})
    writer.append(2, {"reward/mean": 0.75})
    writer.sync()
    lines = read_lines(path)
    assert [(line.step, line.metrics) for line in lines] == [
        (1, {"reward/mean": 0.5, "train/loss": 0.25}),
        (2, {"reward/mean": 0.75}),
    ]
    assert lines[-1].end == path.stat().st_size
    assert lines[0].time_s <= lines[1].time_s


def test_a_line_is_on_disk_when_append_returns(path: Path) -> None:
    SpoolWriter(path).append(1, {"a": 1.0})
    assert json.loads(path.read_text())["a"] == 1.0


def test_values_that_are_not_finite_leave_valid_json_and_read_as_nan(path: Path) -> None:
    SpoolWriter(path).append(1, {"a": math.nan, "b": math.inf, "c": 1.0})
    record = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert record["a"] is None
    metrics = read_lines(path)[0].metrics
    assert math.isnan(metrics["a"])
    assert math.isnan(metrics["b"])
    assert metrics["c"] == 1.0


def test_a_line_cut_by_a_crash_is_ignored_by_readers_and_dropped_by_the_next_writer(path: Path) -> None:
    SpoolWriter(path).append(1, {"a": 1.0})
    with path.open("ab") as file:
        file.write(b'{"step": 2, "ti')
    assert [line.step for line in read_lines(path)] == [1]
    SpoolWriter(path).append(3, {"a": 3.0})
    assert [line.step for line in read_lines(path)] == [1, 3]


def test_a_file_that_is_one_cut_line_starts_anew(path: Path) -> None:
    path.write_bytes(b'{"step"')
    SpoolWriter(path).append(1, {"a": 1.0})
    assert [line.step for line in read_lines(path)] == [1]


def test_reading_goes_on_where_it_ended_in_files_longer_than_one_read(path: Path) -> None:
    writer = SpoolWriter(path)
    for step in range(2000):
        writer.append(step, {f"metric/{i}": float(i) for i in range(5)})
    steps, offset = [], 0
    while lines := read_lines(path, offset):
        steps += [line.step for line in lines]
        assert count_lines(path, lines[-1].end) == 2000 - len(steps)
        offset = lines[-1].end
    assert steps == list(range(2000))


def test_a_line_longer_than_one_read_is_read_whole(path: Path) -> None:
    SpoolWriter(path).append(1, {f"metric/{i}": float(i) for i in range(10_000)})
    assert len(read_lines(path)[0].metrics) == 10_000


def test_lines_of_one_step_are_merged_and_the_later_value_stands(path: Path) -> None:
    writer = SpoolWriter(path)
    writer.append(2, {"train/loss": 3.0})
    writer.append(1, {"train/loss": 2.0})
    writer.append(2, {"eval/accuracy": 0.5})
    writer.append(2, {"train/loss": 1.0})
    rows = read_metrics(path)
    assert [row["step"] for row in rows] == [1, 2]
    assert rows[1]["train/loss"] == 1.0
    assert rows[1]["eval/accuracy"] == 0.5


def test_threads_do_not_tear_lines(path: Path) -> None:
    writer = SpoolWriter(path)

    def write(step: int) -> None:
        for _ in range(50):
            writer.append(step, {f"metric/{i}": 1.0 for i in range(50)})

    threads = [threading.Thread(target=write, args=(step,)) for step in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert count_lines(path) == 200
    assert all(len(row) == 52 for row in read_metrics(path))


def test_a_foreign_line_is_named(path: Path) -> None:
    path.write_text('{"step": 1, "time": 0}\nhello\n')
    with pytest.raises(ValueError, match="ends at byte 29 is not a line of metrics"):
        read_lines(path)


def test_a_missing_file_has_no_lines(path: Path) -> None:
    assert read_lines(path) == read_metrics(path) == []
    assert count_lines(path) == 0
