"""The rules across fields of supervised stages and of rejection sampling."""

from collections.abc import Iterator

from configs.prompts import RowTraces, Supervision, Traces
from configs.run import AnyRun, RejectionRun, plain_parts, stages_of

Problems = Iterator[str]


def supervision_has_one_length(run: AnyRun) -> Problems:
    """A supervised stage has `steps` or `epochs`; epochs, and a held-out share, are of sources that are files."""
    for name, stage in stages_of(run):
        yield from length_problems(name, stage)
        if stage.epochs is not None and stage.steps is None and not _is_of_files(stage.traces):
            yield (
                f"{name}.epochs = {stage.epochs:g}: a generator never ends, so there is no pass over it; "
                "give `steps`, or `traces` of type `rows`"
            )
        if stage.held_out and stage.held_out.share and not _is_of_files(stage.traces):
            yield (
                f"{name}.held_out.share = {stage.held_out.share:g}: it is a share of a file's prompts, and `traces` "
                "are generated; give `held_out.traces` instead"
            )


def length_problems(name: str, stage: Supervision) -> Problems:
    """What is wrong with a stage whatever its source."""
    if (stage.steps is None) == (stage.epochs is None):
        given = "neither is" if stage.steps is None else "both are"
        yield (
            f"{name}.steps = {stage.steps or 'null'}: one of `steps` and `epochs` says how long, and {given} given; "
            "give one"
        )
    held_out = stage.held_out
    if held_out and (held_out.share is None) == (held_out.traces is None):
        given = "neither is" if held_out.share is None else "both are"
        yield (
            f"{name}.held_out: one of `share` and `traces` says which pairs are not trained on, and {given} given; "
            "give one"
        )


def rejection_can_judge(run: AnyRun) -> Problems:
    """Keeping what is correct needs rewards that say what is."""
    if isinstance(run, RejectionRun) and run.rewards is None and run.rejection.accept == "correct":
        yield (
            "rewards = null: `rejection.accept: correct` keeps what the rewards call correct; add a `rewards` section, "
            "or set rejection.accept to `all`"
        )


def required_parts_are_in_the_rubric(run: AnyRun) -> Problems:
    """What `rejection.require` asks a least score of is a part of the rewards."""
    if not isinstance(run, RejectionRun):
        return
    parts = [part.plugin if part.plugin else part.type for part in (run.rewards.parts if run.rewards else ())]
    for name, least in run.rejection.require.items():
        if name not in parts:
            yield (
                f"rejection.require.{name} = {least:g}: the rewards have no part `{name}`; their parts are "
                f"{', '.join(parts) or 'none'}: add it there, or remove the key"
            )


def _is_of_files(traces: Traces) -> bool:
    return all(isinstance(part, RowTraces) for part in plain_parts(traces))
