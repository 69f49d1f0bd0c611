"""The Parquet store of every group that was sampled: one row per completion, one file per step and kind.

Contract: a file is written under another name, synced and renamed, so a reader sees whole files only; writing a step
again replaces its file. `to_scored_groups(to_table(...))` gives back what went in, exactly, as long as references hold
JSON values. The files read with plain pyarrow; docs/data.md lists the columns.

Shapes: T tokens of a completion, G completions of a group.
"""

# pyarrow ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data.errors import DataError
from data.records import Completion, Group, Prompt, ScoredGroup, Verdict

Kind = Literal["train", "eval"]
Advantages = Mapping[int, Sequence[float] | NDArray[Any] | None]  # group id -> [G]

SCHEMA = pa.schema(
    [
        pa.field("step", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("group_id", pa.int64(), nullable=False),
        pa.field("group_size", pa.int32(), nullable=False),
        pa.field("sample", pa.int32(), nullable=False),
        pa.field("prompt_id", pa.string(), nullable=False),
        pa.field("prompt_text", pa.string(), nullable=False),
        pa.field("prompt_token_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("reference", pa.string(), nullable=False),
        pa.field("completion_text", pa.string(), nullable=False),
        pa.field("completion_token_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("logprobs", pa.list_(pa.float32()), nullable=False),
        pa.field("versions", pa.list_(pa.int32()), nullable=False),
        pa.field("finish_reason", pa.string(), nullable=False),
        pa.field("trained", pa.bool_(), nullable=False),
        pa.field("advantage", pa.float64()),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("correct", pa.bool_(), nullable=False),
        pa.field("reward_parts", pa.map_(pa.string(), pa.float64()), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("worker", pa.string(), nullable=False),
        pa.field("generate_s", pa.float64(), nullable=False),
        pa.field("queue_s", pa.float64(), nullable=False),
        pa.field("reward_s", pa.float64(), nullable=False),
        pa.field("verifier_s", pa.float64(), nullable=False),
    ]
)
_PREFIX = {"train": "step", "eval": "eval"}


class RolloutStore:
    """Writes into one folder, which is made when it does not exist."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)

    def write(
        self,
        step: int,
        groups: Sequence[ScoredGroup],
        *,
        advantages: Advantages | None = None,
        kind: Kind = "train",
    ) -> Path:
        """Write all groups of a step (see `to_table`).

        Returns the file: `step_000012.parquet`, or `eval_000012.parquet` for held-out evaluation.
        """
        file = self._folder / f"{_PREFIX[kind]}_{step:06d}.parquet"
        temporary = file.with_name(f".{file.name}.writing")
        pq.write_table(to_table(step, groups, advantages=advantages, kind=kind), temporary, compression="zstd")
        _sync(temporary)
        temporary.replace(file)
        _sync(self._folder)
        return file


def to_table(
    step: int, groups: Sequence[ScoredGroup], *, advantages: Advantages | None = None, kind: Kind = "train"
) -> pa.Table:
    """One row per completion, in order of group and sample.

    `advantages` maps a group id to [G] values; a group that is missing or None was not trained, and neither was a
    completion whose value is NaN. Raises ValueError for a group that has not G advantages.
    """
    rows: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    for scored in groups:
        group, prompt = scored.group, scored.group.prompt
        size = len(group.completions)
        advantages_G = _advantages_of(group, advantages or {})
        shared: dict[str, Any] = {
            "step": step,
            "kind": kind,
            "group_id": group.group_id,
            "group_size": size,
            "prompt_id": prompt.prompt_id,
            "prompt_text": prompt.text,
            "prompt_token_ids": prompt.token_ids,
            "reference": json.dumps(dict(prompt.reference)),
            "worker": group.worker,
            "generate_s": group.generate_s,
            "queue_s": scored.queue_s,
            "reward_s": scored.reward_s,
        }
        for name, value in shared.items():
            rows[name].extend([value] * size)
        for sample, (completion, verdict) in enumerate(zip(group.completions, scored.verdicts, strict=True)):
            own: dict[str, Any] = {
                "sample": sample,
                "completion_text": completion.text,
                "completion_token_ids": completion.token_ids,
                "logprobs": completion.logprobs,
                "versions": completion.versions,
                "finish_reason": completion.finish_reason,
                "trained": advantages_G[sample] is not None,
                "advantage": advantages_G[sample],
                "outcome": verdict.outcome,
                "score": verdict.score,
                "correct": verdict.correct,
                "reward_parts": list(verdict.parts.items()),
                "detail": verdict.detail,
                "verifier_s": verdict.run_s,
            }
            for name, value in own.items():
                rows[name].append(value)
    return pa.table([_column(rows[field.name], field.type) for field in SCHEMA], schema=SCHEMA)


def read_rollouts(folder: Path, steps: Iterable[int] | None = None, *, kind: Kind = "train") -> pa.Table:
    """The rows of some steps, or of all, in order of step. Raises DataError when a step or every file is missing."""
    folder = Path(folder)
    files = rollout_files(folder, kind)
    if not files:
        raise DataError(
            f"{folder} holds no {kind} rollouts; a run writes them at each step. Check the folder, or wait."
        )
    wanted = list(files) if steps is None else sorted(set(steps))
    missing = [step for step in wanted if step not in files]
    if missing:
        raise DataError(
            f"{folder} holds no {kind} rollouts of step {missing[0]}; it has {len(files)} steps from {min(files)} to "
            f"{max(files)}."
        )
    if not wanted:
        return SCHEMA.empty_table()
    return pa.concat_tables([_read(files[step]) for step in wanted])


def _read(file: Path) -> pa.Table:
    with pq.ParquetFile(file) as parquet:
        return parquet.read()


def rollout_files(folder: Path, kind: Kind = "train") -> dict[int, Path]:
    """The whole files of a folder by step, in order."""
    files = Path(folder).glob(f"{_PREFIX[kind]}_*.parquet")
    return dict(sorted((int(file.stem.split("_")[1]), file) for file in files))


def to_scored_groups(table: pa.Table) -> list[ScoredGroup]:
    """The groups of a table of rollouts, in its order. Raises DataError when rows of a group are missing."""
    columns = {name: table.column(name).to_pylist() for name in SCHEMA.names if name not in _ARRAYS}
    columns |= {name: _arrays(table.column(name)) for name in _ARRAYS}
    rows_of: dict[tuple[str, int, int], list[int]] = {}
    for row, key in enumerate(zip(columns["kind"], columns["step"], columns["group_id"], strict=True)):
        rows_of.setdefault(key, []).append(row)
    return [_group(key, rows, columns) for key, rows in rows_of.items()]


_ARRAYS = ("prompt_token_ids", "completion_token_ids", "logprobs", "versions")


def _group(key: tuple[str, int, int], rows: list[int], columns: Mapping[str, list[Any]]) -> ScoredGroup:
    first = rows[0]
    samples = [columns["sample"][row] for row in rows]
    if samples != list(range(columns["group_size"][first])):
        raise DataError(
            f"group {key[2]} of {key[0]} step {key[1]} has {columns['group_size'][first]} completions, and the table "
            f"holds the samples {samples}; whole groups are needed, in order. Filter by group, not by row."
        )

    def shared(name: str) -> Any:
        return columns[name][first]

    prompt = Prompt(
        shared("prompt_id"), shared("prompt_token_ids"), shared("prompt_text"), json.loads(shared("reference"))
    )
    completions = tuple(
        Completion(
            token_ids=columns["completion_token_ids"][row],
            logprobs=columns["logprobs"][row],
            versions=columns["versions"][row],
            text=columns["completion_text"][row],
            finish_reason=columns["finish_reason"][row],
        )
        for row in rows
    )
    verdicts = tuple(
        Verdict(
            outcome=columns["outcome"][row],
            score=columns["score"][row],
            correct=columns["correct"][row],
            parts=dict(columns["reward_parts"][row]),
            detail=columns["detail"][row],
            run_s=columns["verifier_s"][row],
        )
        for row in rows
    )
    group = Group(shared("group_id"), prompt, completions, shared("worker"), shared("generate_s"))
    return ScoredGroup(group, verdicts, queue_s=shared("queue_s"), reward_s=shared("reward_s"))


def _advantages_of(group: Group, advantages: Advantages) -> list[float | None]:
    values = advantages.get(group.group_id)
    size = len(group.completions)
    if values is None:
        return [None] * size
    if len(values) != size:
        raise ValueError(f"group {group.group_id} has {size} completions and {len(values)} advantages")
    return [None if math.isnan(value) else float(value) for value in values]


def _column(values: list[Any], type_: Any) -> Any:
    """A column of the given type; lists of numbers go through one flat buffer, which is fast and exact."""
    if not pa.types.is_list(type_):
        return pa.array(values, type=type_)
    offsets = np.zeros(len(values) + 1, dtype=np.int32)
    np.cumsum([len(value) for value in values], out=offsets[1:])
    flat = np.concatenate(values) if values else np.zeros(0)
    return pa.ListArray.from_arrays(offsets, pa.array(flat.astype(type_.value_type.to_pandas_dtype())))


def _arrays(column: Any) -> list[NDArray[Any]]:
    return [cast("NDArray[Any]", cell.values.to_numpy()) for chunk in column.chunks for cell in chunk]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
