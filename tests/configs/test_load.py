"""Loading: overrides, and errors in the words that the user wrote."""

import pickle
from pathlib import Path

import pytest

from configs.load import ConfigError, dump_run, load_run
from configs.run import GrpoRun

pytestmark = pytest.mark.unit
METHODS = "`grpo`, `sft`, `star`, `reward_model`, `step_labels`, `rejection`, `distill`, `pipeline`"
DEMO = Path(__file__).parents[2] / "configs" / "demo.yaml"


def problems(*overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_run(DEMO, overrides)
    return list(caught.value.problems)


def demo(*overrides: str) -> GrpoRun:
    run = load_run(DEMO, overrides)
    assert isinstance(run, GrpoRun)
    return run


def written(folder: Path, text: str) -> Path:
    file = folder / "run.yaml"
    file.write_text(text)
    return file


def test_overrides_set_values_in_sections_and_lists():
    run = demo("rollout.group_size=4", "cold_start.1.steps=5", "optimizer.learning_rate=1e-5")
    assert (run.rollout.group_size, run.cold_start[1].steps, run.optimizer.learning_rate) == (4, 5, 1e-5)


def test_overrides_reach_keys_and_sections_that_the_file_leaves_out():
    run = demo("tracking.sample_rows=3", "learner.offload=optimizer", "algorithm.filters.zero_variance=drop")
    assert (run.tracking.sample_rows, run.learner.offload, run.algorithm.filters.zero_variance) == (
        3,
        "optimizer",
        "drop",
    )


def test_an_override_replaces_a_whole_section():
    run = demo("optimizer={type: muon, learning_rate: 0.03, adam_learning_rate: 6e-3}", "evaluation=null")
    assert run.optimizer.type == "muon"
    assert run.evaluation is None


def test_the_default_loss_can_be_changed_without_naming_it(tmp_path: Path):
    text = DEMO.read_text().replace("loss: {type: ppo_clip, clip_low: 0.2, clip_high: 0.2}", "loss: {clip_high: 0.28}")
    run = load_run(written(tmp_path, text))
    assert isinstance(run, GrpoRun)
    assert (run.algorithm.loss.type, run.algorithm.loss.clip_high) == ("ppo_clip", 0.28)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("rollout.group_size", "expected `key.sub=value`"),
        (".=3", "expected `key.sub=value`"),
        (
            "cold_start.7.steps=1",
            "`cold_start` is a list and has no item `7`; its items are cold_start.0 to cold_start.1",
        ),
        ("cold_start.first.steps=1", "no item `first`"),
        ("name.x=1", '`name` is "demo"; it has no key `x`'),
        ("rollout.group_size=[", "not valid YAML: did not find expected node content"),
    ],
)
def test_a_bad_override_says_what_is_wrong_with_it(override: str, said: str):
    assert said in problems(override)[0]


def test_an_unknown_key_is_answered_with_the_nearest_key_of_its_section():
    assert problems("rollout.grop_size=8") == ["rollout.grop_size = 8: unknown key; did you mean `group_size`?"]


def test_a_key_in_the_wrong_section_is_answered_with_its_place():
    assert problems("temperature=0.5")[0].endswith("did you mean `rollout.temperature`, `evaluation.temperature`?")


def test_a_key_like_no_other_is_answered_with_the_keys_there():
    assert problems("cluster.qqq=1") == [
        "cluster.qqq = 1: unknown key; the keys here are `address`, `wait_for_resources_s`, `cpus`, "
        "`object_store_mib`, `dashboard`"
    ]


def test_keys_of_the_other_method_are_named_as_such():
    assert "prompts_per_step = 16: unknown key; it is a key of `method: grpo`" in problems("method=sft")
    assert "prompts_per_step = 16: unknown key; it is a key of `method: grpo`" in problems("method=star")
    assert problems("star={}") == ["star = {}: unknown key; it is a key of `method: star`"]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("steps=fifty", 'steps = "fifty", which is text: expected a whole number > 0'),
        ("steps=yes", "steps = true, which is true/false: expected a whole number > 0"),
        ("steps=2.5", "steps = 2.5, which is a number: expected a whole number > 0"),
        ("steps='50'", 'steps = "50", which is text: expected a whole number > 0'),
        ("steps=0", "steps = 0, which is a whole number: expected a whole number > 0"),
        ("name=7", "name = 7, which is a whole number: expected text like `^[A-Za-z0-9][A-Za-z0-9._-]*$`"),
        (
            "name=2024-01-01x y",
            'name = "2024-01-01x y", which is text: expected text like `^[A-Za-z0-9][A-Za-z0-9._-]*$`',
        ),
        ("optimizer.learning_rate=.nan", "optimizer.learning_rate = NaN: expected a finite number"),
        ("learner=5", "learner = 5, which is a whole number: expected a section"),
        ("learner.zero_stage=4", "learner.zero_stage = 4, which is a whole number: expected a whole number >= 0, <= 3"),
        ("rollout.kv_cache_gib=0", "rollout.kv_cache_gib = 0, which is a whole number: expected a number > 0, or null"),
        ("optimizer.betas=[0.9]", "optimizer.betas.1: missing; expected a number"),
        ("cold_start.0.steps=x", 'cold_start.0.steps = "x", which is text: expected a whole number > 0'),
        ("cold_start.0.traces.worked_share=2", "cold_start.0.traces.worked_share = 2, which is a whole number: "),
        ("policy.layers=no", "policy.layers = false, which is true/false: expected a whole number > 0"),
        ("rewards.parts=[]", "rewards.parts = [], which is a list: expected a list of sections (at least 1)"),
        (
            "prompts.type=additon",
            'prompts.type = "additon": expected one of `addition`, `countdown`, `programs`, `reasoning_gym`, `rows`; '
            "did you mean",
        ),
        ("optimizer={learning_rate: 1}", "optimizer.type: missing; expected one of `adamw`, `muon`"),
        ("method=gpro", f'method = "gpro": expected one of {METHODS}; did you mean `grpo`?'),
        (
            "policy.dtype=float23",
            'policy.dtype = "float23": expected one of `float32`, `bfloat16`; did you mean `float32`?',
        ),
    ],
)
def test_a_wrong_value_is_shown_with_its_path_and_what_was_expected(override: str, said: str):
    assert problems(override)[0].startswith(said)


def test_dates_are_text():
    assert demo("name=2024-01-01").name == "2024-01-01"


def test_all_problems_of_a_file_come_at_once():
    assert len(problems("steps=x", "rollout.group_size=0", "zz_top=1", "cold_start.1.optimizer.type=sgd")) == 4


def test_all_broken_rules_come_at_once():
    assert len(problems("rollout.top_p=0.9", "rollout.top_k=5", "algorithm.kl.type=k3", "cold_start=[]")) == 3


def test_missing_keys_are_named(tmp_path: Path):
    with pytest.raises(ConfigError) as caught:
        load_run(written(tmp_path, "method: sft\nname: x\npolicy: {type: folder, path: m}\n"))
    assert caught.value.problems == (
        "policy.max_model_len: missing; expected a whole number > 0",
        "stages: missing; expected a list of sections (at least 1)",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [a\nb: 1\n", "line 2, column 2: not valid YAML"),
        ("a: 1\nb: 2\na: 3\n", "line 3, column 1: not valid YAML: key `a` stands twice"),
        ("", "expected a mapping of keys to values, found empty (null)"),
        ("- a\n", "expected a mapping of keys to values, found a list"),
        ("name: x\n", f"method: missing; expected one of {METHODS}"),
        ("a: !!python/object/apply:os.system [ls]\n", "could not determine a constructor"),
        ("[a]: 1\n", "line 1, column 1: not valid YAML: found unhashable key"),
        ("a: \x07\n", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_config_says_where_and_why(tmp_path: Path, text: str, said: str):
    with pytest.raises(ConfigError, match=r"run\.yaml") as caught:
        load_run(written(tmp_path, text))
    assert said in caught.value.problems[0]


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"nope\.yaml: 1 problem\n  cannot be read: No such file"):
        load_run(tmp_path / "nope.yaml")


def test_merge_keys_and_anchors_work(tmp_path: Path):
    text = DEMO.read_text() + "tracking: {<<: {sample_rows: 1, experiment: a}, experiment: b}\n"
    run = load_run(written(tmp_path, text))
    assert (run.tracking.sample_rows, run.tracking.experiment) == (1, "b")


def test_the_dump_has_every_default_and_reads_back_to_the_same_run(tmp_path: Path):
    run = demo("algorithm.loss={type: gspo}", "rollout.engine_options={block_size: 32}")
    text = dump_run(run)
    assert "breaker_share: 0.5" in text
    assert load_run(written(tmp_path, text)) == run


def test_the_error_is_a_value_error_and_survives_pickling():
    error = ConfigError("a.yaml", ["one", "two"])
    assert isinstance(error, ValueError)
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == "a.yaml: 2 problems\n  one\n  two"
