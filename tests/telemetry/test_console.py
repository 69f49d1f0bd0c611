"""The terminal: lines that a program can read, and a live view that other output does not tear."""

import io
import logging
import sys
from collections import deque

import pytest
from rich.console import Console as Terminal
from rich.console import RenderableType

from telemetry.console import Console
from telemetry.console_view import RunView, duration, render, share_bar, sparkline

pytestmark = pytest.mark.unit

SHARES = {"generate": 0.5, "reward": 0.1, "train": 0.3, "sync": 0.05, "wait": 0.05}
STEP = {
    "reward/mean": 0.5231,
    "reward/correct": 0.4,
    "completion/length_mean": 35.25,
    "staleness/mean": 1.0,
    "staleness/max": 2.0,
    "rollout/tokens_per_s": 9812.0,
    "train/tokens_per_s": 12034.0,
    "train/loss": float("nan"),
} | {f"time/{name}_share": share for name, share in SHARES.items()}


def pairs(line: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in line.split())


def drawn(*parts: RenderableType, width: int = 120) -> str:
    file = io.StringIO()
    terminal = Terminal(file=file, width=width)
    for part in parts:
        terminal.print(part)
    return file.getvalue()


def test_without_a_terminal_each_step_is_one_line_of_pairs() -> None:
    file = io.StringIO()
    console = Console("demo", file=file)
    for step in (1, 2, 3):
        console.log_step(step, 50, STEP)
    lines = file.getvalue().splitlines()
    assert len(lines) == 3
    last = pairs(lines[-1])
    assert (last["step"], last["of"]) == ("3", "50")
    assert float(last["reward/mean"]) == 0.5231
    assert float(last["rollout/tokens_per_s"]) == 9812
    assert last["train/loss"] == "nan"
    assert float(last["eta_s"]) >= 0
    assert "eta_s" not in pairs(lines[0])


def test_evaluations_and_stages_have_lines_of_their_own() -> None:
    file = io.StringIO()
    console = Console("demo", file=file)
    console.stage("cold start")
    console.log_step(20, 50, {"eval/accuracy": 0.6103, "eval/pass_at_2": 0.7})
    stage, evaluation = file.getvalue().splitlines()
    assert stage.startswith("stage elapsed_s=")
    assert stage.endswith(" cold start")
    assert evaluation.startswith("eval step=20 ")
    assert pairs(evaluation.removeprefix("eval "))["eval/accuracy"] == "0.6103"


def test_the_view_shows_what_a_watcher_wants() -> None:
    view = RunView("demo", stage="GRPO")
    for step in (1, 2):
        view.update(step, 50, STEP)
    view.evaluations.append((20, {"eval/accuracy": 0.61, "eval/accuracy_low": 0.57, "eval/accuracy_high": 0.65}))
    text = drawn(*render(view, 65.0, 120))
    for figure in ("step 2 of 50", "1:05 elapsed", "0.523", "40.0%", "35.2", "9,812", "12,034", "generate 50%"):
        assert figure in text
    assert "61.0% [57.0%, 65.0%] at step 20" in text


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_of_the_view_is_wider_than_the_terminal(width: int) -> None:
    view = RunView("demo [not markup]", stage="GRPO [x]")
    view.update(1, 50, STEP)
    text = drawn(*render(view, 1.0, width), width=width)
    assert all(len(line) <= width for line in text.splitlines())
    assert "[not markup]" in text


def test_other_output_does_not_tear_the_live_view_and_gets_its_stream_back() -> None:
    real = sys.stderr
    handler = logging.StreamHandler(real)
    logger = logging.getLogger("rayzero.test_console")
    logger.addHandler(handler)
    file = io.StringIO()
    console = Console("demo", file=file, live=True)
    try:
        console.log_step(1, 50, STEP)
        assert handler.stream is not real
        logger.warning("a line from elsewhere")
        print("a print from elsewhere")
    finally:
        console.close()
        logger.removeHandler(handler)
    assert handler.stream is real
    assert sys.stderr is real
    text = file.getvalue()
    assert "a line from elsewhere\n" in text
    assert "a print from elsewhere\n" in text
    assert "step 1 of 50" in text
    console.close()


def test_the_final_table_stands_after_the_view_with_short_rows_filled() -> None:
    file = io.StringIO()
    console = Console("demo", file=file, live=True)
    console.final_table([("accuracy [%]", "0.05", "0.93"), ("steps", "50")], columns=("", "before", "after"))
    text = file.getvalue()
    assert "accuracy [%]" in text
    assert "0.93" in text
    assert text.rstrip().splitlines()[-1].split() == ["steps", "50"]


def test_sparklines_span_the_range_and_fit_the_width() -> None:
    assert sparkline([0.0, 0.5, 1.0], 10).plain == "▁▅█" or sparkline([0.0, 0.5, 1.0], 10).plain == "▁▄█"
    assert sparkline([2.0, 2.0], 10).plain == "▁▁"
    assert sparkline([], 10).plain == ""
    long = sparkline(deque(float(i) for i in range(1000)), 20).plain
    assert len(long) == 20
    assert list(long) == sorted(long)


def test_the_bar_of_shares_is_full_when_they_sum_to_one_and_never_longer() -> None:
    metrics = {f"time/{name}_share": share for name, share in SHARES.items()}
    assert share_bar(metrics, 20).plain.startswith("█" * 20 + " ")
    assert share_bar({"time/train_share": 0.5}, 20).plain.startswith("█" * 10 + "░" * 10)
    twice = {name: 2 * share for name, share in metrics.items()}
    assert share_bar(twice, 20).plain.count("█") == 20


@pytest.mark.parametrize(("seconds", "text"), [(7, "0:07"), (750, "12:30"), (3723, "1:02:03"), (None, "–")])
def test_durations_read_as_a_clock(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
