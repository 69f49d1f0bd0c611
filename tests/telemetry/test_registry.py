"""The model registry says of each policy what it was made from. The store is MLflow's own, on SQLite."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from configs.run import Tracking
from telemetry.mirror import MlflowMirror
from telemetry.mlflow_client import connect
from telemetry.registry import PolicyVersion, register_policy
from telemetry.run_info import RunInfo, TrackerState

pytestmark = pytest.mark.integration

BASE = PolicyVersion(
    model="r1",
    path=Path("/runs/r1/sft/policy"),
    run_id=None,
    stage="sft",
    method="sft",
    policy_sha256="aa",
    parent_sha256=None,
    parent_path=None,
    config_sha256="cc",
    inputs={"stages.0.traces.path": {"rows.parquet": "dd"}},
    figures={"accuracy_after": 0.25},
    versions={"git": {"commit": "f" * 40, "dirty": False}, "packages": {"math-verify": "0.9.0"}},
)
CHILD = replace(BASE, stage="rl", method="grpo", policy_sha256="bb", parent_sha256="aa", parent_path="/runs/r1/sft")


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated store, made once: the migrations take more than a second."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    connect(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def runs(tmp_path: Path, empty_store: Path) -> Path:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture
def client(runs: Path) -> MlflowClient:
    return connect(f"sqlite:///{runs / 'mlflow.db'}")


def test_a_version_names_its_parent_its_data_its_config_and_the_code_of_its_verifiers(client: MlflowClient):
    assert register_policy(client, BASE, is_server=False) == "1"
    assert register_policy(client, CHILD, is_server=False) == "2"
    first, second = (client.get_model_version("r1", number) for number in ("1", "2"))
    assert (first.source, second.tags["rayzero.parent_model"]) == ("/runs/r1/sft/policy", "models:/r1/1")
    assert "rayzero.parent_model" not in first.tags
    assert first.tags["rayzero.parent_path"] == "none: from scratch"
    assert json.loads(first.tags["rayzero.inputs_sha256"]) == {"stages.0.traces.path": {"rows.parquet": "dd"}}
    assert (first.tags["rayzero.config_sha256"], first.tags["eval.accuracy"]) == ("cc", "0.2500")
    assert (first.tags["rayzero.verifiers.commit"], first.tags["version.math-verify"]) == ("f" * 40, "0.9.0")


def test_the_same_policy_of_the_same_stage_is_one_version(client: MlflowClient):
    assert [register_policy(client, BASE, is_server=False) for _ in range(2)] == ["1", "1"]
    assert register_policy(client, replace(BASE, policy_sha256="other"), is_server=False) == "2"
    assert register_policy(client, replace(BASE, stage="again"), is_server=False) == "3"


def stage_info(runs: Path) -> RunInfo:
    return RunInfo("r1/sft", runs / "r1" / "sft", Tracking(), {}, {}, parent_folder=runs / "r1")


def test_a_stages_run_is_nested_in_the_pipelines_and_in_the_same_store(runs: Path, client: MlflowClient):
    pipeline = MlflowMirror(_made(RunInfo("r1", runs / "r1", Tracking(), {}, {})), runs / "r1" / "metrics.jsonl")
    parent = pipeline.wait_run_id(20)
    stage = MlflowMirror(_made(stage_info(runs)), runs / "r1" / "sft" / "metrics.jsonl")
    child = stage.wait_run_id(20)
    stage.finish("FINISHED", 20)
    pipeline.add_policy(replace(BASE, run_id=child))
    pipeline.finish("FINISHED", 20)
    assert parent is not None
    assert child is not None
    assert client.get_run(child).data.tags["mlflow.parentRunId"] == parent
    assert client.get_model_version("r1", "1").run_id == child


def test_a_stage_learns_of_its_parent_when_that_comes_up_after_it(runs: Path, client: MlflowClient):
    info = _made(stage_info(runs))
    stage = MlflowMirror(info, info.run_folder / "metrics.jsonl")
    child = stage.wait_run_id(20)
    assert child is not None
    TrackerState(info.shown_uri, "late", "launch", 1).save(runs / "r1")
    stage.finish("FINISHED", 20)
    assert client.get_run(child).data.tags["mlflow.parentRunId"] == "late"


def _made(info: RunInfo) -> RunInfo:
    info.run_folder.mkdir(parents=True, exist_ok=True)
    (info.run_folder / "metrics.jsonl").touch()
    return info
