"""Labels for steps by a real engine, then a process model trained on them, both by the real command."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from data.step_labels import read_step_labels
from tests.integration.run_process import RunProcess, read_json

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
SOLUTIONS = ROOT / "tests" / "trainers" / "wrong_steps.jsonl"


def recipe(name: str, folder: Path, policy: Path) -> dict[str, Any]:
    """A recipe for a policy that has learnt nothing, and so labels nearly every step as hopeless."""
    config = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text())
    settings = {"type": "folder", "path": str(policy), "dtype": "float32", "max_model_len": 128}
    return config | {"runs_folder": str(folder / "runs"), "policy": settings}


def finished(config: dict[str, Any], folder: Path) -> tuple[dict[str, Any], str]:
    """The summary, and what the terminal showed."""
    process = RunProcess(config, folder)
    try:
        assert process.end() == 0, process.output[-4000:]
    finally:
        process.kill()
    return read_json(process.folder / "summary.json"), process.output


def test_steps_are_labelled_and_a_process_model_learns_the_labels(
    policy_folders: dict[str, Path], tmp_path: Path
) -> None:
    labelling = recipe("step_labels_cpu", tmp_path, policy_folders["tied"])
    labelling["step_labels"]["solutions"] = {"type": "rows", "path": str(SOLUTIONS), "template": "raw"}
    labelling["rollout"] |= {"group_size": 2, "kv_cache_gib": 0.25}
    summary, shown = finished(labelling, tmp_path)
    labelled = read_step_labels(tmp_path / "runs" / "step_labels")[1]
    assert summary["labels"]["solutions"] == len(labelled) == 60
    assert summary["labels"]["steps"] == sum(len(solution.right) for solution in labelled)
    assert "labelled steps" in shown

    training = recipe("process_model_cpu", tmp_path, policy_folders["tied"])
    training |= {"examples": {"type": "step_labels", "path": str(tmp_path / "runs" / "step_labels")}, "epochs": 2}
    summary, shown = finished(training, tmp_path)
    assert summary["kind"] == "process"
    assert summary["held_out_after"]["loss"] < summary["held_out_before"]["loss"], "almost every label is 0"
    assert (Path(summary["checkpoint"]) / "reward_model.json").exists()
    assert "calibration error (ECE)" in shown
