"""The data set of labelled steps: one Parquet row per solution, with where it came from and who completed it.

Contract: files are whole or not there; token ids are those that were sampled. docs/data.md lists the columns.
"""

# pyarrow ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import DataError
from data.records import Int32Array

FOLDER = "step_labels"
LINEAGE_FILE = "lineage.json"


@dataclass(frozen=True, slots=True)
class Lineage:
    """How the labels of a folder came about."""

    solutions: str  # folder or file that they were read from
    completer: str  # model folder that completed them
    samples: int  # completions per step
    temperature: float
    max_completion_tokens: int
    separators: tuple[str, ...]
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSolution:
    """One solution and what its steps came to. The last step is labelled by the solution's own verdict."""

    problem: str  # id
    prompt: str
    response: str
    prompt_ids: Int32Array  # [P]
    response_ids: Int32Array  # [T]
    step_ends: Int32Array  # [K] index of each step's last token
    right: tuple[int, ...]  # [K] completions that were right
    completions: tuple[int, ...]  # [K] completions with a verdict; 0: the step has no label
    correct: bool  # the solution itself
    origin: str  # which solution of the source it is: `step 12, group 340, sample 3`, or `row 17`


SCHEMA = pa.schema(
    [
        pa.field("problem", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("response", pa.string(), nullable=False),
        pa.field("prompt_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("response_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("step_ends", pa.list_(pa.int32()), nullable=False),
        pa.field("right", pa.list_(pa.int32()), nullable=False),
        pa.field("completions", pa.list_(pa.int32()), nullable=False),
        pa.field("correct", pa.bool_(), nullable=False),
        pa.field("origin", pa.string(), nullable=False),
    ]
)


def write_lineage(folder: Path, lineage: Lineage) -> None:
    """Before the first file; the folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LINEAGE_FILE).write_text(json.dumps(asdict(lineage), indent=2) + "\n", encoding="utf-8")


def write_solutions(folder: Path, number: int, solutions: Sequence[LabelledSolution]) -> Path:
    """`part_0003.parquet`; one that is there already is replaced."""
    file = folder / f"part_{number:04d}.parquet"
    temporary = file.with_name(f".{file.name}.writing")
    rows = [{name: getattr(solution, name) for name in SCHEMA.names} for solution in solutions]
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), temporary, compression="zstd")
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    temporary.replace(file)
    return file


def read_step_labels(path: Path) -> tuple[Lineage, list[LabelledSolution]]:
    """Everything below a run's folder, or its folder `step_labels`. Raises DataError when there is nothing."""
    folder = path / FOLDER if (path / FOLDER).is_dir() else path
    files = sorted(folder.glob("part_*.parquet"))
    if not files or not (folder / LINEAGE_FILE).is_file():
        raise DataError(
            f"{folder} holds no labelled steps; a run of `method: step_labels` writes them. Give that run's folder."
        )
    facts: dict[str, Any] = json.loads((folder / LINEAGE_FILE).read_text(encoding="utf-8"))
    facts["separators"] = tuple(facts["separators"])
    rows = [row for file in files for row in pq.read_table(file, schema=SCHEMA).to_pylist()]
    return Lineage(**facts), [_solution(row) for row in rows]


def _solution(row: dict[str, Any]) -> LabelledSolution:
    arrays: dict[str, Any] = {
        name: np.array(row[name], dtype=np.int32) for name in ("prompt_ids", "response_ids", "step_ends")
    }
    counts: dict[str, Any] = {name: tuple(row[name]) for name in ("right", "completions")}
    return LabelledSolution(**{**row, **arrays, **counts})
