"""The data set of a rejection run: `rows.parquet`, one row per kept completion, token by token and as text.

Contract: files are whole or not there; a run writes them chunk by chunk and joins them at the end. `traces` of type
`rows` read the columns `prompt_token_ids` and `response_token_ids` as they are. docs/distill.md lists the columns.
"""

# pyarrow ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data.rationales import Rationale

ROWS_FILE = "rows.parquet"
PROMPT_COLUMN, RESPONSE_COLUMN = "prompt_token_ids", "response_token_ids"

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("response", pa.string(), nullable=False),
        pa.field(PROMPT_COLUMN, pa.list_(pa.int32()), nullable=False),
        pa.field(RESPONSE_COLUMN, pa.list_(pa.int32()), nullable=False),
        pa.field("reference", pa.string(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("correct", pa.bool_()),
        pa.field("model", pa.string(), nullable=False),
        pa.field("oldest_version", pa.int32(), nullable=False),
        pa.field("newest_version", pa.int32(), nullable=False),
        pa.field("group_id", pa.int64(), nullable=False),
        pa.field("sample", pa.int32(), nullable=False),
    ]
)


def chunk_file(folder: Path, chunk: int) -> Path:
    """Where a chunk's rows are: `chunk_000001.parquet`."""
    return folder / f"chunk_{chunk:06d}.parquet"


def write_chunk(folder: Path, chunk: int, kept: Sequence[Rationale], *, model: str) -> Path:
    """Write a chunk's rows into the folder, which is made; one that is there already is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    file = chunk_file(folder, chunk)
    _write_whole(pa.Table.from_pylist([_row(rationale, model) for rationale in kept], schema=SCHEMA), file)
    return file


def join_chunks(folder: Path, chunks: int, file: Path) -> int:
    """Join the chunks 1 ... `chunks` into one file, a chunk in memory at a time. Returns the rows."""
    temporary, rows = file.with_name(f".{file.name}.writing"), 0
    with pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer:
        for chunk in range(1, chunks + 1):
            with pq.ParquetFile(chunk_file(folder, chunk)) as part:
                table = part.read()
            writer.write_table(table)
            rows += len(table)
    _give_name(temporary, file)
    return rows


def _row(rationale: Rationale, model: str) -> dict[str, object]:
    problem, completion, verdict = rationale.problem, rationale.completion, rationale.verdict
    return {
        "id": problem.prompt_id,
        "prompt": problem.text,
        "response": completion.text,
        PROMPT_COLUMN: problem.token_ids,
        RESPONSE_COLUMN: completion.token_ids,
        "reference": json.dumps(dict(problem.reference)),
        "outcome": verdict.outcome,
        "score": verdict.score,
        "correct": verdict.correct if verdict.outcome == "ok" else None,
        "model": model,
        "oldest_version": int(completion.versions.min()),
        "newest_version": int(completion.versions.max()),
        "group_id": rationale.group_id,
        "sample": rationale.sample,
    }


def _write_whole(table: pa.Table, file: Path) -> None:
    temporary = file.with_name(f".{file.name}.writing")
    pq.write_table(table, temporary, compression="zstd")
    _give_name(temporary, file)


def _give_name(temporary: Path, file: Path) -> None:
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    temporary.replace(file)
