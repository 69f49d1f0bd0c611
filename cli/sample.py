"""`rayzero sample`: show completions of a run from its Parquet store, in a terminal or a pipe.

Contract: reads the files of one step only; a wrong folder or step is a DataError that says what there is.
"""

import json
import random
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from rich.console import Console
from rich.text import Text

from data.errors import DataError
from data.store import Kind, read_rollouts, rollout_files

Sort = Literal["reward", "length", "random"]


def show_samples(
    run_folder: Path,
    *,
    step: int | None = None,
    correct: bool | None = None,
    limit: int = 5,
    sort: Sort = "reward",
    kind: Kind = "train",
    console: Console | None = None,
) -> None:
    """Print up to `limit` completions of a step (None: the newest), best reward, longest, or any first.

    `correct` keeps the right or the wrong ones; None keeps both. Raises DataError when there is nothing to read.
    """
    console = console or Console(highlight=False)
    folder = Path(run_folder) / "rollouts"
    if not folder.is_dir():
        raise DataError(f"{run_folder} is not the folder of a run: it has no folder `rollouts`. Give one of `runs/`.")
    if step is None:
        step = max(rollout_files(folder, kind), default=0)
    rows = _read(folder, step, kind)
    chosen = _choose(rows, correct, sort)[:limit]
    right = sum(row["correct"] for row in rows)
    console.print(
        f"{run_folder}: {kind} step {step}, {len(rows)} completions, {right} correct; {len(chosen)} shown",
        markup=False,
        soft_wrap=True,
    )
    for number, row in enumerate(chosen, 1):
        console.print()
        console.print(_render(number, row), soft_wrap=True)


def _read(folder: Path, step: int, kind: Kind) -> list[dict[str, Any]]:
    table: pa.Table = read_rollouts(folder, [step], kind=kind)
    return table.to_pylist(maps_as_pydicts="strict")


def _choose(rows: list[dict[str, Any]], correct: bool | None, sort: Sort) -> list[dict[str, Any]]:
    chosen = [row for row in rows if correct is None or row["correct"] == correct]
    match sort:
        case "random":
            random.shuffle(chosen)
        case "length":
            chosen.sort(key=lambda row: -len(row["completion_token_ids"]))
        case "reward":  # completions without a score come last
            chosen.sort(key=lambda row: (row["score"] is None, -(row["score"] or 0.0)))
    return chosen


def _render(number: int, row: dict[str, Any]) -> Text:
    """Facts in one line, then prompt and completion as they are; no text of the model is taken as markup."""
    text = Text()
    mark, style = ("correct", "green") if row["correct"] else ("wrong", "red")
    if row["outcome"] != "ok":
        mark, style = row["outcome"], "yellow"
    text.append(f"[{number}] {mark}", style=f"bold {style}")
    text.append(f"  group {row['group_id']} sample {row['sample']}  {row['prompt_id']}\n", style="bold")
    score = "none" if row["score"] is None else f"{row['score']:g}"
    parts = ", ".join(f"{name} {value:g}" for name, value in row["reward_parts"].items())
    facts = [
        f"score {score}" + (f" ({parts})" if parts else ""),
        "not trained" if row["advantage"] is None else f"advantage {row['advantage']:+.3f}",
        f"{len(row['completion_token_ids'])} tokens, {_finish(row['finish_reason'])}",
        _spans(row["versions"]),
        f"reference {json.dumps(json.loads(row['reference']), ensure_ascii=False)}",
    ]
    if row["detail"]:
        facts.append(row["detail"])
    text.append("    " + " · ".join(facts) + "\n", style="dim")
    text.append("prompt      ", style="cyan")
    text.append(_indented(row["prompt_text"]) + "\n")
    text.append("completion  ", style="cyan")
    text.append(_indented(row["completion_text"]))
    return text


def _finish(reason: str) -> str:
    return "cut at the limit" if reason == "length" else "ended by itself"


def _spans(versions: list[int]) -> str:
    """`version 3`, or `versions 3×12 4×5` for 12 tokens of version 3 and then 5 of version 4."""
    spans: list[tuple[int, int]] = []
    for version in versions:
        if spans and spans[-1][0] == version:
            spans[-1] = (version, spans[-1][1] + 1)
        else:
            spans.append((version, 1))
    if len(spans) <= 1:
        return f"version {spans[0][0]}" if spans else "no tokens"
    return "versions " + " ".join(f"{version}×{tokens}" for version, tokens in spans)


def _indented(text: str) -> str:
    return text.replace("\n", "\n            ")
