"""`rayzero score`: rate a file of responses offline, JSONL or Parquet in and out.

Rows are streamed, with a bounded number in flight. A bad row becomes an output row with outcome "verifier_error"; a
mistake in the call (no such file, unknown reward, nothing in the file) is a ValueError, and exit code 2 at the command.
"""

import asyncio
import json
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq
import typer

from algorithms.step_scores import Aggregation
from configs.reward_model import RewardModelOptions
from configs.rewards import OPTIONS, RewardPart, reward_options
from data.records import FinishReason, Outcome
from rewards.code import CodeReward
from rewards.countdown import countdown
from rewards.format import think_answer_format
from rewards.language import language_share
from rewards.length import cosine_length
from rewards.math import MathReward
from rewards.number import exact_number
from rewards.repetition import repetition
from rewards.sample import InfrastructureError, Sample, Score
from sandbox import Sandbox

ROWS_IN_FLIGHT = 256
VERIFIER_TIMEOUT_S = 5.0
# Reward -> fields that every row needs beside `id` and `response`; docs/rewards.md lists the others.
_FIELDS: dict[str, tuple[str, ...]] = {
    "math": ("answer",),
    "code": ("tests",),
    "format": (),
    "language": ("language",),
    "countdown": ("numbers", "target"),
    "number": ("answer",),
    "cosine_length": ("correct", "response_tokens", "max_completion_tokens"),
    "repetition": (),
    "reward_model": ("prompt",),
}
REWARDS = tuple(_FIELDS)
ScoreSample = Callable[[Sample], Awaitable[Score]]


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """What a file came to."""

    rows: int
    mean_score: float | None  # over the rows with outcome "ok"; None when there is none
    outcomes: Mapping[Outcome, int]
    seconds: float

    def __str__(self) -> str:
        mean = "none" if self.mean_score is None else f"{self.mean_score:.4f}"
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in self.outcomes.items() if count)
        return f"{self.rows} rows, mean score {mean}, {outcomes}, {self.seconds:.1f} s"


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read, with the reason."""

    reason: str


def score(
    input: Annotated[Path, typer.Argument(metavar="IN", help="A .jsonl or .parquet file of responses.")],
    reward: Annotated[str, typer.Option(help=f"One of {', '.join(REWARDS)}.")],
    out: Annotated[Path, typer.Option(help="A .jsonl or .parquet file to write.")],
    model: Annotated[Path | None, typer.Option(help="For reward_model: its folder.")] = None,
    aggregation: Annotated[
        Literal["min", "product", "last"], typer.Option(help="For reward_model: of the steps' scores.")
    ] = "min",
) -> None:
    """Rate a file of responses; each row has `id`, `response` and what the reward needs (docs/rewards.md)."""
    try:
        summary = score_file(input, reward, out, model, aggregation)
    except (ValueError, OSError, InfrastructureError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1 if isinstance(error, InfrastructureError) else 2) from error
    typer.echo(str(summary))


def score_file(
    input: Path, reward: str, out: Path, model: Path | None = None, aggregation: Aggregation = "min"
) -> ScoreSummary:
    """Score every row of `input` into `out`, which is whole or not there. Raises ValueError for a wrong call.

    `model`, `aggregation`: of the reward `reward_model`.
    """
    if reward not in REWARDS:
        raise ValueError(f"unknown reward {reward!r}; choose one of {', '.join(REWARDS)}")
    if (reward == "reward_model") != (model is not None):
        raise ValueError("--model names the folder of a reward model, and goes with --reward reward_model alone")
    options = None if model is None else RewardModelOptions(path=str(model), aggregation=aggregation)
    if not input.is_file():
        raise ValueError(f"{input}: no such file")
    for path in (input, out):
        if path.suffix not in (".jsonl", ".parquet"):
            raise ValueError(f"{path}: the name must end in .jsonl or .parquet")
    if out.exists() and out.samefile(input):
        raise ValueError(f"{out}: is the input; write to another file")
    if not out.parent.is_dir():
        raise ValueError(f"{out.parent}: no such folder; make it first")
    rows = _read_jsonl(input) if input.suffix == ".jsonl" else _read_parquet(input)
    first = next(rows, None)
    if first is None:
        raise ValueError(f"{input}: has no rows")
    partial_out = out.with_name(out.name + ".partial")
    try:
        summary = asyncio.run(_score_rows(first, rows, reward, options, partial_out, out.suffix, _id_type(input)))
        os.replace(partial_out, out)
    finally:
        partial_out.unlink(missing_ok=True)
    return summary


async def _score_rows(
    first: object,
    rows: Iterator[object],
    reward: str,
    model: RewardModelOptions | None,
    out: Path,
    suffix: str,
    id_type: pa.DataType,
) -> ScoreSummary:
    started = time.perf_counter()
    outcomes: dict[Outcome, int] = {"ok": 0, "verifier_error": 0, "infra_error": 0, "ungraded": 0}
    total = 0.0
    writer = _write_jsonl(out) if suffix == ".jsonl" else _write_parquet(out, id_type)
    with closing(writer) as write:
        next(write)
        async with _open_reward(reward, model) as score_sample:
            in_flight: deque[asyncio.Task[dict[str, Any]]] = deque()
            row: object | None = first
            while row is not None or in_flight:
                if row is not None and len(in_flight) < ROWS_IN_FLIGHT:
                    in_flight.append(asyncio.create_task(_score_row(row, reward, score_sample)))
                    row = next(rows, None)
                    continue
                result = await in_flight.popleft()
                outcomes[result["outcome"]] += 1
                total += result["score"] or 0.0
                write.send(result)
    mean = total / outcomes["ok"] if outcomes["ok"] else None
    return ScoreSummary(sum(outcomes.values()), mean, outcomes, time.perf_counter() - started)


@asynccontextmanager
async def _open_reward(name: str, model: RewardModelOptions | None) -> AsyncIterator[ScoreSample]:
    if model is not None:
        from cli.score_model import open_model  # loads torch

        yield open_model(model)
        return
    if name == "math":
        verifier = MathReward(VERIFIER_TIMEOUT_S)
        try:
            await verifier.start()
            yield verifier
        finally:
            await verifier.close()
        return
    if name == "code":
        code = CodeReward(Sandbox())
        await code.start()
        try:
            yield partial(_score_code, code)
        finally:
            await code.close()
        return

    async def score_sample(sample: Sample) -> Score:
        return _score_in_place(name, sample)

    yield score_sample


async def _score_code(code: CodeReward, sample: Sample) -> Score:
    """A row without a response has the program itself."""
    source = sample.reference.get("code")
    if sample.reference.get("response") is None and isinstance(source, str):
        return await code.judge(sample.reference, source)
    return await code(sample)


def _score_in_place(name: str, sample: Sample) -> Score:
    if name in ("countdown", "number"):
        return countdown(sample) if name == "countdown" else exact_number(sample)
    known = OPTIONS[name].model_fields  # a row may carry any option of its reward under the option's name
    given = {key: sample.reference[key] for key in known if sample.reference.get(key) is not None}
    options = reward_options(RewardPart.model_validate({"type": name, "options": given})).model_dump()
    if name == "format":
        return think_answer_format(sample, **options)
    if name == "language":
        return language_share(sample, **options)
    if name == "repetition":
        return repetition(sample, **options)
    return cosine_length(sample, sample.reference["correct"], **options)


async def _score_row(row: object, reward: str, score_sample: ScoreSample) -> dict[str, Any]:
    row_id: object = None
    try:
        if isinstance(row, BadRow):
            raise ValueError(row.reason)
        if not isinstance(row, dict):
            raise ValueError(f"a row must be an object with fields, not {type(row).__name__}")
        fields: dict[str, Any] = row
        row_id = fields.get("id")
        sample = _to_sample(fields, reward)
        verdict = await score_sample(sample)
    except InfrastructureError as error:
        return {"id": row_id, "score": None, "outcome": "infra_error", "detail": str(error)}
    except Exception as error:  # one bad row is reported, whatever is wrong with it
        detail = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        return {"id": row_id, "score": None, "outcome": "verifier_error", "detail": detail}
    return {"id": row_id, "score": verdict.value, "outcome": "ok", "detail": verdict.detail}


def _to_sample(row: dict[str, Any], reward: str) -> Sample:
    is_program = reward == "code" and row.get("response") is None and row.get("code") is not None
    for field in ("id", "code" if is_program else "response", *_FIELDS[reward]):
        if row.get(field) is None:
            raise ValueError(f"field {field!r} is missing; the {reward} reward needs it in every row")
    for field in ("code" if is_program else "response", "prompt"):
        if not isinstance(row.get(field) or "", str):
            raise ValueError(f"{field} is {type(row[field]).__name__}, not a string")
    for field in ("response_tokens", "max_completion_tokens"):
        value = row.get(field) or 0
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(f"{field} is {value!r}, not a number of tokens")
    if not isinstance(row.get("correct", False), bool):
        raise ValueError(f"correct is {row['correct']!r}, not true or false")
    finish = row.get("finish_reason") or "stop"
    if finish not in get_args(FinishReason):
        raise ValueError(f"finish_reason is {finish!r}, not one of {', '.join(get_args(FinishReason))}")
    return Sample(
        prompt=row.get("prompt") or "",
        response=row.get("response") or "",
        reference=row,
        response_tokens=row.get("response_tokens") or 0,
        max_completion_tokens=row.get("max_completion_tokens") or 0,
        finish_reason=finish,
    )


def _read_jsonl(path: Path) -> Iterator[object]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                # `null` is a row as well, and a bad one.
                row: object = json.loads(line)
                yield row if row is not None else BadRow(f"line {number}: null is not an object")
            except (ValueError, RecursionError) as error:
                yield BadRow(f"line {number}: not JSON ({error})")


def _read_parquet(path: Path) -> Iterator[object]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=ROWS_IN_FLIGHT):
                yield from batch.to_pylist()
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: not a Parquet file ({error})") from error


def _id_type(path: Path) -> pa.DataType:
    """Type of the ids in a Parquet output: that of a Parquet input; text for JSONL, whose ids may be of any type."""
    if path.suffix == ".parquet":
        schema = pq.read_schema(path)
        if "id" in schema.names and pa.types.is_integer(schema.field("id").type):
            return schema.field("id").type
    return pa.string()


def _write_jsonl(path: Path) -> Generator[None, dict[str, Any], None]:
    with path.open("w", encoding="utf-8") as file:
        while True:
            file.write(json.dumps((yield)) + "\n")


def _write_parquet(path: Path, id_type: pa.DataType) -> Generator[None, dict[str, Any], None]:
    schema = pa.schema([("id", id_type), ("score", pa.float64()), ("outcome", pa.string()), ("detail", pa.string())])
    rows: list[dict[str, Any]] = []
    with pq.ParquetWriter(path, schema) as writer:
        try:
            while True:
                row = yield
                if row["id"] is not None and pa.types.is_string(id_type):
                    row = {**row, "id": row["id"] if isinstance(row["id"], str) else json.dumps(row["id"])}
                rows.append(row)
                if len(rows) >= ROWS_IN_FLIGHT:
                    writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                    rows.clear()
        finally:
            if rows:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
