"""A student of a third of the demo's parameters: taught hard, softly, on its own samples, or trained by GRPO alone.

`make demo` first, then `python -m benchmarks.distillation --seeds 0 1 2` prints a table in Markdown. For each seed the
three recipes configs/distill_*_cpu.yaml, and GRPO as in configs/demo.yaml with the student in the policy's place; the
on-policy student and that of GRPO start from one cold start. Accuracy is on held-out problems at temperature 1.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.real_run import config_tree, train
from cli.cluster import set_environment

RUN_TIMEOUT_S = 1800.0


def cold_start(folder: Path, seed: int) -> Path:
    """The policy folder from which the on-policy student and that of GRPO start."""
    tree = config_tree("distill_on_policy_cpu.yaml")
    kept = {key: tree[key] for key in ("policy", "cluster")}
    run = kept | {"method": "sft", "name": f"cold-{seed}", "seed": seed, "stages": tree["distill"]["cold_start"]}
    return train(run, folder, RUN_TIMEOUT_S).folder / "checkpoints" / "final" / "policy"


def from_policy(tree: dict[str, Any], policy: Path) -> dict[str, Any]:
    """A recipe that starts from the policy."""
    length = {"max_model_len": tree["policy"]["max_model_len"]}
    return tree | {"policy": {"type": "folder", "path": str(policy), "dtype": "float32"} | length}


def runs_of(teacher: Path, start: Path) -> dict[str, dict[str, Any]]:
    """The four configs of a seed."""
    hard, soft, on_policy = (config_tree(f"distill_{kind}_cpu.yaml") for kind in ("hard", "soft", "on_policy"))
    for tree in (hard, soft, on_policy):
        tree["distill"]["teacher"]["path"] = str(teacher)
    on_policy["distill"]["cold_start"] = []
    return {
        "hard": hard,
        "soft": soft,
        "on policy": from_policy(on_policy, start),
        "GRPO alone": from_policy(config_tree("demo.yaml") | {"cold_start": []}, start),
    }


def row(what: str, seed: int, summary: dict[str, Any]) -> str:
    """One line of the table."""
    low, high = summary["accuracy_after_interval"]
    before = summary["accuracy_before"]
    figures = f"{before:.3f} | {summary['accuracy_after']:.3f} ({low:.3f} to {high:.3f})"
    return f"| {what} | {seed} | {figures} | {summary['length_after']:.1f} | {summary['wall_s']:.0f} |"


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.distillation", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--teacher", type=Path, default=Path("runs/demo/checkpoints/step_000100/policy"))
    arguments = parser.parse_args()
    set_environment(loopback=True)
    print("| | seed | before | after (95 % interval) | tokens an answer | s |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for seed in arguments.seeds:
            start = cold_start(Path(scratch), seed)
            for what, tree in runs_of(arguments.teacher.absolute(), start).items():
                run = train(
                    tree | {"name": f"{what.replace(' ', '-')}-{seed}", "seed": seed}, Path(scratch), RUN_TIMEOUT_S
                )
                print(row(what, seed, json.loads((run.folder / "summary.json").read_text())), flush=True)


if __name__ == "__main__":
    main()
