"""A distillation keeps the rules of the runs that it is made of, told in its own keys."""

from pathlib import Path

import pytest

from configs.derived import demanded_cpus, demanded_gpus
from configs.distill_parts import parts_of
from configs.load import ConfigError, load_run
from configs.run import DistillRun, GrpoRun, RejectionRun, SftRun

pytestmark = pytest.mark.unit
CONFIGS = Path(__file__).parents[2] / "configs"


def load(recipe: str, *overrides: str) -> DistillRun:
    run = load_run(CONFIGS / f"{recipe}.yaml", overrides, check_paths=False)
    assert isinstance(run, DistillRun)
    return run


@pytest.mark.parametrize(
    ("recipe", "kinds"),
    [
        ("distill_hard_cpu", [RejectionRun, SftRun]),
        ("distill_soft_cpu", [SftRun]),
        ("distill_on_policy_cpu", [GrpoRun]),
        ("sky_t1", [SftRun]),
        ("sky_t1_cpu", [SftRun]),
    ],
)
def test_the_parts_of_each_kind(recipe: str, kinds: list[type]):
    assert [type(part.run) for part in parts_of(load(recipe))] == kinds


def test_on_policy_is_grpo_with_the_teacher_as_reference():
    run = load("distill_on_policy_cpu", "distill.staleness.max_staleness=0")
    part = parts_of(run)[0].run
    assert isinstance(part, GrpoRun)
    assert (part.algorithm.advantage, part.algorithm.needs_reference) == ("reverse_kl", True)
    assert part.reference.path == run.distill.teacher.path
    assert (part.algorithm.staleness.max_staleness, part.name) == (0, run.name)


@pytest.mark.parametrize(
    ("recipe", "override", "said"),
    [
        ("distill_hard_cpu", "distill.teacher.rollout.top_k=5", "distill.teacher.rollout.top_k = 5"),
        ("distill_hard_cpu", "distill.teacher.prompts.split=held_out", "distill.teacher.prompts.split = held_out"),
        ("distill_hard_cpu", "distill.tuning.epochs=2", "distill.tuning.steps = 600"),
        ("distill_hard_cpu", "rewards=null", "rewards = null"),
        (
            "distill_soft_cpu",
            "distill.tuning.sequences_per_step=63 learner.ranks=2",
            "distill.tuning.sequences_per_step",
        ),
        ("distill_soft_cpu", "distill.teacher.tokens_per_microbatch=64", "distill.teacher.tokens_per_microbatch = 64"),
        ("distill_on_policy_cpu", "rewards=null", "rewards = null"),
        ("distill_on_policy_cpu", "distill.cold_start.0.epochs=1", "distill.cold_start.0.steps = 430"),
        ("distill_on_policy_cpu", "distill.teacher.tokens_per_microbatch=64", "distill.teacher.tokens_per_microbatch"),
        ("sky_t1_cpu", "rewards=null", "rewards = null"),
    ],
)
def test_broken_rules_are_told_in_the_distillations_own_keys(recipe: str, override: str, said: str):
    with pytest.raises(ConfigError) as caught:
        load(recipe, *override.split(" "))
    assert caught.value.problems[0].startswith(said), caught.value.problems


def test_only_one_half_of_a_hard_distillation_needs_room_at_a_time():
    assert demanded_cpus(load("distill_hard_cpu")) == 2
    assert demanded_cpus(load("distill_soft_cpu")) == 2
    assert demanded_cpus(load("distill_on_policy_cpu")) == 2
    assert demanded_gpus(load("sky_t1")) == 8
