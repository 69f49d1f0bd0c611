"""Samples for the report: the same held-out problems in the first and in the last evaluation of a run.

Reads `rollouts/eval_*.parquet` with plain pyarrow, and of each file no more than the first problems.
"""

from dataclasses import dataclass
from pathlib import Path

MAX_PROBLEMS = 8
_COLUMNS = [
    "step",
    "prompt_id",
    "prompt_text",
    "completion_text",
    "versions",
    "finish_reason",
    "score",
    "correct",
]
_ROWS_PER_READ = 64


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion of a held-out problem."""

    step: int
    prompt_id: str
    prompt: str
    text: str
    tokens: int
    cut: bool  # at the length limit
    score: float | None  # None: there was no verdict
    correct: bool


def read_samples(rollouts: Path) -> list[tuple[Sample | None, Sample | None]]:
    """(first evaluation, last evaluation) for the first problems; None where a problem is in only one of them.

    Empty without evaluations. With a single evaluation the second of each pair is None. Raises ValueError when a file
    lacks a column.
    """
    files = sorted(rollouts.glob("eval_*.parquet"))
    if not files:
        return []
    first = _read(files[0])
    last = _read(files[-1]) if len(files) > 1 else {}
    problems = list(dict.fromkeys([*first, *last]))[:MAX_PROBLEMS]
    return [(first.get(problem), last.get(problem)) for problem in problems]


def _read(path: Path) -> dict[str, Sample]:
    """The first completion of each of the first problems, by prompt id."""
    import pyarrow.parquet as pq  # loads slowly, and only reports need it

    file = pq.ParquetFile(path)
    missing = [column for column in _COLUMNS if column not in file.schema_arrow.names]
    if missing:
        raise ValueError(
            f"{path} has no column {', '.join(missing)}; it has {', '.join(file.schema_arrow.names)}. "
            "Only rayzero writes into this folder; move the file away."
        )
    samples: dict[str, Sample] = {}
    for batch in file.iter_batches(batch_size=_ROWS_PER_READ, columns=_COLUMNS):
        for row in batch.to_pylist():
            if row["prompt_id"] in samples:
                continue
            samples[row["prompt_id"]] = Sample(
                step=row["step"],
                prompt_id=row["prompt_id"],
                prompt=row["prompt_text"],
                text=row["completion_text"],
                tokens=len(row["versions"]),
                cut=row["finish_reason"] == "length",
                score=row["score"],
                correct=row["correct"],
            )
        if len(samples) >= MAX_PROBLEMS:
            break
    return dict(list(samples.items())[:MAX_PROBLEMS])
