"""Journeys on disk: read the samples of a run, write the rows that supervised stages read token by token.

Contract: `journey.parquet` and `shortcut.parquet` have the same number of rows, of the same prompts in the same order.
"""

# pyarrow ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data.records import Int32Array, Prompt, ScoredGroup
from data.store import read_rollouts, rollout_files, to_scored_groups

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("response", pa.string(), nullable=False),
        pa.field("prompt_token_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("response_token_ids", pa.list_(pa.int32()), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class TraceRow:
    """One supervised row."""

    prompt: Prompt
    response: str  # for people: without the special tokens that a tokenizer leaves out
    token_ids: Int32Array  # [T] with eos


def sampled_groups(run_folder: Path) -> Iterator[ScoredGroup]:
    """The training groups of a run, step by step; of a STaR run those that were sampled without a hint.

    Raises DataError when the run has none.
    """
    hinted = _hinted_groups(run_folder / "rationales")
    folder = run_folder / "rollouts"
    for step in rollout_files(folder) or (None,):
        table = read_rollouts(folder, None if step is None else [step])  # without files this says what is missing
        yield from (scored for scored in to_scored_groups(table) if scored.group.group_id not in hinted)


def _hinted_groups(folder: Path) -> set[int]:
    groups: set[int] = set()
    for file in sorted(folder.glob("iteration_*.parquet")):
        table = pq.read_table(file, columns=["group_id", "hinted"])
        pairs = zip(table.column("group_id").to_pylist(), table.column("hinted").to_pylist(), strict=True)
        groups |= {group for group, hinted in pairs if hinted}
    return groups


def write_rows(file: Path, rows: Sequence[TraceRow]) -> None:
    """Write the rows into one file, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(
        [
            {
                "id": row.prompt.prompt_id,
                "prompt": row.prompt.text,
                "response": row.response,
                "prompt_token_ids": row.prompt.token_ids,
                "response_token_ids": row.token_ids,
            }
            for row in rows
        ],
        schema=SCHEMA,
    )
    temporary = file.with_name(f".{file.name}.writing")
    pq.write_table(table, temporary, compression="zstd")
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    temporary.replace(file)
