"""What a reward model learns from: solutions with labels at some of their tokens, or pairs; and the held-out split.

Contract: token ids of what was sampled are taken as they are. The split goes by problem: all solutions of a problem are
on one side, which hangs on the problem's id alone. The same solution of the same problem counts once.

Shapes: P tokens of a prompt, T tokens of a response, K scored tokens.
"""

# pyarrow ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import math
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from configs.reward_model import Examples, LabelledRows, PairRows, RolloutExamples, StepLabelExamples, StepRows
from data.chat import Tokenizer, check_problem, render_prompt, render_response
from data.errors import DataError
from data.records import FloatArray, Int32Array
from data.reward_card import Kind
from data.rows import Row, read_rows
from data.step_labels import LabelledSolution, read_step_labels
from data.store import read_rollouts


@dataclass(frozen=True, slots=True, eq=False)
class ScoredSolution:
    """A solution with labels. Of an outcome model only the last token has one."""

    problem: str  # id
    prompt_ids: Int32Array  # [P]
    response_ids: Int32Array  # [T]
    positions: Int32Array  # [K] rising indices into the response
    labels: FloatArray  # [K] in [0, 1]
    right: bool | None  # the solution as a whole; None when the data do not say


@dataclass(frozen=True, slots=True, eq=False)
class PreferencePair:
    """Two responses to one prompt, of which one was preferred."""

    problem: str  # id
    prompt_ids: Int32Array  # [P]
    chosen_ids: Int32Array  # [T]
    rejected_ids: Int32Array  # [T]


Example = ScoredSolution | PreferencePair


@dataclass(frozen=True, slots=True, eq=False)
class ExampleSet:
    """All examples of a source, split."""

    kind: Kind
    separators: tuple[str, ...]  # of the steps; empty unless `process`
    train: tuple[Example, ...]
    held_out: tuple[Example, ...]


def read_examples(config: Examples, tokenizer: Tokenizer, *, max_tokens: int, held_out_share: float) -> ExampleSet:
    """Read, check and split. Raises DataError for bad rows, for prompt and response longer than `max_tokens`,
    and when one side of the split is empty."""
    kind: Kind = "process"
    separators: tuple[str, ...] = ()
    match config:
        case RolloutExamples():
            kind, examples = "outcome", list(_rollouts(Path(config.path)))
        case LabelledRows():
            kind, examples = "outcome", list(_labelled(config, tokenizer))
        case PairRows():
            kind, examples = "preference", list(_pairs(config, tokenizer))
        case StepRows():
            separators, examples = config.separators, list(_steps(config, tokenizer))
        case StepLabelExamples():
            lineage, solutions = read_step_labels(Path(config.path))
            separators, examples = lineage.separators, list(_step_labels(solutions, soft=config.labels == "soft"))
    unique = list({_identity(example): example for example in examples}.values())
    for number, example in enumerate(unique):
        if (tokens := _longest(example)) > max_tokens:
            raise DataError(
                f"{config.path}: example {number}, of problem {example.problem}, has {tokens} tokens, more than "
                f"policy.max_model_len = {max_tokens}; raise it, or remove what is longer."
            )
    held_out = tuple(example for example in unique if is_held_out(example.problem, held_out_share))
    train = tuple(example for example in unique if not is_held_out(example.problem, held_out_share))
    for name, side in (("training", train), ("held-out", held_out)):
        if not side:
            raise DataError(
                f"{config.path}: no {name} example is left of {len(unique)} with held_out_share = {held_out_share:g}; "
                "the split goes by problem, so give examples of more problems, or another share."
            )
    return ExampleSet(kind, separators, train, held_out)


def is_held_out(problem: str, share: float) -> bool:
    """Whether a problem is on the held-out side: a hash of its id, the same in every run."""
    digest = blake2b(f"reward model:{problem}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) < share * 2.0**64


# ------------------------------------------------------------------------------------------------------------- sources


def _rollouts(folder: Path) -> Iterator[ScoredSolution]:
    """Every completion with a verdict; of STaR those without a hint, for no verifier is shown the answer."""
    files = sorted((folder / "rationales").glob("iteration_*.parquet"))
    if files:
        names = {"problem": "problem", "prompt": "prompt_token_ids", "response": "rationale_token_ids"}
        tables = [pq.read_table(file, filters=[("hinted", "==", False)]) for file in files]
    else:
        names = {"problem": "prompt_id", "prompt": "prompt_token_ids", "response": "completion_token_ids"}
        tables = [read_rollouts(folder / "rollouts")]
    for table in tables:
        columns = [table.column(name).to_pylist() for name in (*names.values(), "correct", "outcome")]
        for problem, prompt, response, correct, outcome in zip(*columns, strict=True):
            if outcome == "ok" and response:
                yield _whole(problem, np.array(prompt, np.int32), np.array(response, np.int32), float(correct))


def _labelled(config: LabelledRows, tokenizer: Tokenizer) -> Iterator[ScoredSolution]:
    columns = (config.prompt_column, config.response_column, config.label_column)
    for number, row in enumerate(read_rows(config.path, columns, ("id",))):
        where = f"{config.path}, row {number}"
        problem, prompt_ids = _prompt(config, row, where, tokenizer)
        response_ids = render_response(tokenizer, _text(row[config.response_column], where, config.response_column))
        yield _whole(problem, prompt_ids, response_ids, _label(row[config.label_column], where, config.label_column))


def _pairs(config: PairRows, tokenizer: Tokenizer) -> Iterator[PreferencePair]:
    columns = (config.prompt_column, config.chosen_column, config.rejected_column)
    for number, row in enumerate(read_rows(config.path, columns, ("id",))):
        where = f"{config.path}, row {number}"
        problem, prompt_ids = _prompt(config, row, where, tokenizer)
        chosen, rejected = (render_response(tokenizer, _text(row[c], where, c)) for c in columns[1:])
        if np.array_equal(chosen, rejected):
            raise DataError(f"{where}: the chosen and the rejected response are the same; remove the row.")
        yield PreferencePair(problem, prompt_ids, chosen, rejected)


def _steps(config: StepRows, tokenizer: Tokenizer) -> Iterator[ScoredSolution]:
    columns = (config.prompt_column, config.steps_column, config.labels_column)
    for number, row in enumerate(read_rows(config.path, columns, ("id",))):
        where = f"{config.path}, row {number}"
        steps, labels = row[config.steps_column], row[config.labels_column]
        if not isinstance(steps, list) or not isinstance(labels, list) or len(steps) != len(labels) or not steps:
            raise DataError(
                f"{where}: columns {config.steps_column!r} and {config.labels_column!r} must be lists of the same "
                "length, not empty: a text and a label for each step."
            )
        problem, prompt_ids = _prompt(config, row, where, tokenizer)
        # Encoded step by step, so that every step ends where a token does; the last one has eos.
        parts = [render_response(tokenizer, _text(step, where, config.steps_column)) for step in steps]
        response_ids = np.concatenate([*(part[:-1] for part in parts), parts[-1][-1:]])
        ends = np.cumsum([len(part) - 1 for part in parts]) - 1
        ends[-1] += 1
        values = [None if label is None else _label(label, where, config.labels_column) for label in labels]
        known = [i for i, value in enumerate(values) if value is not None]
        if known:
            floats = np.array([values[i] for i in known], dtype=np.float32)
            right = bool(floats[-1] >= 0.5) if values[-1] is not None else None
            yield ScoredSolution(problem, prompt_ids, response_ids, ends[known].astype(np.int32), floats, right)


def _step_labels(solutions: list[LabelledSolution], *, soft: bool) -> Iterator[ScoredSolution]:
    for solution in solutions:
        counts = zip(solution.step_ends.tolist(), solution.right, solution.completions, strict=True)
        known = [(end, right, completions) for end, right, completions in counts if completions]
        if known:
            values = [right / completions if soft else float(right > 0) for _, right, completions in known]
            positions = np.array([end for end, _, _ in known], dtype=np.int32)
            yield ScoredSolution(
                solution.problem,
                solution.prompt_ids,
                solution.response_ids,
                positions,
                np.array(values, dtype=np.float32),
                solution.correct,
            )


# --------------------------------------------------------------------------------------------------------------- rows


def _whole(problem: str, prompt_ids: Int32Array, response_ids: Int32Array, label: float) -> ScoredSolution:
    last = np.array([len(response_ids) - 1], dtype=np.int32)
    return ScoredSolution(problem, prompt_ids, response_ids, last, np.array([label], np.float32), label >= 0.5)


def _prompt(
    config: LabelledRows | PairRows | StepRows, row: Row, where: str, tokenizer: Tokenizer
) -> tuple[str, Int32Array]:
    """The problem's id, which is the prompt's text where the row has none, and [P] prompt ids."""
    problem = check_problem(row[config.prompt_column], f"{where}: column {config.prompt_column!r}")
    ids, text = render_prompt(tokenizer, problem, system_prompt=config.system_prompt, template=config.template)
    return str(row["id"]) if row.get("id") is not None else text, ids


def _text(value: object, where: str, column: str) -> str:
    if not isinstance(value, str) or not value:
        raise DataError(f"{where}: column {column!r} is {str(value)[:80]!r}; it must be text, and not empty.")
    return value


def _label(value: object, where: str, column: str) -> float:
    if not isinstance(value, bool | int | float) or not math.isfinite(value) or not 0 <= value <= 1:
        raise DataError(f"{where}: column {column!r} holds {value!r}; a label is true, false or a number in [0, 1].")
    return float(value)


def _identity(example: Example) -> tuple[object, ...]:
    if isinstance(example, PreferencePair):
        ids = (example.prompt_ids, example.chosen_ids, example.rejected_ids)
    else:
        ids = (example.prompt_ids, example.response_ids)
    return example.problem, *(array.tobytes() for array in ids)


def _longest(example: Example) -> int:
    if isinstance(example, PreferencePair):
        return len(example.prompt_ids) + max(len(example.chosen_ids), len(example.rejected_ids))
    return len(example.prompt_ids) + len(example.response_ids)
