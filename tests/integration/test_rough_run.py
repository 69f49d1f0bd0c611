"""One run by the real command that is treated badly: scaled up and down, its workers and a learner rank killed, stopped
by Ctrl-C, resumed. Two ZeRO-3 learner ranks, a KL penalty with a sharded reference, a policy from a folder."""

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
from mlflow.tracking import MlflowClient

from tests.integration.run_process import RunProcess, left_behind, log_file, metric_lines, rayzero, read_json

pytestmark = pytest.mark.integration

GROUPS, GROUP_SIZE, MAX_STALENESS = 4, 4, 2
RUN: dict[str, Any] = {
    "method": "grpo",
    "name": "rough",
    "prompts": {"type": "addition", "digits": 2},
    "prompts_per_step": GROUPS,
    "steps": 100_000,
    "optimizer": {"type": "adamw", "learning_rate": 1e-4},
    "rollout": {
        "group_size": GROUP_SIZE,
        "max_completion_tokens": 64,
        "max_sequences": 64,
        "kv_cache_gib": 0.5,
        "eager": True,
        "group_timeout_s": 120,
    },
    # The random policy solves nothing; the penalty for long answers makes its rewards differ.
    "rewards": {"parts": [{"type": "exact_number"}], "overlong_buffer_tokens": 60},
    "algorithm": {
        "kl": {"type": "k3", "coefficient": 1e-3},
        "staleness": {"max_staleness": MAX_STALENESS},
    },
    "learner": {"ranks": 2, "zero_stage": 3, "tokens_per_microbatch": 1024},
    "reference": {"ranks": 2, "tokens_per_microbatch": 1024},
    "weight_transfer": {"probe_every": 1, "probe_tolerance": 1e-3, "timeout_s": 60},
    "checkpoints": {"every_steps": 2},
    "cluster": {"cpus": 12},
}


@dataclass
class Story:
    """What was seen on the way."""

    folder: Path
    scaled_up: str = ""
    joined_after: int = 0  # steps done when the second worker was asked for
    killed: list[str] = field(default_factory=list[str])
    scaled_down: str = ""
    codes: dict[str, int] = field(default_factory=dict[str, int])
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    summaries: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    statuses: dict[str, str] = field(default_factory=dict[str, str])
    checkpoints: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    left: dict[str, list[psutil.Process]] = field(default_factory=dict[str, list[psutil.Process]])
    outputs: dict[str, str] = field(default_factory=dict[str, str])

    def note(self, chapter: str, process: RunProcess, start: float, timeout_s: float) -> None:
        """Wait for the end of a process and keep how it ended."""
        self.codes[chapter] = process.end(timeout_s)
        self.seconds[chapter] = time.monotonic() - start
        self.left[chapter] = left_behind(self.folder)
        self.outputs[chapter] = process.output
        if (self.folder / "summary.json").exists():
            self.summaries[chapter] = read_json(self.folder / "summary.json")
        run_id = read_json(self.folder / "tracking.json")["run_id"]
        client = MlflowClient(f"sqlite:///{self.folder.parent / 'mlflow.db'}")
        self.statuses[chapter] = client.get_run(run_id).info.status
        self.checkpoints[chapter] = sorted(path.name for path in (self.folder / "checkpoints").glob("step_*"))


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, policy_folders: dict[str, Path]) -> Iterator[Story]:
    scratch = tmp_path_factory.mktemp("rough")
    policy = {"type": "folder", "path": str(policy_folders["untied"]), "dtype": "float32", "max_model_len": 128}
    config = RUN | {"runs_folder": str(scratch / "runs"), "policy": policy}
    story = Story(Path(config["runs_folder"]) / "rough")
    processes: list[RunProcess] = []

    def start(*arguments: str) -> RunProcess:
        processes.append(RunProcess(config, scratch, *arguments))
        return processes[-1]

    try:
        first = start()
        scale_and_kill(first, story)
        stop_politely(first, story)
        stop_at_once(start("--resume"), story)
        lose_a_rank(start("--resume"), story)
        last = int(story.checkpoints["rank"][-1].removeprefix("step_")) + 2
        process = start(f"steps={last}", "--resume")
        story.note("resumed", process, time.monotonic(), 180)
        yield story
    finally:
        for process in processes:
            process.kill()


def scale_and_kill(run: RunProcess, story: Story) -> None:
    """A second worker joins; four workers die at random moments; the second one leaves."""
    run.until("a step", lambda: run.steps() >= 2)
    story.joined_after = run.steps()
    story.scaled_up = rayzero("scale", str(run.folder), "--rollouts", "2").stdout
    run.until("two workers", lambda: run.serving() == 2)
    done = run.steps()
    run.until("steps with two workers", lambda: run.steps() >= done + 3)
    chance = random.Random()
    for title in ("ray::", "VLLM::EngineCore"):  # the actor, and the engine's own process under a healthy actor
        kill_rollouts(run, title, chance, story)
    story.scaled_down = rayzero("scale", str(run.folder), "--rollouts", "1").stdout
    run.until("one worker", lambda: run.serving() == 1 and len(run.actors("rollout-")) == 1)
    before = run.steps()
    run.until("steps with one worker", lambda: run.steps() >= before + 2)


def kill_rollouts(run: RunProcess, title: str, chance: random.Random, story: Story) -> None:
    """Both workers, at random moments of steps that last about a second; returns when two others serve."""
    dying = {log_file(process) for process in run.actors("rollout-")}
    for process in run.actors("rollout-", title):
        run.wait_a_little(chance.uniform(0.2, 1.5))
        story.killed.append(f"{title} of {log_file(process)}")
        process.send_signal(signal.SIGKILL)
    run.until(
        "two other workers starting",
        lambda: len({log_file(process) for process in run.actors("rollout-")} - dying) == 2,
    )
    now_s = time.time()
    run.until("two other workers at work", lambda: run.serving(now_s) == 2)


def stop_politely(run: RunProcess, story: Story) -> None:
    start = time.monotonic()
    run.ctrl_c()
    story.note("ctrl-c", run, start, 90)


def stop_at_once(run: RunProcess, story: Story) -> None:
    done = run.steps()
    run.until("steps after the resume", lambda: run.steps() >= done + 2)
    start = time.monotonic()
    run.ctrl_c()
    run.ctrl_c()
    story.note("twice", run, start, 90)


def lose_a_rank(run: RunProcess, story: Story) -> None:
    done = run.steps()
    run.until("a checkpoint after the resume", lambda: run.steps() >= done + 3)
    start = time.monotonic()
    (rank,) = run.actors("learner-0")
    rank.send_signal(signal.SIGKILL)
    story.note("rank", run, start, 120)


def rows(story: Story) -> list[dict[str, Any]]:
    columns = ["step", "group_id", "sample", "worker", "versions", "trained"]
    return pq.ParquetDataset(sorted((story.folder / "rollouts").glob("step_*.parquet"))).read(columns).to_pylist()


def test_a_worker_that_joins_serves_groups_with_current_versions(story: Story) -> None:
    assert "1 -> 2" in story.scaled_up
    joined = [row for row in rows(story) if row["worker"] == "rollout-1"]
    assert joined, "the second worker sampled nothing"
    assert min(row["step"] for row in joined) > story.joined_after
    for row in joined:
        assert min(row["versions"]) >= row["step"] - 1 - MAX_STALENESS, row


def test_killed_workers_are_replaced(story: Story) -> None:
    assert len(story.killed) == 4
    assert "2 -> 1" in story.scaled_down
    assert {f"rollout-{number}" for number in range(6)} <= {row["worker"] for row in rows(story)}


@pytest.mark.parametrize("chapter", ["ctrl-c", "resumed"])
def test_no_group_is_lost_or_trained_twice(story: Story, chapter: str) -> None:
    summary = story.summaries[chapter]
    books = summary["books"]
    assert books["admitted"] == sum(count for name, count in books.items() if name != "admitted")
    assert books["failed"] == books["rejected"] == 0
    assert books["trained"] == summary["steps"] * GROUPS
    if chapter == "resumed":
        seen = Counter((row["group_id"], row["sample"]) for row in rows(story) if row["step"] <= summary["steps"])
        assert set(seen.values()) == {1}
        assert len(seen) == summary["steps"] * GROUPS * GROUP_SIZE


def test_ctrl_c_ends_after_the_step_with_a_checkpoint_and_a_report(story: Story) -> None:
    summary = story.summaries["ctrl-c"]
    assert story.codes["ctrl-c"] == 130, story.outputs["ctrl-c"][-3000:]
    assert summary["status"] == "stopped"
    assert story.checkpoints["ctrl-c"][-1] == f"step_{summary['steps']:06d}"
    assert story.statuses["ctrl-c"] == "KILLED"
    assert (story.folder / "report.html").stat().st_size > 10_000
    # Before, the notes about killed workers hold the ends of their logs.
    _, stopping, after = story.outputs["ctrl-c"].partition("stopping after this step")
    assert stopping
    assert "Traceback" not in after


def test_a_second_ctrl_c_ends_at_once(story: Story) -> None:
    assert story.codes["twice"] == 130, story.outputs["twice"][-3000:]
    assert story.seconds["twice"] < 20
    assert story.statuses["twice"] == "KILLED"
    assert "Traceback" not in story.outputs["twice"]


def test_a_dead_learner_rank_ends_the_run_and_is_named(story: Story) -> None:
    assert story.codes["rank"] == 1
    assert story.seconds["rank"] < 60
    assert story.statuses["rank"] == "FAILED"
    last = story.outputs["rank"].strip().splitlines()
    assert any("rank 0" in line and "died" in line for line in last[-40:]), story.outputs["rank"][-3000:]


@pytest.mark.parametrize("chapter", ["ctrl-c", "twice", "rank", "resumed"])
def test_no_process_is_left(story: Story, chapter: str) -> None:
    assert story.left[chapter] == []


def test_the_run_goes_on_from_its_last_checkpoint_to_the_end(story: Story) -> None:
    assert story.codes["resumed"] == 0, story.outputs["resumed"][-3000:]
    assert f"resuming from {story.checkpoints['rank'][-1]}" in story.outputs["resumed"]
    assert story.summaries["resumed"]["status"] == "finished"
    assert story.statuses["resumed"] == "FINISHED"
    assert not list(Path("/dev/shm").glob("rayzero-rough-*"))


def test_the_kl_penalty_and_the_probe_were_on(story: Story) -> None:
    steps = [line for line in metric_lines(story.folder) if "train/loss" in line]
    assert all("train/kl_reference" in line for line in steps)
    assert max(line["train/kl_reference"] for line in steps) > 0
    probes = [line["sync/probe_error"] for line in steps if line.get("sync/probe_error") is not None]
    assert len(probes) >= len(steps) - 1
    assert max(probes) < 1e-3
