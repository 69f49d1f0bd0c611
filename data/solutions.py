"""Solutions whose steps are to be labelled: read from a run's rollouts or from rows, split into steps, chosen.

Contract: sampled token ids are taken as they are; rows are encoded once, as supervised rows are. What is chosen hangs
on (data, config, seed) alone. The same solution of the same problem counts once.
"""

# pyarrow ships no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from configs.reward_model import RolloutSolutions, RowSolutions, StepLabelling
from data.chat import Tokenizer, check_problem, render_prompt, render_response
from data.errors import DataError
from data.records import Int32Array, Prompt
from data.rows import read_rows
from data.steps import StepSplitter
from data.store import read_rollouts, to_scored_groups


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """A whole response to a problem, and where its steps end."""

    prompt: Prompt
    response_ids: Int32Array  # [T]
    text: str
    step_ends: Int32Array  # [K] index of each step's last token; the last one is T - 1
    correct: bool | None  # as the source says; None when it does not
    origin: str  # which one of the source it is


def read_solutions(
    config: StepLabelling, tokenizer: Any, *, seed: int, max_prompt_tokens: int, max_completion_tokens: int
) -> list[Solution]:
    """Read, split, choose. Raises DataError for bad rows, for what is too long, and when nothing is left."""
    source, splitter = config.solutions, StepSplitter(tokenizer, config.separators)
    if isinstance(source, RolloutSolutions):
        found = _rollouts(Path(source.path), splitter)
        wrong_share = source.wrong_share
    else:
        found = _rows(source, tokenizer, splitter)
        wrong_share = None
    unique = {(s.prompt.prompt_id, s.response_ids.tobytes()): s for s in found}
    solutions = [solution for solution in unique.values() if len(solution.step_ends) >= config.min_steps]
    if not solutions:
        raise DataError(
            f"{source.path}: none of {len(unique)} solutions has {config.min_steps} steps or more with the separators "
            f"{list(config.separators)}; give the separators that the solutions are written with."
        )
    for solution in solutions:
        for what, tokens, limit in (
            ("prompt", len(solution.prompt.token_ids), max_prompt_tokens),
            ("response", len(solution.response_ids), max_completion_tokens),
        ):
            if tokens > limit:
                raise DataError(
                    f"{source.path}, {solution.origin}: its {what} has {tokens} tokens and there is room for {limit}; "
                    "raise policy.max_model_len or rollout.max_completion_tokens to what it was sampled with."
                )
    return choose_solutions(solutions, config.most_solutions, wrong_share, seed)


def choose_solutions(
    solutions: list[Solution], most: int | None, wrong_share: float | None, seed: int
) -> list[Solution]:
    """At most so many, in a shuffled order, with the share of wrong ones that is asked for (fewer when one kind runs
    out, never another share)."""
    shuffled = Random(f"solutions:{seed}").sample(solutions, len(solutions))
    most = len(shuffled) if most is None else min(most, len(shuffled))
    if wrong_share is None:
        return shuffled[:most]
    wrong = [solution for solution in shuffled if not solution.correct]
    right = [solution for solution in shuffled if solution.correct]
    if wrong_share > 0:
        most = min(most, int(len(wrong) / wrong_share))
    if wrong_share < 1:
        most = min(most, int(len(right) / (1 - wrong_share)))
    of_wrong = round(most * wrong_share)
    chosen = [*wrong[:of_wrong], *right[: most - of_wrong]]
    return Random(f"mixed solutions:{seed}").sample(chosen, len(chosen))


def _rollouts(folder: Path, splitter: StepSplitter) -> Iterator[Solution]:
    table = read_rollouts(folder / "rollouts")
    steps: dict[int, int] = dict(
        zip(table.column("group_id").to_pylist(), table.column("step").to_pylist(), strict=True)
    )
    for scored in to_scored_groups(table):
        group = scored.group
        for sample, (completion, verdict) in enumerate(zip(group.completions, scored.verdicts, strict=True)):
            if verdict.outcome == "ok" and len(completion.token_ids):
                yield Solution(
                    prompt=group.prompt,
                    response_ids=completion.token_ids,
                    text=completion.text,
                    step_ends=splitter.ends(completion.token_ids),
                    correct=verdict.correct,
                    origin=f"step {steps[group.group_id]}, group {group.group_id}, sample {sample}",
                )


def _rows(config: RowSolutions, tokenizer: Tokenizer, splitter: StepSplitter) -> Iterator[Solution]:
    columns = (config.prompt_column, config.response_column, *config.reference_columns)
    for number, row in enumerate(read_rows(config.path, columns, ("id",))):
        where = f"{config.path}, row {number}: column"
        problem = check_problem(row[config.prompt_column], f"{where} {config.prompt_column!r}")
        response = row[config.response_column]
        if not isinstance(response, str) or not response:
            raise DataError(
                f"{where} {config.response_column!r} is {str(response)[:80]!r}; it must be text, not empty."
            )
        ids, text = render_prompt(tokenizer, problem, system_prompt=config.system_prompt, template=config.template)
        reference = {column: row[column] for column in config.reference_columns}
        prompt = Prompt(str(row["id"]) if row.get("id") is not None else text, ids, text, reference)
        response_ids = render_response(tokenizer, response)
        yield Solution(prompt, response_ids, response, splitter.ends(response_ids), None, f"row {number}")
