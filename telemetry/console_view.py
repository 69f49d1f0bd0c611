"""What the live view shows, and how: pure functions from the state of a run to rich renderables."""

import math
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from rich import box
from rich.console import RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

LINE_METRICS = (
    "reward/mean",
    "reward/correct",
    "completion/length_mean",
    "completion/cut_share",
    "staleness/mean",
    "staleness/max",
    "staleness/masked_token_share",
    "train/loss",
    "train/mismatch_kl",
    "rollout/tokens_per_s",
    "rollout/samples_per_s",
    "train/tokens_per_s",
    "time/generate_share",
    "time/reward_share",
    "time/train_share",
    "time/sync_share",
    "time/wait_share",
    "time/step_s",
    "sync/seconds",
    "sft/loss",
    "sft/tokens_per_s",
    "reward_model/loss",
    "reward_model/accuracy",
    "reward_model/tokens_per_s",
    "step_labels/solutions",
    "step_labels/hard_share",
    "step_labels/completions_per_s",
)
_SPARKS = "▁▂▃▄▅▆▇█"
_HISTORY = 400
_SHARES = (
    ("generate", "blue"),
    ("reward", "yellow"),
    ("train", "green"),
    ("sync", "magenta"),
    ("wait", "bright_black"),
)


@dataclass(slots=True)
class RunView:
    """What there is to show. `metrics` holds the last value of each."""

    title: str
    stage: str = ""
    stage_started_s: float = field(default_factory=time.monotonic)
    step: int = 0
    total: int = 0
    eta_s: float | None = None
    metrics: dict[str, float] = field(default_factory=dict[str, float])
    rewards: deque[float] = field(default_factory=lambda: deque[float](maxlen=_HISTORY))
    lengths: deque[float] = field(default_factory=lambda: deque[float](maxlen=_HISTORY))
    losses: deque[float] = field(default_factory=lambda: deque[float](maxlen=_HISTORY))
    evaluations: list[tuple[int, dict[str, float]]] = field(default_factory=list[tuple[int, dict[str, float]]])

    def update(self, step: int, total: int, metrics: Mapping[str, float]) -> None:
        """Take the metrics of a step."""
        self.step, self.total = step, total
        self.metrics |= metrics
        for name, history in (
            ("reward/mean", self.rewards),
            ("completion/length_mean", self.lengths),
            ("sft/loss", self.losses),
        ):
            if math.isfinite(value := metrics.get(name, math.nan)):
                history.append(value)


def render(view: RunView, elapsed_s: float, width: int) -> list[RenderableType]:
    """The live view for a terminal of `width` columns."""
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", no_wrap=True, min_width=9)
    rows.add_column(no_wrap=True, overflow="ellipsis")
    spark_width = max(8, min(48, width - 62))
    if view.rewards:
        _learning_rows(rows, view, spark_width, width)
    elif view.losses:
        loss = Text.assemble(_value(view.metrics, "sft/loss", ".4f"), "  ", sparkline(view.losses, spark_width))
        rows.add_row("loss", loss)
        rows.add_row("learner", _value(view.metrics, "sft/tokens_per_s", ",.0f", " tokens/s"))
    if view.evaluations:
        rows.add_row("held out", _evaluations(view))
    body = Table.grid(expand=True)
    body.add_row(_heading(view, elapsed_s))
    if rows.row_count:
        body.add_row("")
        body.add_row(rows)
    panel = Panel(
        body, title=f"[b]rayzero[/b] {_plain(view.title)}", title_align="left", box=box.ROUNDED, border_style="dim"
    )
    return [panel]


def sparkline(values: deque[float] | list[float], width: int) -> Text:
    """The values as bars from the smallest to the largest; more than `width` of them are averaged in buckets."""
    points = list(values)
    if not points:
        return Text("")
    if len(points) > width:
        edges = [i * len(points) // width for i in range(width + 1)]
        points = [sum(points[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(points), max(points)
    scale = (len(_SPARKS) - 1) / (high - low) if high > low else 0.0
    return Text("".join(_SPARKS[round((value - low) * scale)] for value in points), style="cyan")


def share_bar(metrics: Mapping[str, float], width: int) -> Text:
    """`time/*_share` as one bar of `width` cells and its legend; shares that sum to more than 1 are scaled down."""
    shares = [(name, max(0.0, metrics.get(f"time/{name}_share", 0.0)), colour) for name, colour in _SHARES]
    whole = max(1.0, sum(share for _, share, _ in shares))
    bar, legend = Text(), Text()
    filled, reached = 0, 0.0
    for name, share, colour in shares:
        reached += share / whole
        cells = round(reached * width) - filled
        filled += cells
        bar.append("█" * cells, style=colour)
        legend.append(f" {name} ", style=colour)
        legend.append(f"{share:.0%} ")
    bar.append("░" * (width - filled), style="dim")
    return bar + legend


def duration(seconds: float | None) -> str:
    """`0:07`, `12:30`, `1:02:03`; `–` for None."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _heading(view: RunView, elapsed_s: float) -> RenderableType:
    grid = Table.grid(expand=True, padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    grid.add_column(justify="right", no_wrap=True)
    if not view.total:
        waiting = duration(time.monotonic() - view.stage_started_s)
        grid.add_row(Text(view.stage, style="bold"), Text(f"for {waiting}", style="dim"), _clock(elapsed_s, None))
        return grid
    label = Text.assemble((view.stage, "bold"), f"  step {view.step} of {view.total}")
    grid.add_row(
        label,
        ProgressBar(total=view.total, completed=view.step, complete_style="cyan", finished_style="green"),
        _clock(elapsed_s, view.eta_s),
    )
    return grid


def _clock(elapsed_s: float, eta_s: float | None) -> Text:
    left = () if eta_s is None else (f"  {duration(eta_s)}", (" left", "dim"))
    return Text.assemble(duration(elapsed_s), (" elapsed", "dim"), *left)


def _learning_rows(rows: Table, view: RunView, spark_width: int, width: int) -> None:
    m = view.metrics
    rows.add_row(
        "reward",
        Text.assemble(
            _value(m, "reward/mean", ".3f", width=8),
            sparkline(view.rewards, spark_width),
            ("   correct ", "dim"),
            _value(m, "reward/correct", ".1%"),
        ),
    )
    rows.add_row(
        "length",
        Text.assemble(
            _value(m, "completion/length_mean", ".1f", width=8),
            sparkline(view.lengths, spark_width),
            ("   longest ", "dim"),
            _value(m, "completion/length_max", ",.0f"),
            ("  cut ", "dim"),
            _value(m, "completion/cut_share", ".1%"),
        ),
    )
    rows.add_row(
        "staleness",
        Text.assemble(
            _value(m, "staleness/mean", ".2f", width=8),
            ("largest ", "dim"),
            _value(m, "staleness/max", ".0f"),
            ("  masked ", "dim"),
            _value(m, "staleness/masked_token_share", ".1%"),
            ("  in flight ", "dim"),
            _value(m, "rollout/groups_in_flight", ".0f"),
            ("  buffered ", "dim"),
            _value(m, "rollout/groups_buffered", ".0f"),
        ),
    )
    rows.add_row(
        "speed",
        Text.assemble(
            ("rollouts ", "dim"),
            _value(m, "rollout/tokens_per_s", ",.0f", " tokens/s"),
            _value(m, "rollout/samples_per_s", ",.0f", " samples/s", lead="  "),
            ("  workers ", "dim"),
            _value(m, "rollout/workers", ".0f"),
            ("   learner ", "dim"),
            _value(m, "train/tokens_per_s", ",.0f", " tokens/s"),
        ),
    )
    rows.add_row("time", share_bar(m, max(8, min(32, width - 70))))


def _evaluations(view: RunView) -> Text:
    shown = view.evaluations if len(view.evaluations) <= 3 else [view.evaluations[0], *view.evaluations[-2:]]
    text = Text()
    for step, report in shown:
        text.append(f"{report.get('eval/accuracy', math.nan):.1%}", style="bold")
        if "eval/accuracy_low" in report and "eval/accuracy_high" in report:
            text.append(f" [{report['eval/accuracy_low']:.1%}, {report['eval/accuracy_high']:.1%}]", style="dim")
        text.append(f" at step {step}    ", style="dim")
    return text


def _value(
    metrics: Mapping[str, float], name: str, form: str, unit: str = "", *, width: int = 0, lead: str = ""
) -> Text:
    value = metrics.get(name)
    known = value is not None and math.isfinite(value)
    text = f"{lead}{value:{form}}" if known else f"{lead}–"
    return Text.assemble((text.ljust(width), "bold"), (unit, "dim"))


def _plain(text: str) -> str:
    return text.replace("[", r"\[")
