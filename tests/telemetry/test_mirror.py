"""MLflow gets everything, in the end; training never waits for it. The store is MLflow's own, on SQLite."""

import json
import shutil
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from configs.run import Tracking
from telemetry import mirror as mirror_module
from telemetry.mirror import MlflowMirror
from telemetry.mlflow_client import ATTEMPT_TAG, MlflowRun, connect
from telemetry.run_info import RunInfo, TrackerState
from telemetry.spool import SpoolWriter

pytestmark = pytest.mark.unit

CONFIG = {"name": "demo", "rollout": {"group_size": 8, "engine_options": {"hf_token": "s3cret"}}, "prompt": "x" * 9000}
VERSIONS = {"python": "3.11.7", "packages": {"torch": "2.13.0"}, "git": {"commit": "a" * 40, "dirty": True}}


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated store, made once: the migrations take more than a second."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    connect(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def folder(tmp_path: Path, empty_store: Path) -> Path:
    run_folder = tmp_path / "runs" / "demo"
    run_folder.mkdir(parents=True)
    shutil.copy(empty_store, run_folder.parent / "mlflow.db")
    return run_folder


def info_of(folder: Path, *, run_id: str | None = None, **tracking: Any) -> RunInfo:
    return RunInfo("demo", folder, Tracking(**tracking), CONFIG, VERSIONS, run_id=run_id)


def start(info: RunInfo) -> tuple[MlflowMirror, SpoolWriter]:
    path = info.run_folder / "metrics.jsonl"
    return MlflowMirror(info, path), SpoolWriter(path)


def stored(folder: Path) -> tuple[MlflowClient, Run]:
    client = MlflowClient(tracking_uri=f"sqlite:///{folder.parent / 'mlflow.db'}")
    state = TrackerState.load(folder)
    assert state is not None
    return client, client.get_run(state.run_id)


def history(client: MlflowClient, run: Run, name: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)]


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_a_finished_run_has_its_metrics_parameters_tags_artifacts_and_status(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", info_of(folder).mlflow_uri)  # load_table looks nowhere else
    mirror, spool = start(info_of(folder))
    (folder / "report.html").write_text("<p>hi</p>")
    for step in (1, 2, 3):
        spool.append(step, {"reward/mean": step / 10, "timing(s)@x": float("nan")})
        mirror.add_samples(step, [{"prompt": "1+1:", "completion": "2"}])
    mirror.add_artifact(folder / "report.html")
    assert mirror.finish("FINISHED", 20) == {"sent": 3, "unsent": 0, "artifacts_unsent": 0}

    client, run = stored(folder)
    assert run.info.status == "FINISHED"
    assert run.info.end_time is not None
    assert run.info.run_name == "demo"
    assert history(client, run, "reward/mean") == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert "timing_s__x" in run.data.metrics
    assert run.data.params["rollout.group_size"] == "8"
    assert len(run.data.params["prompt"]) == 6000
    assert run.data.tags["mlflow.source.git.commit"] == "a" * 40
    assert run.data.tags["version.torch"] == "2.13.0"
    assert run.data.tags[ATTEMPT_TAG] == "1"
    names = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert names == {"config.yaml", "report.html", "samples.json"}
    experiment = client.get_experiment_by_name("rayzero")
    assert experiment is not None
    table = client.load_table(experiment.experiment_id, "samples.json", run_ids=[run.info.run_id])
    assert list(table["step"]) == [1, 2, 3]
    assert run.info.artifact_uri == f"{(folder.parent / 'mlartifacts').as_uri()}/{run.info.run_id}/artifacts"


def test_secrets_reach_neither_the_store_nor_the_artifacts(folder: Path) -> None:
    mirror, _ = start(info_of(folder))
    mirror.finish("FINISHED", 20)
    files = [path for path in folder.parent.rglob("*") if path.is_file()]
    assert any(path.name == "config.yaml" for path in files)
    assert not [path for path in files if b"s3cret" in path.read_bytes()]


@pytest.mark.parametrize("status", ["FAILED", "KILLED"])
def test_the_status_is_the_one_the_run_ended_with(folder: Path, status: Any) -> None:
    mirror, _ = start(info_of(folder))
    assert mirror.wait_run_id(20)
    assert stored(folder)[1].info.status == "RUNNING"
    mirror.finish(status, 20)
    assert stored(folder)[1].info.status == status


def test_a_server_that_is_gone_blocks_nobody_and_the_next_attempt_sends_what_it_missed(folder: Path) -> None:
    lost = info_of(folder, mlflow_uri=closed_port())
    mirror, spool = start(lost)
    began = time.perf_counter()
    for step in range(100):
        spool.append(step, {"reward/mean": float(step)})
        mirror.wake()
        mirror.add_samples(step, [{"prompt": "p"}])
    assert time.perf_counter() - began < 0.5
    assert mirror.wait_run_id(0.1) is None
    began = time.perf_counter()
    result = mirror.finish("FAILED", 0.5)
    assert time.perf_counter() - began < 1.5
    assert result == {"sent": 0, "unsent": 100, "artifacts_unsent": 1}

    mirror, _ = start(info_of(folder))
    assert mirror.finish("FINISHED", 20)["sent"] == 100
    client, run = stored(folder)
    assert len(history(client, run, "reward/mean")) == 100


def test_lines_are_sent_on_reconnection_within_one_attempt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Flaky(MlflowRun):
        failures = 2

        def send(self, lines: Any) -> None:
            if self.failures:
                self.failures -= 1
                raise ConnectionError("the server is gone")
            super().send(lines)

    monkeypatch.setattr(mirror_module, "MlflowRun", Flaky)
    mirror, spool = start(info_of(folder))
    spool.append(1, {"reward/mean": 1.0})
    spool.append(2, {"reward/mean": 2.0})
    assert mirror.finish("FINISHED", 20)["unsent"] == 0
    client, run = stored(folder)
    assert history(client, run, "reward/mean") == [(1, 1.0), (2, 2.0)]
    assert run.info.status == "FINISHED"


def test_a_resume_reopens_the_run_counts_an_attempt_and_sends_nothing_twice(folder: Path) -> None:
    mirror, spool = start(info_of(folder))
    spool.append(1, {"reward/mean": 1.0})
    mirror.finish("KILLED", 20)
    _, killed = stored(folder)

    mirror, spool = start(info_of(folder, run_id=killed.info.run_id))
    assert mirror.wait_run_id(20) == killed.info.run_id
    spool.append(2, {"reward/mean": 2.0})
    assert mirror.finish("FINISHED", 20)["sent"] == 1
    client, run = stored(folder)
    assert run.data.tags[ATTEMPT_TAG] == "2"
    assert run.info.status == "FINISHED"
    assert history(client, run, "reward/mean") == [(1, 1.0), (2, 2.0)]
    assert len(client.search_runs([run.info.experiment_id])) == 1


def test_a_restarted_tracker_of_the_same_launch_is_the_same_attempt(folder: Path) -> None:
    info = info_of(folder)
    start(info)[0].finish("KILLED", 20)
    start(info)[0].finish("FINISHED", 20)
    assert stored(folder)[1].data.tags[ATTEMPT_TAG] == "1"


def test_lines_sent_twice_count_once(folder: Path) -> None:
    mirror, spool = start(info_of(folder))
    spool.append(1, {"reward/mean": 1.0})
    mirror.finish("KILLED", 20)
    state = TrackerState.load(folder)
    assert state is not None
    TrackerState(state.mlflow_uri, state.run_id, state.launch_id, 1, sent_bytes=0).save(folder)
    assert start(info_of(folder))[0].finish("FINISHED", 20)["sent"] == 1
    client, run = stored(folder)
    assert history(client, run, "reward/mean") == [(1, 1.0)]


def test_a_run_that_the_server_does_not_know_gets_a_new_one_with_all_metrics(folder: Path) -> None:
    SpoolWriter(folder / "metrics.jsonl").append(1, {"reward/mean": 1.0})
    uri = f"sqlite:///{folder.parent / 'mlflow.db'}"
    TrackerState(uri, "f" * 32, "other", 1, sent_bytes=10_000).save(folder)
    mirror, _ = start(info_of(folder))
    assert mirror.finish("FINISHED", 20)["sent"] == 1
    client, run = stored(folder)
    assert run.info.run_id != "f" * 32
    assert history(client, run, "reward/mean") == [(1, 1.0)]


def test_many_lines_go_out_in_few_batches(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    class Counting(MlflowRun):
        def send(self, lines: Any) -> None:
            sizes.append(sum(len(line.metrics) for line in lines))
            super().send(lines)

    monkeypatch.setattr(mirror_module, "MlflowRun", Counting)
    info = info_of(folder)
    spool = SpoolWriter(folder / "metrics.jsonl")
    for step in range(50):
        spool.append(step, {f"reward/part_{i}": 1.0 for i in range(40)})
    mirror = MlflowMirror(info, folder / "metrics.jsonl")
    assert mirror.finish("FINISHED", 20)["unsent"] == 0
    assert sizes == [1000, 1000]


def test_of_a_large_artifact_the_path_is_logged_and_a_vanished_one_stops_nothing(folder: Path) -> None:
    large = folder / "step_000010"
    large.mkdir()
    (large / "weights").write_bytes(b"x" * (2 << 20))
    small = folder / "step_000020"
    small.mkdir()
    (small / "weights").write_bytes(b"x")
    mirror, spool = start(info_of(folder, artifact_limit_mib=1))
    for path in (large, folder / "gone", small):
        mirror.add_artifact(path)
    spool.append(1, {"reward/mean": 1.0})
    assert mirror.finish("FINISHED", 20) == {"sent": 1, "unsent": 0, "artifacts_unsent": 0}
    client, run = stored(folder)
    assert run.data.tags["artifact/step_000010"] == f"{large} (2 MiB)"
    assert {a.path for a in client.list_artifacts(run.info.run_id)} == {"config.yaml", "step_000020"}


def test_an_artifact_store_that_refuses_holds_up_no_metrics(folder: Path) -> None:
    (folder.parent / "mlartifacts").write_text("a file where the folder should be")
    mirror, spool = start(info_of(folder))
    spool.append(1, {"reward/mean": 1.0})
    result = mirror.finish("FINISHED", 20)
    assert result["unsent"] == 0
    assert stored(folder)[1].info.status == "FINISHED"


def test_a_login_in_the_server_address_stays_out_of_files(folder: Path) -> None:
    info = info_of(folder, mlflow_uri="http://me:s3cret@127.0.0.1:9")
    assert "s3cret" not in info.shown_uri
    assert json.dumps(info.tracking.mlflow_uri) == '"http://me:s3cret@127.0.0.1:9"'
