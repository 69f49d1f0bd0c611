"""Runs of the real `rayzero train`, each in a process of its own, and what their records say."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.load import dump_run, load_run, parse_run
from telemetry.spool import SpoolLine, read_lines

RAYZERO = Path(sys.executable).parent / "rayzero"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run that has ended, and its metrics.jsonl."""

    folder: Path
    lines: list[SpoolLine]

    def having(self, metric: str) -> list[SpoolLine]:
        """The lines that hold a metric, in the order in which they were written."""
        return [line for line in self.lines if metric in line.metrics]


def train(tree: dict[str, Any], folder: Path, timeout_s: float) -> RunRecord:
    """Run a config to its end in `folder`. Raises RuntimeError with the end of what it printed when it fails."""
    run = parse_run(tree | {"runs_folder": str(folder)})
    config, printed = folder / f"{run.name}.yaml", folder / f"{run.name}.printed"
    config.write_text(dump_run(run))
    with printed.open("w") as output:
        done = subprocess.run(
            [str(RAYZERO), "train", str(config)], stdout=output, stderr=subprocess.STDOUT, timeout=timeout_s
        )
    if done.returncode:
        raise RuntimeError(f"{run.name} ended with exit code {done.returncode}:\n{printed.read_text()[-4000:]}")
    return RunRecord(folder / run.name, read_all(folder / run.name / "metrics.jsonl"))


def summary_of(tree: dict[str, Any], folder: Path, timeout_s: float) -> dict[str, Any]:
    """The `summary.json` of a run to its end."""
    return json.loads((train(tree, folder, timeout_s).folder / "summary.json").read_text())


def cold_start(tree: dict[str, Any], stages: list[Any], folder: Path, seed: int, timeout_s: float) -> Path:
    """The policy folder that a recipe's cold start leaves, for several runs to start from."""
    kept = {key: tree[key] for key in ("policy", "learner", "cluster")}
    run = kept | {"method": "sft", "name": f"cold-{seed}", "seed": seed, "stages": stages}
    return train(run, folder, timeout_s).folder / "checkpoints" / "final" / "policy"


def from_policy(tree: dict[str, Any], policy: Path) -> dict[str, Any]:
    """A recipe that starts from the policy in place of its own."""
    settings = {"type": "folder", "path": str(policy), "dtype": "float32"}
    return tree | {"policy": settings | {"max_model_len": tree["policy"]["max_model_len"]}}


def read_all(path: Path) -> list[SpoolLine]:
    """Every line of a metrics.jsonl."""
    lines: list[SpoolLine] = []
    while more := read_lines(path, lines[-1].end if lines else 0):
        lines += more
    return lines


def config_tree(name: str) -> dict[str, Any]:
    """A config of `configs/`, resolved, to be changed."""
    return load_run(Path(__file__).parent.parent / "configs" / name).model_dump(mode="json")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))
