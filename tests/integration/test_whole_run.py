"""One small run by the real command: cold start, asynchronous GRPO on vLLM and DeepSpeed, a worker killed on the way,
checkpoint, resume."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
from mlflow.tracking import MlflowClient

pytestmark = pytest.mark.integration

STEPS, GROUPS, GROUP_SIZE = 6, 4, 4
SMALL = [
    "name=whole",
    "cold_start.0.steps=12",
    "cold_start.1.steps=3",
    f"prompts_per_step={GROUPS}",
    f"rollout.group_size={GROUP_SIZE}",
    "evaluation.problems=320",  # more prompt tokens at once than one prefill of vLLM's default takes
    "weight_transfer.probe_every=2",
]


def command(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    program = [
        sys.executable,
        "-m",
        "cli.main",
        "train",
        "configs/demo.yaml",
        f"runs_folder={folder}",
        *SMALL,
        *arguments,
    ]
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=280)
    assert process.returncode == 0, output[-4000:]
    return output


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A finished run, and the titles of the processes that were seen while it went on."""
    folder = tmp_path_factory.mktemp("runs")
    process = command(folder, f"steps={STEPS}")
    titles: set[str] = set()
    over = threading.Event()

    def watch() -> None:
        killed = False
        while not over.wait(0.25):
            for each in psutil.process_iter(["name", "cmdline", "pid"]):
                titles.add(" ".join(each.info["cmdline"] or [each.info["name"] or ""])[:200])
            metrics = folder / "whole" / "metrics.jsonl"
            if not killed and metrics.exists() and '"step":1,' in metrics.read_text():
                killed = kill_rollout_worker(process.pid)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        finish(process)
    finally:
        over.set()
        watcher.join(timeout=10)
        process.kill()
    return folder / "whole", sorted(titles)


def kill_rollout_worker(driver: int) -> bool:
    """SIGKILL to the run's rollout actor, found by the log file that only it writes."""
    for each in psutil.Process(driver).children(recursive=True):
        try:
            if each.name().startswith("ray::Rollout") and "RAYZERO_LOG_FILE" in each.environ():
                each.send_signal(signal.SIGKILL)
                return True
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return False


def test_a_run_is_made_of_real_engines(run: tuple[Path, list[str]]) -> None:
    _, titles = run
    for part in ("EngineCore", "ray::Rollout", "ray::Learner", "ray::Reward", "Tracker"):
        assert any(part in title for title in titles), f"no process {part} was seen"


def test_a_killed_rollout_worker_is_replaced_and_no_group_is_lost(run: tuple[Path, list[str]]) -> None:
    folder, _ = run
    workers = set(pq.ParquetDataset(folder / "rollouts").read(columns=["worker"]).column("worker").to_pylist())
    assert {"rollout-0", "rollout-1"} <= workers
    books = json.loads((folder / "summary.json").read_text())["books"]
    assert books["trained"] == STEPS * GROUPS
    assert books["admitted"] == sum(count for name, count in books.items() if name != "admitted")


def test_the_summary_has_every_figure(run: tuple[Path, list[str]]) -> None:
    summary = json.loads((run[0] / "summary.json").read_text())
    for name in (
        *("accuracy_before", "accuracy_after", "accuracy_before_interval", "accuracy_after_interval", "wall_s"),
        *("cold_start_s", "samples", "generated_tokens", "samples_per_s", "steps", "staleness_max", "sync_s_mean"),
    ):
        assert summary[name] is not None, name
    assert summary["status"] == "finished"
    assert summary["steps"] == STEPS
    assert summary["staleness_max"] <= 1


def test_every_trained_completion_is_in_the_store(run: tuple[Path, list[str]]) -> None:
    for step in range(1, STEPS + 1):
        table = pq.read_table(run[0] / "rollouts" / f"step_{step:06d}.parquet")
        assert table.num_rows == GROUPS * GROUP_SIZE
        row = table.to_pylist()[0]
        assert len(row["completion_token_ids"]) == len(row["logprobs"]) == len(row["versions"])


def test_mlflow_has_the_steps_and_the_true_status(run: tuple[Path, list[str]]) -> None:
    folder, _ = run
    run_id = json.loads((folder / "tracking.json").read_text())["run_id"]
    client = MlflowClient(f"sqlite:///{folder.parent / 'mlflow.db'}")
    assert client.get_run(run_id).info.status == "FINISHED"
    assert {m.step for m in client.get_metric_history(run_id, "train/loss")} >= set(range(1, STEPS + 1))


def test_the_exported_policy_loads_and_generates(run: tuple[Path, list[str]]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    policy = run[0] / "checkpoints" / f"step_{STEPS:06d}" / "policy"
    model: Any = AutoModelForCausalLM.from_pretrained(policy)
    tokenizer = AutoTokenizer.from_pretrained(policy)
    prompt = tokenizer("12+34:", return_tensors="pt").input_ids
    assert model.generate(prompt, max_new_tokens=4).shape[1] > prompt.shape[1]


def test_nothing_of_a_run_is_left_behind(run: tuple[Path, list[str]]) -> None:
    assert (run[0] / "report.html").stat().st_size > 10_000
    deadline = time.monotonic() + 15
    while left := owned_engines(run[0]):
        assert time.monotonic() < deadline, f"engine processes outlive their run: {left}"
        psutil.wait_procs(left, timeout=1)
    assert not list(Path("/dev/shm").glob("rayzero-whole-*"))


def owned_engines(folder: Path) -> list[psutil.Process]:
    """Processes that still write a log of this run."""
    owned: list[psutil.Process] = []
    for each in psutil.process_iter():
        try:
            if str(folder) in each.environ().get("RAYZERO_LOG_FILE", ""):
                owned.append(each)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return owned


def test_resume_goes_on_from_the_checkpoint(run: tuple[Path, list[str]]) -> None:
    folder, _ = run
    before = json.loads((folder / "tracking.json").read_text())
    output = finish(command(folder.parent, f"steps={STEPS + 2}", "--resume"))
    assert f"resuming from step_{STEPS:06d}" in output
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["steps"] == STEPS + 2
    assert summary["books"]["trained"] == (STEPS + 2) * GROUPS
    after = json.loads((folder / "tracking.json").read_text())
    assert after["run_id"] == before["run_id"]
    assert after["attempt"] == before["attempt"] + 1
