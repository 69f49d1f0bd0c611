"""Do Monte-Carlo labels find the first wrong step? `python -m benchmarks.step_labels [KEY.SUB=VALUE ...]`.

Sixty worked additions of `tests/trainers/wrong_steps.jsonl`, of which fifty have a slip at a known step, are labelled
with `configs/step_labels_cpu.yaml` (`make demo` first). A step is called wrong when its hard label is 0. Run folders
go to `runs/step_label_benchmark`; settings replace those of the config.
"""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from algorithms.pass_at_k import wilson_interval
from algorithms.step_labels import StepLabel, first_wrong_step
from data.step_labels import read_step_labels

ROOT = Path(__file__).parents[1]
ROWS = ROOT / "tests" / "trainers" / "wrong_steps.jsonl"
NAME = "step_label_benchmark"


def label(overrides: list[str]) -> None:
    """One run of `method: step_labels` on the sixty solutions. Raises CalledProcessError."""
    solutions = f"step_labels.solutions={{type: rows, path: {ROWS}, template: raw}}"
    command = [sys.executable, "-m", "cli.main", "train", str(ROOT / "configs" / "step_labels_cpu.yaml")]
    subprocess.run([*command, f"name={NAME}", solutions, *overrides, "--overwrite"], check=True)


def report(folder: Path) -> str:
    """What was found, by kind of slip, with 95 % intervals."""
    truth = {row["prompt"]: row for row in map(json.loads, ROWS.read_text(encoding="utf-8").splitlines())}
    found: Counter[str] = Counter()
    total: Counter[str] = Counter()
    late = early = doubted = right = 0
    for solution in read_step_labels(folder)[1]:
        row = truth[solution.problem]
        hard = [StepLabel(r, n).hard for r, n in zip(solution.right, solution.completions, strict=True)]
        first = first_wrong_step(hard)
        if row["wrong_step"] is None:
            right, doubted = right + 1, doubted + (first is not None)
            continue
        total[row["slip"]] += 1
        found[row["slip"]] += first == row["wrong_step"]
        late += first is None or first > row["wrong_step"]
        early += first is not None and first < row["wrong_step"]
    hits, slips = sum(found.values()), sum(total.values())
    low, high = wilson_interval(hits, slips)
    lines = [f"first wrong step found: {hits} of {slips}, {hits / slips:.2f} [{low:.2f}, {high:.2f}]"]
    lines += [f"  {slip}: {found[slip]} of {total[slip]}" for slip in sorted(total)]
    lines.append(f"called wrong too late (the policy repaired the slip): {late}; too early: {early}")
    lines.append(f"right solutions with a step called wrong: {doubted} of {right}")
    return "\n".join(lines)


if __name__ == "__main__":
    label(sys.argv[1:])
    print(report(Path("runs") / NAME))
