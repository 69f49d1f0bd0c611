"""Two small stages by the real command, killed in the second and resumed: nothing that was done is done again."""

import json
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from tests.integration.run_process import RunProcess, left_behind, metric_lines, read_json

pytestmark = pytest.mark.integration

STEPS = 6
POLICY = {"type": "folder", "path": "${stages.sft.policy}", "dtype": "float32", "max_model_len": 128}


def pipeline(runs: Path) -> dict[str, Any]:
    sft: dict[str, Any] = {
        "method": "sft",
        "policy": {"type": "scratch", "vocabulary": "characters", "layers": 1},
        "stages": [
            {
                "traces": {"type": "addition", "digits": 1},
                "steps": 20,
                "sequences_per_step": 16,
                "optimizer": {"type": "adamw", "learning_rate": 4e-3},
            }
        ],
    }
    overrides: dict[str, Any] = {
        "policy": POLICY,
        "cold_start": [],
        "prompts.digits": 1,
        "evaluation": None,
        "prompts_per_step": 4,
        "rollout.group_size": 4,
        "steps": STEPS,
        "checkpoints.every_steps": 1,
        "algorithm.staleness.max_staleness": 0,
    }
    stages = [{"name": "sft", "run": sft}, {"name": "rl", "file": "configs/demo.yaml", "overrides": overrides}]
    return {
        "method": "pipeline",
        "name": "two",
        "runs_folder": str(runs),
        "stages": stages,
        "cluster": {"address": "local", "cpus": 2},
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a pipeline that was killed in its second stage after a checkpoint, and then run to its end."""
    scratch = tmp_path_factory.mktemp("pipeline")
    config = pipeline(scratch / "runs")
    first = RunProcess(config, scratch)
    try:
        checkpoints = first.folder / "rl" / "checkpoints"
        first.until("the second checkpoint", lambda: (checkpoints / "step_000002").exists())
    finally:
        first.kill()
    assert left_behind(first.folder) == []
    (scratch / "stage_before.json").write_text((first.folder / "sft" / "stage.json").read_text())
    assert read_json(first.folder / "rl" / "stage.json")["status"] == "started"
    second = RunProcess(config, scratch, "--resume")
    try:
        assert second.end() == 0, second.output[-4000:]
    finally:
        second.kill()
    assert left_behind(first.folder) == []
    return first.folder


def test_the_stage_that_was_done_was_left_alone(folder: Path):
    before = json.loads((folder.parents[1] / "stage_before.json").read_text())
    assert read_json(folder / "sft" / "stage.json") == before
    assert before["status"] == "done"


def test_the_stage_that_was_killed_went_on_from_its_checkpoint_with_the_policy_of_the_first(folder: Path):
    steps = [line["step"] for line in metric_lines(folder / "rl") if "train/loss" in line]
    assert sorted(set(steps)) == list(range(1, STEPS + 1))
    assert steps.count(1) == steps.count(2) == 1, "what the checkpoint holds was trained again"
    sft, rl = (read_json(folder / name / "stage.json") for name in ("sft", "rl"))
    assert rl["status"] == "done"
    assert rl["inputs"]["policy.path"] == sft["outputs"]["policy"]
    assert (folder / "rl" / "policy" / "config.json").exists()
    assert (folder / "rl" / "report.html").exists()


def test_mlflow_has_the_stages_under_the_pipeline_and_a_version_of_each_policy(folder: Path):
    client = MlflowClient(tracking_uri=f"sqlite:///{folder.parent / 'mlflow.db'}")
    parent = read_json(folder / "tracking.json")["run_id"]
    for name in ("sft", "rl"):
        run = client.get_run(read_json(folder / name / "tracking.json")["run_id"])
        assert (run.data.tags["mlflow.parentRunId"], run.info.status) == (parent, "FINISHED")
    versions = {v.tags["rayzero.stage"]: v for v in client.search_model_versions("name='two'")}
    assert set(versions) == {"sft", "rl"}
    assert versions["rl"].tags["rayzero.parent_model"] == f"models:/two/{versions['sft'].version}"
    assert versions["rl"].source == str(folder / "rl" / "policy")


def test_the_summary_says_how_it_stands(folder: Path):
    summary = read_json(folder / "summary.json")
    assert (summary["status"], [row["stage"] for row in summary["by_stage"]]) == ("finished", ["sft", "rl"])
