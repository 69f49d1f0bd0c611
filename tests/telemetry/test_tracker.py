"""The tracker in its process and without one. The actor runs on a real Ray."""

import os
import signal
import time
from pathlib import Path

import pytest
import ray
from mlflow import MlflowClient

from actors.tracker import RunTracker, TrackerClient
from configs.run import Tracking
from telemetry.run_info import RunInfo
from telemetry.spool import read_metrics
from trainers.ports import Tracker


def info_of(tmp_path: Path, **tracking: float) -> RunInfo:
    return RunInfo("demo", tmp_path / "runs" / "demo", Tracking(**tracking), {"name": "demo"}, {})  # pyright: ignore


@pytest.mark.unit
def test_metrics_samples_and_readings_of_the_machine_arrive(tmp_path: Path) -> None:
    info = info_of(tmp_path, system_metrics_every_s=0.02, sample_rows=1)
    tracker = RunTracker(info)
    assert tracker.start(20)
    tracker.log_step(7, {"reward/mean": 0.5})
    tracker.log_samples(7, [{"prompt": "kept"}, {"prompt": "over the limit"}])
    path = info.run_folder / "metrics.jsonl"
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and "system/cpu_percent" not in read_metrics(path)[-1]:
        time.sleep(0.01)
    result = tracker.finish("FINISHED", 20)
    assert result["unsent"] == 0
    row = next(row for row in read_metrics(path) if row["step"] == 7)
    assert row["reward/mean"] == 0.5
    assert row["system/driver_rss_mib"] > 5
    samples = (info.run_folder / "samples.json").read_text()
    assert "kept" in samples
    assert "over the limit" not in samples


@pytest.mark.unit
def test_a_disk_that_refuses_raises_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = RunTracker(info_of(tmp_path, mlflow_uri="http://127.0.0.1:9"))  # pyright: ignore
    os.close(tracker._spool._file.fileno())
    tracker.log_step(1, {"reward/mean": 0.5})
    tracker.log_step(2, {"reward/mean": 0.5})
    assert sum("cannot be written" in record.message for record in caplog.records) == 1
    tracker._finished.set()


@pytest.mark.integration
def test_the_actor_takes_what_the_client_sends_and_finishes_the_run(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = info_of(tmp_path, system_metrics_every_s=0.2)
    client = TrackerClient(info)
    with monkeypatch.context() as patch:
        patch.setattr("actors.tracker._REPLY_MARGIN_S", 0.0)
        assert client.start(0.001) is None, "a tracker that is still starting is no error: it is asked again"
    as_port: Tracker = client
    for step in range(1, 101):
        as_port.log_step(step, {"reward/mean": step / 100, "train/loss": 1.0})
    as_port.log_samples(100, [{"prompt": "1+1:", "completion": "2"}])
    run_id = client.start(60)
    assert run_id
    result = client.finish("FINISHED", 60)
    assert result is not None
    assert result["unsent"] == 0
    run = MlflowClient(tracking_uri=info.mlflow_uri).get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["reward/mean"] == 1.0
    assert run.data.metrics["system/driver_rss_mib"] > 5
    assert run.data.metrics["system/actors_rss_mib"] > 50


@pytest.mark.integration
def test_a_tracker_that_is_killed_comes_back_to_the_same_run_and_loses_no_line(
    ray_cluster: None, tmp_path: Path
) -> None:
    info = info_of(tmp_path)
    client = TrackerClient(info)
    client.log_step(1, {"reward/mean": 1.0})
    run_id = client.start(60)
    os.kill(ray.get(client._actor.__ray_call__.remote(lambda tracker: os.getpid())), signal.SIGKILL)
    client.log_step(2, {"reward/mean": 2.0})
    again = client.start(60)
    result = client.finish("FINISHED", 60)
    assert again == run_id
    assert result is not None
    assert result["unsent"] == 0
    assert [row["reward/mean"] for row in read_metrics(info.run_folder / "metrics.jsonl")] == [1.0, 2.0]
    run = MlflowClient(tracking_uri=info.mlflow_uri).get_run(run_id or "")
    assert run.data.tags["rayzero.attempt"] == "1"
    assert run.data.metrics["reward/mean"] == 2.0
