"""A student of a third of the demo's parameters: taught hard, softly, on its own samples, or trained by GRPO alone.

`make demo` first, then `python -m benchmarks.distillation --seeds 0 1 2` prints a table in Markdown. For each seed the
three recipes configs/distill_*_cpu.yaml, and GRPO as in configs/demo.yaml with the student in the policy's place; the
on-policy student and that of GRPO start from one cold start. Accuracy is on held-out problems at temperature 1.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.real_run import cold_start, config_tree, from_policy, summary_of
from cli.cluster import set_environment

RUN_TIMEOUT_S = 1800.0


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
    first = config_tree("distill_on_policy_cpu.yaml")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for seed in arguments.seeds:
            start = cold_start(first, first["distill"]["cold_start"], folder, seed, RUN_TIMEOUT_S)
            for what, tree in runs_of(arguments.teacher.absolute(), start).items():
                named = tree | {"name": f"{what.replace(' ', '-')}-{seed}", "seed": seed}
                print(row(what, seed, summary_of(named, folder, RUN_TIMEOUT_S)), flush=True)


if __name__ == "__main__":
    main()
