"""What rationalization and the restart from the base weights do for STaR, and what GRPO makes of as many tokens.

`python -m benchmarks.star_ablation --seeds 0 1 2` prints a table in Markdown. For each seed one cold start, that of
configs/demo_star.yaml with its hinted examples; from it, STaR in four variants and GRPO as in configs/demo.yaml, for as
many steps as the sampled tokens of full STaR pay for. Accuracy is on held-out problems at temperature 1.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.real_run import cold_start, config_tree, from_policy, summary_of
from cli.cluster import set_environment

RUN_TIMEOUT_S = 1800.0
VARIANTS: dict[str, dict[str, Any]] = {
    "STaR: hints, from base": {},
    "hints, from last": {"restart_from": "last"},
    "no hints, from base": {"rationalization": None},
    "no hints, from last": {"rationalization": None, "restart_from": "last"},
}


def star(policy: Path, folder: Path, seed: int, number: int, changes: dict[str, Any]) -> dict[str, Any]:
    """The summary of one variant."""
    tree = from_policy(config_tree("demo_star.yaml"), policy)
    own = {"name": f"star-{seed}-{number}", "seed": seed, "cold_start": []}
    return summary_of(tree | own | {"star": tree["star"] | changes | {"patience": 0}}, folder, RUN_TIMEOUT_S)


def grpo(policy: Path, folder: Path, seed: int, tokens: int, length: float) -> dict[str, Any]:
    """The summary of GRPO that samples about as many tokens, at a mean length of `length`."""
    tree = from_policy(config_tree("demo.yaml"), policy)
    per_step = tree["prompts_per_step"] * tree["rollout"]["group_size"] * length
    own = {"name": f"grpo-{seed}", "seed": seed, "cold_start": [], "steps": max(1, round(tokens / per_step))}
    return summary_of(tree | own, folder, RUN_TIMEOUT_S)


def row(what: str, seed: int, summary: dict[str, Any]) -> str:
    """One line of the table; for STaR with the accuracy after each iteration."""
    low, high = summary["accuracy_after_interval"]
    steps = summary.get("accuracy_by_iteration")
    way = " → ".join(f"{accuracy:.3f}" for accuracy in steps) if steps else f"{summary['steps']} steps"
    figures = f"{summary['accuracy_before']:.3f} | {way} | {summary['accuracy_after']:.3f} ({low:.3f} to {high:.3f})"
    return f"| {what} | {seed} | {figures} | {summary['generated_tokens']:,} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.star_ablation", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    seeds = parser.parse_args().seeds
    set_environment(loopback=True)
    print("| | seed | before | on the way | after (95 % interval) | sampled tokens |\n|---|---|---|---|---|---|")
    recipe = config_tree("demo_star.yaml")
    with tempfile.TemporaryDirectory() as scratch:
        for seed in seeds:
            folder = Path(scratch)
            policy = cold_start(recipe, recipe["cold_start"], folder, seed, RUN_TIMEOUT_S)
            summaries: list[dict[str, Any]] = []
            for number, (what, changes) in enumerate(VARIANTS.items()):
                summaries.append(star(policy, folder, seed, number, changes))
                print(row(what, seed, summaries[-1]), flush=True)
            full = summaries[0]
            length = full["generated_tokens"] / full["samples"]
            print(row("GRPO", seed, grpo(policy, folder, seed, full["generated_tokens"], length)), flush=True)


if __name__ == "__main__":
    main()
