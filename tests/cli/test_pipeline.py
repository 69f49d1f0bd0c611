"""`rayzero train` with a pipeline, as far as it goes without Ray: what is refused, and how stages look to the loop."""

import sys
from pathlib import Path

import pytest

from cli.main import main
from cli.pipeline import check_stages, plan
from configs.errors import ConfigError
from configs.pipeline_load import Pipeline, load_config

pytestmark = pytest.mark.unit


def load(*overrides: str) -> Pipeline:
    pipeline = load_config("configs/r1_pipeline_cpu.yaml", overrides)
    assert isinstance(pipeline, Pipeline)
    return pipeline


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr("cli.main.set_environment", lambda *, loopback: None)  # would outlive the test
    monkeypatch.setattr("faulthandler.enable", lambda: None)  # needs a standard error that is a file

    def call(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["rayzero", "train", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        return capsys.readouterr().err

    return call


def test_every_stage_of_the_small_r1_pipeline_passes_the_checks_before_ray():
    check_stages(load())


def test_a_stage_whose_data_is_bad_is_named_before_anything_runs():
    pipeline = load("stages.zero.policy.max_model_len=70", "stages.preferences.held_out_share=0.9999999")
    with pytest.raises(ConfigError) as raised:
        check_stages(pipeline)
    assert "stage zero: the prompt" in str(raised.value)
    assert "stage preferences: configs/r1_cpu/preferences.jsonl: no training example is left" in str(raised.value)


def test_every_file_that_a_stage_reads_is_an_input_and_what_it_leaves_is_the_next_ones():
    stages = {stage.name: plan(stage) for stage in load("runs_folder=/elsewhere").stages}
    home = Path("/elsewhere/r1_cpu")
    assert stages["base"].inputs == {
        f"stages.{n}.traces.sources.1.traces.path": Path("configs/r1_cpu/facts.jsonl").absolute() for n in (0, 1)
    }
    assert stages["general"].inputs == {
        "policy.path": home / "base" / "policy",
        "stages.0.traces.sources.0.traces.path": home / "reasoning_rows" / "rows.parquet",
        "stages.0.traces.sources.1.traces.path": home / "knowledge_rows" / "rows.parquet",
    }
    assert stages["final"].inputs["rewards.parts.3.options.path"] == home / "preferences" / "reward_model"
    assert stages["reasoning_rows"].outputs == {"rows": home / "reasoning_rows" / "rows.parquet"}
    left = {path for stage in stages.values() for path in stage.outputs.values()}
    taken = {path for stage in stages.values() for path in stage.inputs.values() if home in path.parents}
    assert taken <= left


def test_where_a_stage_runs_and_is_tracked_does_not_decide_its_result():
    here, there = (plan(load(*o).stages[0]) for o in ((), ("cluster.cpus=4", "tracking.experiment=x", "name=other")))
    assert here.config == there.config


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("configs/demo.yaml", "--from", "zero"), "--from is for pipelines"),
        (("configs/r1_zero_cpu.yaml", "--from", "zero", "--resume"), "exclude each other"),
        (("configs/r1_zero_cpu.yaml", "--from", "zeor"), "there is no stage zeor; the stages are base, zero"),
        (("configs/r1_zero_cpu.yaml", "--only", "zero"), "--only zero: the stage base, which comes first, is not done"),
        (("configs/r1_zero_cpu.yaml", "stages.zero.stepps=3"), "stage zero: stepps = 3: unknown key; did you mean"),
    ],
)
def test_mistakes_in_the_call_are_told_before_ray_starts(refused, tmp_path: Path, words: tuple[str, ...], said: str):
    assert said in refused(*words, f"runs_folder={tmp_path}")


def test_a_pipeline_does_not_run_over_another_one(refused, tmp_path: Path):
    (tmp_path / "r1_zero_cpu").mkdir()
    (tmp_path / "r1_zero_cpu" / "config.yaml").write_text("of another")
    said = refused("configs/r1_zero_cpu.yaml", f"runs_folder={tmp_path}")
    assert "holds another run" in said
    assert "--resume" in said
