"""Rows of a user's Parquet or JSONL file: read, checked against the documented schema, and put in a shuffled order.

Contract: every mistake is a DataError that names the file, the row or column, what was found, and the remedy. Rows are
numbered from 0. The order of an epoch hangs on (seed, epoch) alone, so a cursor is one integer.
"""

# pyarrow ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data.errors import DataError

Row = dict[str, Any]
CHECKED_ROWS = 64  # whose cells are tried as JSON; a Parquet column has one type throughout


def read_rows(
    path: str, columns: Sequence[str], optional: Sequence[str] = (), *, token_columns: Sequence[str] = ()
) -> list[Row]:
    """All rows, with `columns` present and not null in each, and those of `optional` that the file has.

    Lists of whole numbers in `token_columns` come as int32 arrays. Raises DataError for a missing, unreadable or empty
    file, a missing or null column, and cells that JSON cannot hold.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError(f"the data file {path!r} does not exist (looked in {Path.cwd()}); correct `path`.")
    match file.suffix:
        case ".parquet":
            rows = _read_parquet(file, columns, optional, token_columns)
        case ".jsonl":
            rows = [_with_tokens(row, token_columns) for row in _read_jsonl(file)]
        case suffix:
            raise DataError(f"{path}: the ending {suffix!r} is not known; convert the data to .parquet or .jsonl.")
    if not rows:
        raise DataError(f"{path} has no rows; a run needs at least one. Check how the file was made.")
    for number, row in enumerate(rows):
        for column in columns:
            if column not in row:
                raise _missing_column(path, column, list(row), f" in row {number}")
            if row[column] is None:
                raise DataError(f"{path}, row {number}: column {column!r} is null; fill it in or remove the row.")
    wanted = (*columns, *optional)
    rows = [{column: row[column] for column in wanted if column in row} for row in rows]
    for number, row in enumerate(rows[:CHECKED_ROWS]):
        _check_json(path, number, {name: cell for name, cell in row.items() if not isinstance(cell, np.ndarray)})
    return rows


class ShuffledOrder:
    """Row numbers without end: epoch after epoch, each a permutation of all rows."""

    def __init__(self, rows: int, seed: int) -> None:
        self._rows = rows
        self._seed = seed
        self._epoch = -1
        self._permutation: NDArray[np.int64] = np.arange(rows)

    def row(self, taken: int) -> int:
        """The row that comes after `taken` rows were taken."""
        epoch, position = divmod(taken, self._rows)
        if epoch != self._epoch:
            self._permutation = np.random.default_rng((self._seed, epoch)).permutation(self._rows)
            self._epoch = epoch
        return int(self._permutation[position])


def cursor(source: str, taken: int, rows: int) -> dict[str, Any]:
    """The JSON-able state of a source; `rows` is 0 for a generator."""
    return {"source": source, "taken": taken, "rows": rows}


def read_cursor(state: Mapping[str, Any], source: str, rows: int) -> int:
    """How many items were taken. Raises DataError when the state is of another source or the file has changed."""
    if state["source"] != source or state["rows"] != rows:
        raise DataError(
            f"the saved data cursor is of source {state['source']!r} with {state['rows']} rows, and this run has "
            f"{source!r} with {rows} rows, so the order would not continue. Resume with the same data, or start anew."
        )
    return int(state["taken"])


def _read_parquet(
    file: Path, columns: Sequence[str], optional: Sequence[str], token_columns: Sequence[str]
) -> list[Row]:
    try:
        with pq.ParquetFile(file) as parquet:
            present: list[str] = list(parquet.schema_arrow.names)
            for column in columns:
                if column not in present:
                    raise _missing_column(str(file), column, present)
            wanted = [column for column in present if column in columns or column in optional]
            table = parquet.read(columns=wanted)
            tokens = {
                name: _token_arrays(table.column(name))
                for name in wanted
                if name in token_columns and _holds_tokens(table.schema.field(name).type)
            }
            others = [name for name in wanted if name not in tokens]
            rows = cast("list[Row]", table.select(others).to_pylist()) if others else [{} for _ in range(len(table))]
            for name, arrays in tokens.items():
                for row, array in zip(rows, arrays, strict=True):
                    row[name] = array
            return rows
    except pa.ArrowException as error:
        raise DataError(f"{file} is not a readable Parquet file: {error}. Write it again.") from error


def _holds_tokens(kind: Any) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return bool(is_list and pa.types.is_integer(kind.value_type))


def _token_arrays(column: Any) -> list[NDArray[np.int32] | None]:
    """The cells of a list column as arrays, without a Python number per token; null stays None."""
    return [
        None if cell.values is None else cell.values.to_numpy(zero_copy_only=False).astype(np.int32)
        for chunk in column.chunks
        for cell in chunk
    ]


def _with_tokens(row: Row, token_columns: Sequence[str]) -> Row:
    for name in token_columns:
        cell: object = row.get(name)
        if isinstance(cell, list) and cell and all(type(token) is int for token in cell):
            row[name] = np.array(cell, dtype=np.int32)
    return row


def _read_jsonl(file: Path) -> list[Row]:
    rows: list[Row] = []
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            if not line.strip():
                continue
            try:
                row: object = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{file}, line {number + 1} is not JSON: {error}. Write an object per line.") from error
            if not isinstance(row, dict):
                raise DataError(f"{file}, line {number + 1} is {line.strip()[:60]!r}, not an object with columns.")
            rows.append(cast("Row", row))
    return rows


def _missing_column(path: str, column: str, present: Sequence[str], where: str = "") -> DataError:
    return DataError(
        f"{path} has no column {column!r}{where}; its columns are {', '.join(sorted(present)) or 'none'}. Name the "
        "right one in the config (`prompt_column`, `reference_columns`, `response_column`), or rename it in the file."
    )


def _check_json(path: str, number: int, row: Row) -> None:
    for column, cell in row.items():
        try:
            json.dumps(cell)
        except TypeError as error:
            raise DataError(
                f"{path}, row {number}: column {column!r} holds {type(cell).__name__}, which the rollout store cannot "
                "write as JSON; convert it to text, numbers or lists of them."
            ) from error
