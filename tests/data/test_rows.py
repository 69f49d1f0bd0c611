"""Files are read alike from Parquet and JSONL; each mistake names the file, the place and the remedy."""

import datetime
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.errors import DataError
from data.rows import ShuffledOrder, cursor, read_cursor, read_rows

pytestmark = pytest.mark.unit

ROWS = [{"id": 1, "prompt": "a", "answer": "x"}, {"id": 2, "prompt": "b", "answer": "y"}]


def write(path: Path, rows: list[Any]) -> str:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl"])
def test_both_formats_give_the_wanted_columns(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, [{**row, "more": 0} for row in ROWS])
    assert read_rows(path, ("prompt", "answer"), ("id",)) == ROWS
    assert read_rows(path, ("prompt",), ("nothing",)) == [{"prompt": "a"}, {"prompt": "b"}]


@pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl"])
def test_a_missing_column_is_named_with_those_present(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, ROWS)
    with pytest.raises(DataError, match=r"no column 'gold'.*answer, id, prompt.*reference_columns") as caught:
        read_rows(path, ("prompt", "gold"))
    assert path in str(caught.value)


def test_a_column_missing_late_in_a_file_is_named_with_its_row(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [*ROWS * 50, {"prompt": "c"}])
    with pytest.raises(DataError, match="no column 'answer' in row 100"):
        read_rows(path, ("prompt", "answer"))


@pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl"])
def test_null_cells_are_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, [*ROWS, {"id": 3, "prompt": None, "answer": "z"}])
    with pytest.raises(DataError, match="row 2: column 'prompt' is null"):
        read_rows(path, ("prompt",))


def test_empty_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no rows"):
        read_rows(write(tmp_path / "rows.jsonl", []), ("prompt",))
    pq.write_table(pa.table({"prompt": pa.array([], pa.string())}), tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="has no rows"):
        read_rows(str(tmp_path / "rows.parquet"), ("prompt",))


def test_files_that_are_missing_unknown_or_broken_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_rows(str(tmp_path / "no.jsonl"), ("prompt",))
    (tmp_path / "rows.csv").write_text("prompt\na\n")
    with pytest.raises(DataError, match=r"'\.csv' is not known; convert"):
        read_rows(str(tmp_path / "rows.csv"), ("prompt",))
    (tmp_path / "rows.parquet").write_text("prompt")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read_rows(str(tmp_path / "rows.parquet"), ("prompt",))
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a"}\n{"prompt": \n')
    with pytest.raises(DataError, match="line 2 is not JSON"):
        read_rows(str(tmp_path / "rows.jsonl"), ("prompt",))
    (tmp_path / "rows.jsonl").write_text('["a"]\n')
    with pytest.raises(DataError, match=r"line 1 is .*not an object"):
        read_rows(str(tmp_path / "rows.jsonl"), ("prompt",))


def test_cells_that_json_cannot_hold_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.parquet", [{"prompt": "a", "answer": datetime.date(2020, 1, 1)}])
    with pytest.raises(DataError, match="column 'answer' holds date"):
        read_rows(path, ("prompt", "answer"))


def test_epochs_are_different_permutations_that_hang_on_the_seed() -> None:
    def epoch(seed: int, number: int) -> list[int]:
        order = ShuffledOrder(50, seed)
        return [order.row(number * 50 + i) for i in range(50)]

    assert sorted(epoch(0, 0)) == sorted(epoch(0, 1)) == list(range(50))
    assert epoch(0, 0) == epoch(0, 0)
    assert len({tuple(epoch(seed, number)) for seed in (0, 1) for number in (0, 1)}) == 4


def test_a_cursor_of_other_data_is_refused() -> None:
    state = json.loads(json.dumps(cursor("rows", 7, 100)))
    assert read_cursor(state, "rows", 100) == 7
    with pytest.raises(DataError, match="with 100 rows, and this run has 'rows' with 101 rows"):
        read_cursor(state, "rows", 101)
    with pytest.raises(DataError, match="this run has 'addition' with 0"):
        read_cursor(state, "addition", 0)
