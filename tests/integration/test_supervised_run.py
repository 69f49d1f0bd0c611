"""A supervised run by the real commands, and every command that looks at what it left."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.run_process import RunProcess, metric_lines, rayzero, read_json

pytestmark = pytest.mark.integration

STEPS = 60
RUN: dict[str, Any] = {
    "method": "sft",
    "name": "supervised",
    "policy": {"type": "scratch", "vocabulary": "characters", "layers": 2, "hidden_size": 64, "mlp_size": 96},
    "stages": [
        {
            "traces": {"type": "addition", "digits": 2, "worked_share": 0.0},
            "steps": steps,
            "sequences_per_step": 32,
            "optimizer": {"type": "adamw", "learning_rate": 1e-2},
            "schedule": {"type": "cosine", "warmup_steps": 5},
        }
        for steps in (STEPS - 20, 20)  # two stages: the second starts from what the first has trained
    ],
    "rollout": {
        "group_size": 2,
        "max_completion_tokens": 32,
        "max_sequences": 128,
        "kv_cache_gib": 0.5,
        "eager": True,
    },
    "rewards": {"parts": [{"type": "exact_number"}, {"type": "format", "weight": 0.1}]},
    "evaluation": {"prompts": {"type": "addition", "digits": 2, "split": "held_out"}, "problems": 64, "samples": 2},
    "weight_transfer": {"probe_tolerance": 1e-3, "probe_every": 1},
    "cluster": {"cpus": 4},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder of the finished run, and its config file."""
    scratch = tmp_path_factory.mktemp("supervised")
    process = RunProcess(RUN | {"runs_folder": str(scratch / "runs")}, scratch)
    try:
        assert process.end() == 0, process.output[-4000:]
    finally:
        process.kill()
    return process.folder, scratch / "supervised.yaml"


def succeed(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = rayzero(*arguments)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done


def test_the_policy_learns_and_the_engines_see_it(run: tuple[Path, Path]) -> None:
    summary = read_json(run[0] / "summary.json")
    assert summary["status"] == "finished"
    # Sums take longer to learn than this; to answer at once and stop does not.
    assert summary["length_after"] < 0.5 * summary["length_before"]
    assert summary["accuracy_after"] >= summary["accuracy_before"]
    low, high = summary["accuracy_after_interval"]
    assert low <= summary["accuracy_after"] <= high
    losses = [line["sft/loss"] for line in metric_lines(run[0]) if "sft/loss" in line]
    assert len(losses) == STEPS
    assert losses[-1] < 0.5 * losses[0]


def test_eval_of_the_run_finds_the_accuracy_that_the_run_found(run: tuple[Path, Path], tmp_path: Path) -> None:
    folder, config = run
    shown = succeed("eval", str(config), "--policy", str(folder), "--out", str(tmp_path / "out")).stdout
    figures = read_json(tmp_path / "out" / "evaluation.json")
    assert figures["policy"] == str(folder / "checkpoints" / "final" / "policy")
    # The same weights, problems and seeds; engines do not promise the same order of additions.
    summary = read_json(folder / "summary.json")
    assert figures["eval/accuracy"] == pytest.approx(summary["accuracy_after"], abs=0.1)
    assert figures["eval/length_mean"] == pytest.approx(summary["length_after"], rel=0.1)
    assert f"eval/accuracy {figures['eval/accuracy']:.4f}" in shown
    assert list((tmp_path / "out" / "rollouts").glob("eval_*.parquet"))


def test_sample_shows_what_the_policy_wrote(run: tuple[Path, Path]) -> None:
    shown = succeed("sample", str(run[0]), "--kind", "eval", "--limit", "3", "--sort", "reward").stdout
    assert "3 shown" in shown
    assert shown.count("completion ") >= 3


def test_report_writes_the_report_again(run: tuple[Path, Path]) -> None:
    report = run[0] / "report.html"
    report.unlink()
    assert str(report) in succeed("report", str(run[0])).stdout.replace("\n", "")
    assert report.stat().st_size > 10_000


def test_doctor_finds_this_machine_fit() -> None:
    shown = succeed("doctor").stdout
    for what in ("versions", "disk", "/dev/shm", "sandbox", "vLLM"):
        assert what in shown
    assert "nats" in shown, "the engines were not tried"
