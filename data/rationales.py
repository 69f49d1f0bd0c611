"""STaR's data sets: every rationale that an iteration sampled, right or wrong, with where it came from.

Contract: one Parquet file per iteration, one row per completion, whole or not there. Rows with the fate `trained` are
what the iteration's fine-tuning saw, under the prompt *without* hint that `prompt` holds; wrong ones are kept because
a verifier can learn from them (V-STaR, arXiv 2402.06457). docs/star.md lists the columns.
"""

# pyarrow ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from data.records import Completion, Prompt, Verdict

Fate = Literal["trained", "wrong", "no_verdict", "unfit", "cut", "too_short", "duplicate", "over_cap"]


@dataclass(frozen=True, slots=True, eq=False)
class Rationale:
    """One completion of one problem, its verdict, and what became of it."""

    problem: Prompt  # without hint, whatever the completion was sampled from
    completion: Completion
    verdict: Verdict
    hinted: bool  # sampled with the answer in the prompt
    group_id: int
    sample: int  # index within its group
    fate: Fate


SCHEMA = pa.schema(
    [
        pa.field("iteration", pa.int32(), nullable=False),
        pa.field("problem", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("prompt_token_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("rationale", pa.string(), nullable=False),
        pa.field("rationale_token_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("hinted", pa.bool_(), nullable=False),
        pa.field("correct", pa.bool_(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("fate", pa.string(), nullable=False),
        pa.field("oldest_version", pa.int32(), nullable=False),
        pa.field("newest_version", pa.int32(), nullable=False),
        pa.field("group_id", pa.int64(), nullable=False),
        pa.field("sample", pa.int32(), nullable=False),
    ]
)


def rationale_file(folder: Path, iteration: int) -> Path:
    """Where an iteration's data set is: `iteration_0001.parquet`."""
    return folder / f"iteration_{iteration:04d}.parquet"


def write_rationales(folder: Path, iteration: int, rationales: Sequence[Rationale]) -> Path:
    """Write an iteration's data set into the folder, which is made; one that is there already is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [_row(iteration, rationale) for rationale in rationales]
    file = rationale_file(folder, iteration)
    temporary = file.with_name(f".{file.name}.writing")
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), temporary, compression="zstd")
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    temporary.replace(file)
    return file


def _row(iteration: int, rationale: Rationale) -> dict[str, object]:
    problem, completion, verdict = rationale.problem, rationale.completion, rationale.verdict
    versions = completion.versions
    return {
        "iteration": iteration,
        "problem": problem.prompt_id,
        "prompt": problem.text,
        "prompt_token_ids": problem.token_ids,
        "rationale": completion.text,
        "rationale_token_ids": completion.token_ids,
        "hinted": rationale.hinted,
        "correct": verdict.correct,
        "outcome": verdict.outcome,
        "score": verdict.score,
        "fate": rationale.fate,
        "oldest_version": int(versions.min()) if len(versions) else -1,
        "newest_version": int(versions.max()) if len(versions) else -1,
        "group_id": rationale.group_id,
        "sample": rationale.sample,
    }
