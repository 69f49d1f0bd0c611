"""The rules across fields that only STaR's iterations have."""

import re
from collections.abc import Iterator

from configs.prompts import RowPrompts
from configs.run import AnyRun, StarRun

Problems = Iterator[str]


def tuning_is_shared_evenly(run: AnyRun) -> Problems:
    """The rationales of an optimizer step are a multiple of learner.ranks."""
    if not isinstance(run, StarRun):
        return
    sequences, ranks = run.star.tuning.sequences_per_step, run.learner.ranks
    if sequences % ranks:
        yield (
            f"star.tuning.sequences_per_step = {sequences}: not divisible by learner.ranks {ranks}, so ranks would "
            f"idle; use a multiple, such as {-(-sequences // ranks) * ranks}"
        )


def star_evaluates_and_saves_by_iteration(run: AnyRun) -> Problems:
    """STaR evaluates and saves after every iteration, so there is no interval in steps; patience needs evaluation."""
    if not isinstance(run, StarRun):
        return
    intervals = {"evaluation": run.evaluation.every_steps if run.evaluation else 0}
    intervals["checkpoints"] = run.checkpoints.every_steps
    for section, steps in intervals.items():
        if steps:
            yield f"{section}.every_steps = {steps}: `method: star` does it after every iteration; remove the key"
    if run.star.patience and run.evaluation is None:
        yield (
            f"star.patience = {run.star.patience}: without `evaluation` nobody can tell whether accuracy still rises; "
            "add `evaluation`, or set it to 0"
        )


def hints_can_be_given(run: AnyRun) -> Problems:
    """Rationalization needs a way to show the answer: rows have a `hint` with `{problem}` and a reference column."""
    if not isinstance(run, StarRun) or not isinstance(run.prompts, RowPrompts):
        return
    hint, columns = run.prompts.hint, run.prompts.reference_columns
    if hint is None:
        if run.star.rationalization:
            yield (
                "star.rationalization: it shows the answer, and prompts.hint does not say how; write one, such as "
                f"`{{problem}} (The answer is {{{columns[0] if columns else 'answer'}}}. Explain.)`, or set it to null"
            )
        return
    names = re.findall(r"\{(\w+)\}", hint)
    if "problem" not in names or not set(names) & set(columns):
        yield (
            f"prompts.hint = {hint}: it must show the problem and the answer; write `{{problem}}` and one of "
            f"{', '.join(f'`{{{column}}}`' for column in columns)}"
        )
