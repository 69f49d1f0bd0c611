"""A pipeline is resolved and checked as a whole, before anything starts."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from configs.derived import shape_of
from configs.errors import ConfigError
from configs.load import RUNS, load_run
from configs.pipeline_load import Pipeline, load_config
from configs.pipeline_rules import PIPELINE_RULES
from configs.references import OUTPUT_FILES, OUTPUTS
from configs.run import GrpoRun, SftRun

pytestmark = pytest.mark.unit

FROM_SFT = {"type": "folder", "path": "${stages.sft.policy}", "dtype": "float32", "max_model_len": 128}


def tree(**changes: Any) -> dict[str, Any]:
    """Two stages: supervised from scratch, then the demo's reinforcement learning."""
    sft = {
        "method": "sft",
        "policy": {"type": "scratch", "vocabulary": "characters"},
        "stages": [
            {
                "traces": {"type": "addition"},
                "steps": 5,
                "sequences_per_step": 4,
                "optimizer": {"type": "adamw", "learning_rate": 0.004},
            }
        ],
    }
    stages = [
        {"name": "sft", "run": sft},
        {"name": "rl", "file": "configs/demo.yaml", "overrides": {"policy": dict(FROM_SFT), "cold_start": []}},
    ]
    return {"method": "pipeline", "name": "two", "seed": 7, "stages": stages} | changes


def load(value: dict[str, Any], tmp_path: Path, *overrides: str, check_paths: bool = True) -> Pipeline:
    file = tmp_path / "pipeline.yaml"
    file.write_text(yaml.safe_dump(value))
    loaded = load_config(file, overrides, check_paths=check_paths)
    assert isinstance(loaded, Pipeline)
    return loaded


def problems(value: dict[str, Any], tmp_path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as raised:
        load(value, tmp_path, *overrides)
    return "\n".join(raised.value.problems)


def test_stages_are_ordinary_runs_in_the_pipelines_folder(tmp_path: Path):
    pipeline = load(tree(), tmp_path)
    sft, rl = pipeline.stages
    assert isinstance(sft.run, SftRun)
    assert isinstance(rl.run, GrpoRun)
    assert [(stage.run.runs_folder, stage.run.name, stage.run.seed) for stage in pipeline.stages] == [
        ("runs/two", "sft", 7),
        ("runs/two", "rl", 7),
    ]
    assert rl.run.policy.model_dump()["path"] == "runs/two/sft/policy"
    assert [(link.place, link.stage, link.output) for link in rl.links] == [("policy.path", "sft", "policy")]


def test_the_pipelines_tracking_and_cluster_are_those_of_every_stage(tmp_path: Path):
    pipeline = load(tree(tracking={"experiment": "mine"}, cluster={"address": "local", "cpus": 3}), tmp_path)
    assert {stage.run.tracking.experiment for stage in pipeline.stages} == {"mine"}
    assert {stage.run.cluster.cpus for stage in pipeline.stages} == {3}


def test_a_stage_knows_the_sizes_of_the_policy_that_its_own_descends_from(tmp_path: Path):
    sft, rl = load(tree(), tmp_path).stages
    assert shape_of(rl.run).parameters is None  # the folder is not there yet
    assert shape_of(rl.origin).parameters == shape_of(sft.run).parameters


def test_rules_about_the_policy_hold_for_a_stage_that_inherits_it(tmp_path: Path):
    value = tree()
    value["stages"][1]["overrides"] |= {
        "prompts": {"type": "countdown"},
        "evaluation": None,
        "rewards": {"parts": [{"type": "countdown"}]},
    }
    assert "stage rl: policy.vocabulary = characters: prompts of type `countdown`" in problems(value, tmp_path)


def test_command_line_sets_keys_of_stages_by_name_and_of_the_pipeline(tmp_path: Path):
    pipeline = load(tree(), tmp_path, "stages.rl.rollout.group_size=16", "stages.sft.seed=3", "name=other")
    sft, rl = pipeline.stages
    assert isinstance(rl.run, GrpoRun)
    assert (rl.run.rollout.group_size, sft.run.seed, sft.run.runs_folder) == (16, 3, "runs/other")


def test_a_reference_may_stand_inside_a_list_and_inside_a_text(tmp_path: Path):
    value = tree()
    rewards = {"type": "plugin", "plugin": "my:reward", "options": {"folder": "${stages.sft.policy}/sub"}}
    value["stages"][1]["overrides"]["rewards.parts"] = [{"type": "exact_number"}, rewards]
    _, rl = load(value, tmp_path).stages
    assert isinstance(rl.run, GrpoRun)
    assert rl.run.rewards.parts[1].options["folder"] == "runs/two/sft/policy/sub"
    assert {link.place for link in rl.links} == {"policy.path", "rewards.parts.1.options.folder"}


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("${stages.stf.policy}", "there is no stage `stf`; did you mean `sft`?"),
        ("${stages.elsewhere.policy}", "there is no stage `elsewhere`; the stages are `sft`, `rl`"),
        ("${stages.rl.policy}", "a stage cannot use its own output"),
        ("${stages.sft.polcy}", "`method: sft` leaves `policy`, not `polcy`; did you mean `policy`?"),
        ("${stages.sft}", "a reference is written `${stages.NAME.OUTPUT}`"),
        ("${policy}", "a reference is written `${stages.NAME.OUTPUT}`"),
    ],
)
def test_a_reference_that_leads_nowhere_says_what_would(tmp_path: Path, reference: str, said: str):
    value = tree()
    value["stages"][1]["overrides"]["policy"]["path"] = reference
    assert f"stage rl: policy.path = {reference}: {said}" in problems(value, tmp_path)


def test_a_reference_to_a_later_stage_is_refused(tmp_path: Path):
    value = tree()
    value["stages"].reverse()
    assert "stage rl: policy.path = ${stages.sft.policy}: the stage `sft` comes later" in problems(value, tmp_path)


def test_a_policy_that_is_used_must_be_exported(tmp_path: Path):
    assert "stage sft: checkpoints.export = false: the stage rl uses its policy" in problems(
        tree(), tmp_path, "stages.sft.checkpoints.export=false"
    )


def test_problems_of_all_stages_come_together_with_their_stage(tmp_path: Path):
    text = problems(tree(), tmp_path, "stages.sft.stages.0.steps=many", "stages.rl.rollout.grop_size=4")
    assert 'stage sft: stages.0.steps = "many"' in text
    assert "stage rl: rollout.grop_size = 4: unknown key; did you mean `group_size`?" in text


def test_a_broken_stage_is_told_once_and_not_again_by_those_that_use_it(tmp_path: Path):
    text = problems(tree(), tmp_path, "stages.sft.stages.0.steps=many")
    assert text.count("stage ") == 1


def test_files_that_no_stage_makes_must_be_there(tmp_path: Path):
    text = problems(tree(), tmp_path, "stages.rl.prompts={type: rows, path: absent.jsonl, template: raw}")
    assert text.startswith("stage rl: prompts.path = absent.jsonl: no such file")


def test_an_unknown_stage_on_the_command_line_is_refused(tmp_path: Path):
    assert "there is no stage `sftt`; did you mean `sft`?" in problems(tree(), tmp_path, "stages.sftt.seed=3")


def test_a_stage_is_no_pipeline(tmp_path: Path):
    value = tree()
    value["stages"][0]["run"] = {"method": "pipeline"}
    assert "stage sft: method = pipeline: a stage is a single run" in problems(value, tmp_path)


BROKEN = [
    ("stage_names_are_unique", {"stages.1.name": "sft"}, "2 stages have the name sft; give each its own"),
    ("a_stage_has_one_config", {"stages.0.file": "configs/demo.yaml"}, "has both `file` and `run`"),
    ("a_stage_has_one_config", {"stages.1.file": None}, "has neither `file` nor `run`"),
    ("the_pipeline_owns_names_and_cluster", {"stages.0.run.name": "x"}, "set it on the pipeline, or remove it"),
    ("the_pipeline_owns_names_and_cluster", {"stages.1.overrides.cluster": {}}, "the pipeline's `cluster`"),
]


@pytest.mark.parametrize(("rule", "changes", "said"), BROKEN)
def test_each_rule_fires_and_says_what_to_do(tmp_path: Path, rule: str, changes: dict[str, Any], said: str):
    value = tree()
    for key, new in changes.items():
        node: Any = value
        *way, last = key.split(".")
        for part in way:
            node = node[int(part)] if part.isdecimal() else node[part]
        node[last] = new
    assert said in problems(value, tmp_path)


def test_every_rule_has_a_case_that_breaks_it():
    assert {rule for rule, _, _ in BROKEN} == {rule.__name__ for rule in PIPELINE_RULES}


def test_a_single_run_is_loaded_as_before():
    assert load_config("configs/demo.yaml", ["steps=3"]) == load_run("configs/demo.yaml", ["steps=3"])


def test_what_needs_a_single_run_refuses_a_pipeline(tmp_path: Path):
    file = tmp_path / "pipeline.yaml"
    file.write_text(yaml.safe_dump(tree()))
    with pytest.raises(ConfigError, match="a single run is needed here"):
        load_run(file)


def test_the_guide_lists_every_output_with_its_methods():
    page = Path("docs/pipeline.md").read_text()
    assert set(OUTPUT_FILES) == {name for names in OUTPUTS.values() for name in names}
    assert set(OUTPUTS) == {*RUNS} - {"pipeline"}
    for output in OUTPUT_FILES:
        methods = ", ".join(f"`{method}`" for method, leaves in OUTPUTS.items() if output in leaves)
        assert f"| `{output}` | {methods} |" in page
