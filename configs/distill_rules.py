"""The rules across fields that only distillation has; those of its parts come with them (configs/distill_parts.py)."""

from collections.abc import Iterator

from configs.distill import HardDistillation, OnPolicyDistillation, RecordedTeacher, SoftDistillation
from configs.run import DistillRun

Problems = Iterator[str]


def own_problems(run: DistillRun) -> Problems:
    """What the parts cannot say."""
    distill = run.distill
    if isinstance(distill, OnPolicyDistillation):
        for key, section in (("rollout", run.rollout), ("rewards", run.rewards)):
            if section is None:
                yield (
                    f"{key} = null: `distill.type: on_policy` samples with the student's engines and shows what the "
                    f"rewards say, though nothing is trained on them; add a `{key}` section"
                )
    if (
        isinstance(distill, HardDistillation)
        and isinstance(distill.teacher, RecordedTeacher)
        and distill.rejection.accept == "correct"
        and run.rewards is None
    ):
        yield (
            "rewards = null: `distill.rejection.accept: correct` keeps what the rewards call correct; add a "
            "`rewards` section, or set distill.rejection.accept to `all`"
        )
    if isinstance(distill, SoftDistillation) and distill.teacher.tokens_per_microbatch < run.policy.max_model_len:
        yield (
            f"distill.teacher.tokens_per_microbatch = {distill.teacher.tokens_per_microbatch}: one sequence may have "
            f"policy.max_model_len {run.policy.max_model_len} tokens; raise it to at least that"
        )
