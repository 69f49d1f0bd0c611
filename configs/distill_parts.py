"""A distillation taken apart into the runs that it is made of, so that their rules, loops and sizes hold for it too.

hard: a rejection run of the teacher, then a supervised run of the student. soft: a supervised run. on_policy: a GRPO
run whose reference model is the teacher. Pure; nothing in the distillation's own config is changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from configs.algorithm import Algorithm
from configs.distill import HardDistillation, OnPolicyDistillation, SamplingTeacher, SoftDistillation
from configs.policy import FolderPolicy
from configs.prompts import RowTraces, SftStage, Supervision, Traces
from configs.run import AnyRun, DistillRun, GrpoRun, RejectionRun, SftRun

ROWS_FILE = "rows.parquet"


@dataclass(frozen=True, slots=True)
class Part:
    """One of the runs, and where its keys stand in the distillation's config."""

    run: AnyRun
    places: Mapping[str, str]  # key of the part -> key of the distillation

    def place(self, problem: str) -> str:
        """A problem of the part, as one of the distillation."""
        for key in sorted(self.places, key=len, reverse=True):
            if problem.startswith(key) and not problem[len(key) : len(key) + 1].isidentifier():
                return self.places[key] + problem[len(key) :]
        return problem


def parts_of(run: DistillRun) -> list[Part]:
    """The runs, in the order in which they go."""
    distill = run.distill
    match distill:
        case HardDistillation():
            tuning = Part(student_run(run, f"{run.runs_folder}/{run.name}/{ROWS_FILE}"), {"stages.0": "distill.tuning"})
            teacher = teacher_run(run)
            places = {"policy": "distill.teacher", "prompts": "distill.teacher.prompts"}
            places |= {"rollout": "distill.teacher.rollout", "rejection": "distill.rejection"}
            return [tuning] if teacher is None else [Part(teacher, places), tuning]
        case SoftDistillation():
            places = {"stages.0": "distill.tuning", "stages.0.traces": "distill.traces"}
            return [Part(student_run(run, ""), places)]
        case OnPolicyDistillation():
            if run.rollout is None or run.rewards is None:
                return []
            own = ("prompts", "prompts_per_step", "steps", "optimizer", "schedule", "cold_start")
            places = {key: f"distill.{key}" for key in own} | {"reference": "distill.teacher"}
            places |= {f"algorithm.{key}": f"distill.{key}" for key in ("loss", "off_policy", "staleness")}
            return [Part(policy_run(run, distill), places)]


def teacher_run(run: DistillRun) -> RejectionRun | None:
    """The teacher's half of a hard distillation; None when its answers are recorded."""
    distill = run.distill
    if not isinstance(distill, HardDistillation) or not isinstance(distill.teacher, SamplingTeacher):
        return None
    teacher = distill.teacher
    shared = _shared(run)
    shared["policy"] = FolderPolicy(path=teacher.path, dtype=teacher.dtype, max_model_len=run.policy.max_model_len)
    return RejectionRun(
        method="rejection",
        **shared,
        prompts=teacher.prompts,
        rejection=distill.rejection,
        rollout=teacher.rollout,
        rewards=run.rewards,
    )


def student_run(run: DistillRun, rows: str) -> SftRun:
    """The student's half of a hard distillation, on the file `rows`, or a soft one without what the teacher adds."""
    distill = run.distill
    assert not isinstance(distill, OnPolicyDistillation)
    traces: Traces = (
        distill.traces
        if isinstance(distill, SoftDistillation)
        else RowTraces(
            path=rows, prompt_column="prompt_token_ids", response_column="response_token_ids", template="raw"
        )
    )
    settings = {name: getattr(distill.tuning, name) for name in Supervision.model_fields}
    return SftRun(
        method="sft",
        **_shared(run),
        stages=(SftStage(traces=traces, **settings),),
        rollout=run.rollout,
        rewards=run.rewards,
        evaluation=run.evaluation,
        weight_transfer=run.weight_transfer,
    )


def policy_run(run: DistillRun, distill: OnPolicyDistillation) -> GrpoRun:
    """GRPO whose advantage is the reverse KL to the teacher."""
    assert run.rollout is not None
    assert run.rewards is not None
    return GrpoRun(
        method="grpo",
        **_shared(run),
        cold_start=distill.cold_start,
        prompts=distill.prompts,
        prompts_per_step=distill.prompts_per_step,
        steps=distill.steps,
        optimizer=distill.optimizer,
        schedule=distill.schedule,
        rollout=run.rollout,
        rewards=run.rewards,
        algorithm=Algorithm(
            advantage="reverse_kl",
            loss=distill.loss,
            aggregation=distill.aggregation,
            off_policy=distill.off_policy,
            staleness=distill.staleness,
        ),
        reference=distill.teacher,
        weight_transfer=run.weight_transfer,
        evaluation=run.evaluation,
    )


def _shared(run: DistillRun) -> dict[str, Any]:
    names = ("name", "runs_folder", "seed", "policy", "learner", "checkpoints", "tracking", "cluster")
    return {name: getattr(run, name) for name in names}
