"""Each rule fires on a config that breaks it, and names the value, the rule and the remedy."""

from pathlib import Path

import pytest

from configs.load import ConfigError, load_run
from configs.rules import RULES
from tests.configs.reward_cases import BROKEN_REWARDS
from tests.configs.sandbox_cases import BROKEN_SANDBOX
from tests.configs.score_cases import BROKEN_SCORES
from tests.configs.star_cases import BROKEN_STAR
from tests.configs.supervision_cases import BROKEN_SUPERVISION

pytestmark = pytest.mark.unit
CONFIGS = Path(__file__).parents[2] / "configs"

# rule, recipe, overrides, then what its message must hold: the value, the rule, the remedy
BROKEN = [
    *BROKEN_REWARDS,
    *BROKEN_SANDBOX,
    *BROKEN_STAR,
    *BROKEN_SCORES,
    *BROKEN_SUPERVISION,
    ("sampling_is_not_truncated", "demo", ["rollout.top_p=0.9"], "rollout.top_p = 0.9", "renormalise", "remove"),
    ("sampling_is_not_truncated", "demo", ["rollout.top_k=20"], "rollout.top_k = 20", "renormalise", "off is 0"),
    ("sampling_is_not_truncated", "demo", ["rollout.min_p=0.1"], "rollout.min_p = 0.1", "renormalise", "off is 0"),
    ("groups_have_a_baseline", "demo", ["rollout.group_size=1"], "rollout.group_size = 1", "`dr_grpo`", "at least 2"),
    (
        "groups_have_a_baseline",
        "demo",
        ["algorithm.filters.min_valid_completions=9"],
        "algorithm.filters.min_valid_completions = 9",
        "no group of rollout.group_size 8",
        "use 8 or less",
    ),
    (
        "off_policy_range_is_not_empty",
        "demo",
        ["algorithm.off_policy={type: icepop, minimum: 3}"],
        "algorithm.off_policy.minimum = 3",
        "maximum is 2",
        "below",
    ),
    (
        "kl_has_type_and_coefficient",
        "demo",
        ["algorithm.kl.coefficient=0.01"],
        "algorithm.kl.coefficient = 0.01",
        "no effect",
        "type to k3",
    ),
    (
        "kl_has_type_and_coefficient",
        "demo",
        ["algorithm.kl.type=k3", "cold_start=[]"],
        "algorithm.kl.type = k3",
        "times 0",
        "above 0",
    ),
    (
        "completion_leaves_room_for_the_prompt",
        "demo",
        ["rollout.max_completion_tokens=128"],
        "rollout.max_completion_tokens = 128",
        "share policy.max_model_len 128",
        "below 128",
    ),
    (
        "completion_leaves_room_for_the_prompt",
        "demo",
        ["rewards.overlong_buffer_tokens=64"],
        "rewards.overlong_buffer_tokens = 64",
        "max_completion_tokens is 64",
        "lower it",
    ),
    (
        "sequence_fits_a_microbatch",
        "demo",
        ["learner.tokens_per_microbatch=127"],
        "learner.tokens_per_microbatch = 127",
        "policy.max_model_len 128",
        "at least 128",
    ),
    (
        "sequence_fits_a_microbatch",
        "demo",
        ["algorithm.kl={type: k3, coefficient: 0.1}", "reference.tokens_per_microbatch=100", "cold_start=[]"],
        "reference.tokens_per_microbatch = 100",
        "never split",
        "at least 128",
    ),
    (
        "ranks_share_a_step_evenly",
        "demo",
        ["learner.ranks=3", "cold_start=[]"],
        "prompts_per_step = 16",
        "128 sequences per step, not divisible by learner.ranks 3",
        "prompts_per_step 18",
    ),
    (
        "ranks_share_a_step_evenly",
        "demo",
        ["learner.ranks=2", "cold_start.1.sequences_per_step=63"],
        "cold_start.1.sequences_per_step = 63",
        "not divisible by learner.ranks 2",
        "such as 64",
    ),
    ("scratch_heads_fit", "demo", ["policy.kv_heads=3"], "policy.kv_heads = 3", "divide policy.heads 4", "1, 2, 4"),
    ("scratch_heads_fit", "demo", ["policy.head_size=24"], "policy.head_size = 24", "kernels", "use one of these"),
    (
        "scratch_heads_fit",
        "demo",
        ["policy.head_size=33", "rollout.gpus_per_worker=1"],
        "policy.head_size = 33",
        "rotary",
        "even",
    ),
    (
        "scratch_heads_fit",
        "demo",
        ["rollout.tensor_parallel=3"],
        "rollout.tensor_parallel = 3",
        "divide policy.heads 4",
        "divisor",
    ),
    (
        "vocabulary_fits_the_task",
        "demo",
        ["policy.vocabulary=countdown", "cold_start=[]", "evaluation=null"],
        "policy.vocabulary = countdown",
        "prompts of type `addition`",
        "set policy.vocabulary to `characters`",
    ),
    (
        "vocabulary_fits_the_task",
        "demo",
        ["evaluation.prompts={type: rows, path: a.jsonl}"],
        "evaluation.prompts.template = chat",
        "no chat template",
        "`raw`",
    ),
    ("splits_do_not_overlap", "demo", ["prompts.split=held_out"], "prompts.split = held_out", "must not", "`train`"),
    (
        "splits_do_not_overlap",
        "countdown_cpu",
        ["evaluation.prompts.split=train"],
        "evaluation.prompts.split = train",
        "trained on",
        "`held_out`",
    ),
    (
        "row_files_are_parquet_or_jsonl",
        "gsm8k_1gpu",
        ["prompts.path=inputs/train.csv"],
        "prompts.path = inputs/train.csv",
        "no file of rows",
        ".parquet or .jsonl",
    ),
    (
        "evaluation_has_what_it_needs",
        "demo",
        ["evaluation.samples=4", "evaluation.temperature=0"],
        "evaluation.samples = 4",
        "temperature 0",
        "use 1",
    ),
    (
        "vocabulary_fits_the_task",
        "demo",
        ["prompts={type: reasoning_gym, task: leg_counting}"],
        "prompts.type = reasoning_gym",
        "in words",
        "`type: folder`",
    ),
    (
        "gpu_counts_are_whole",
        "math_64gpu_zero3",
        ["rollout.gpus_per_worker=1"],
        "rollout.gpus_per_worker = 1",
        "tensor_parallel 2",
        "use 2",
    ),
    (
        "gpu_counts_are_whole",
        "math_8gpu",
        ["learner.gpus_per_rank=0.5"],
        "learner.gpus_per_rank = 0.5",
        "one GPU or none",
        "use 1",
    ),
    (
        "transfer_backend_fits_the_gpus",
        "demo",
        ["weight_transfer.backend=nccl"],
        "weight_transfer.backend = nccl",
        "between GPUs",
        "`host`",
    ),
    (
        "transfer_backend_fits_the_gpus",
        "gsm8k_1gpu",
        ["rollout.gpus_per_worker=0.6"],
        "rollout.gpus_per_worker = 0.6",
        "together at most 1",
        "0.5 and 0.5",
    ),
    (
        "transfer_backend_fits_the_gpus",
        "gsm8k_1gpu",
        ["learner.ranks=2"],
        "learner.ranks = 2",
        "same GPU",
        "`nccl`",
    ),
    (
        "transfer_backend_fits_the_gpus",
        "gsm8k_1gpu",
        ["rollout.gpu_memory_utilization=0.9"],
        "rollout.gpu_memory_utilization = 0.9",
        "learner's memory",
        "use 0.5 or less",
    ),
    (
        "zero_stage_fits",
        "demo",
        ["learner.offload=optimizer_and_parameters"],
        "learner.offload = optimizer_and_parameters",
        "needs learner.zero_stage 3",
        "raise the stage",
    ),
    (
        "zero_stage_fits",
        "countdown_cpu",
        ["learner.zero_stage=3"],
        "cold_start.0.optimizer.type = muon",
        "whole matrices",
        "zero_stage 2 or less",
    ),
    (
        "options_do_not_override_ours",
        "demo",
        ["rollout.engine_options.logprobs_mode=raw_logprobs"],
        "rollout.engine_options.logprobs_mode = raw_logprobs",
        "override",
        "remove it",
    ),
    (
        "options_do_not_override_ours",
        "demo",
        ["learner.deepspeed.gradient_clipping=5"],
        "learner.deepspeed.gradient_clipping = 5",
        "override",
        "set learner.gradient_clip",
    ),
    (
        "reference_is_the_policy_that_training_starts_from",
        "demo",
        ["algorithm.kl={type: k3, coefficient: 0.001}"],
        "algorithm.kl.type = k3",
        "`cold_start` leaves behind",
        "run of its own (`method: sft`)",
    ),
    (
        "node_labels_are_selectors",
        "demo",
        ["rollout.node_labels.zone='=a'"],
        "rollout.node_labels.zone = =a",
        "`!in(a, b)`",
        "write one of these",
    ),
    (
        "node_labels_are_selectors",
        "demo",
        ["reference.node_labels.zone=in()"],
        "reference.node_labels.zone = in()",
        "`!in(a, b)`",
        "write one of these",
    ),
    (
        "node_labels_are_selectors",
        "demo",
        ["rewards.node_labels={'my zone': a}"],
        "rewards.node_labels = {my zone: a}",
        "no label name",
        "`ray start --labels`",
    ),
]


def problems(recipe: str, overrides: list[str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_run(CONFIGS / f"{recipe}.yaml", overrides, check_paths=False)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("recipe", "overrides", "said"), [(b[1], b[2], b[3:]) for b in BROKEN], ids=[f"{b[0]}-{b[2][0]}" for b in BROKEN]
)
def test_a_broken_rule_names_value_rule_and_remedy(recipe: str, overrides: list[str], said: tuple[str, ...]):
    found = problems(recipe, overrides)
    assert len(found) == 1
    value, rule, remedy = said
    assert found[0].startswith(f"{value}: ")
    assert rule in found[0]
    assert remedy in found[0].rsplit(";", 1)[1]


def test_every_rule_is_broken_by_some_case_here():
    assert {rule.__name__ for rule in RULES} == {broken[0] for broken in BROKEN}


@pytest.mark.parametrize(
    "overrides",
    [
        ["algorithm.kl={type: k3, coefficient: 0.001}", "cold_start=[]"],
        ["algorithm.staleness={max_staleness: 0, stale_tokens: drop}"],
        ["learner.ranks=2", "cluster.cpus=3"],
        ["rollout.engine_options.block_size=32", "learner.deepspeed.wall_clock_breakdown=true"],
        ["rewards.parts.1={type: plugin, plugin: my.rewards:score}"],
        ["evaluation.temperature=0"],
        ["learner={zero_stage: 3, offload: optimizer_and_parameters}"],
    ],
)
def test_configs_that_break_no_rule_are_accepted(overrides: list[str]):
    load_run(CONFIGS / "demo.yaml", overrides)


def sft(tmp_path: Path, *lines: str) -> Path:
    file = tmp_path / "sft.yaml"
    stage = "{traces: {type: addition}, steps: 5, sequences_per_step: 7, optimizer: {type: adamw, learning_rate: 1e-3}}"
    head = ["method: sft", "name: s", "policy: {type: scratch, vocabulary: characters}", f"stages: [{stage}]"]
    file.write_text("\n".join([*head, *lines]))
    return file


def test_sft_with_evaluation_needs_rollout_and_rewards(tmp_path: Path):
    file = sft(tmp_path, "evaluation: {prompts: {type: addition, split: held_out}}")
    with pytest.raises(ConfigError) as caught:
        load_run(file)
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["rollout = null", "rewards = null"]
    assert "add a `rollout` section or remove `evaluation`" in caught.value.problems[0]


def test_sft_stages_are_divisible_by_ranks(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"stages\.0\.sequences_per_step = 7: not divisible by learner\.ranks 2"):
        load_run(sft(tmp_path), ["learner.ranks=2"])
