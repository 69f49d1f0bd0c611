"""The report's pictures of thinking: length of thought under accuracy over the same steps, and what is in it.

An "aha moment" (DeepSeek-R1, arXiv 2501.12948) would be seen in the first: accuracy and length of thought rise
together, and self-checks with them.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape

from telemetry.charts import Series, legend, line_chart

Row = Mapping[str, float]


def thinking_charts(rows: Sequence[Row], accuracy: Sequence[Series]) -> list[str]:
    """Figures; none when no thought was measured. `accuracy`: the curves that the length is compared with."""
    length = [
        _curve(rows, "thinking/length_mean", "training", "grey"),
        _curve(rows, "eval/thinking_length_mean", "held out", "blue", dots=True),
    ]
    if not any(series.points for series in length):
        return []
    steps = [step for series in (*accuracy, *length) for step, _ in series.points]
    bounds = (min(steps), max(steps))
    above = line_chart(accuracy, percent=True, steps=bounds)
    below = line_chart(length, number=".1f", steps=bounds)
    panels = f'<p class="panel">accuracy, share correct</p>{above}<p class="panel">length of thought, tokens</p>{below}'
    figures = [_figure("Thought and accuracy", "over the same steps", length, panels)]
    phrases = [
        _curve(rows, "thinking/self_check_share", "checks itself", "blue"),
        _curve(rows, "thinking/backtrack_share", "turns back", "violet"),
        _curve(rows, "thinking/mixed_language_share", "mixes languages", "yellow"),
    ]
    distinct = [_curve(rows, "thinking/distinct_4gram_share", "distinct runs of 4 tokens", "aqua")]
    above, below = (line_chart(series, percent=True, steps=bounds) for series in (phrases, distinct))
    panels = f'<p class="panel">completions with such phrases, share</p>{above}'
    panels += f'<p class="panel">distinct runs of 4 tokens, share</p>{below}'
    return [*figures, _figure("What is in the thoughts", "training completions", phrases, panels)]


def _curve(rows: Sequence[Row], name: str, label: str, colour: str, *, dots: bool = False) -> Series:
    points = [(row["step"], row[name]) for row in rows if math.isfinite(row.get(name, math.nan))]
    return Series(label, f"var(--{colour})", points, dots=dots)


def _figure(title: str, note: str, series: Sequence[Series], panels: str) -> str:
    head = f"<h3>{escape(title)}<small>{escape(note)}</small></h3>{legend(series)}"
    return f'<figure class="card chart" style="margin:0"><header>{head}</header>{panels}</figure>'
