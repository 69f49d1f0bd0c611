"""report.html: a run on one page that opens anywhere: figures, curves, evaluations, samples, config. No network.

It is made from the run folder alone (summary.json, metrics.jsonl, rollouts/eval_*.parquet, config.yaml,
versions.json); what is missing is left out. All text is escaped, and the page forbids itself scripts and loads: what a
policy writes is not to be trusted.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import yaml

from telemetry.charts import Series, legend, line_chart, stacked_chart
from telemetry.console_view import duration
from telemetry.parameters import redact_secrets
from telemetry.report_samples import Sample, read_samples
from telemetry.report_scores import scores_section
from telemetry.report_style import STYLE
from telemetry.report_thinking import thinking_charts
from telemetry.spool import read_metrics

Row = Mapping[str, float]

# Control characters and marks that turn the direction of writing could make a text look like another.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_SHARES = (("generate", "blue"), ("reward", "yellow"), ("train", "aqua"), ("sync", "violet"), ("wait", "grey"))


def write_report(run_folder: Path) -> Path:
    """Write `report.html` into the run folder and return its path; an older one is replaced in one move.

    Raises FileNotFoundError when the folder is missing, ValueError when a file in it is not what rayzero writes.
    """
    if not run_folder.is_dir():
        raise FileNotFoundError(f"There is no run folder {run_folder}; give the folder of a run, such as runs/demo.")
    rows = read_metrics(run_folder / "metrics.jsonl")
    summary = _read_json(run_folder / "summary.json")
    evaluations = [row for row in rows if "eval/accuracy" in row]
    body = [
        _header(run_folder.name, summary, rows),
        _figures(summary, evaluations),
        scores_section(summary),
        "<h2>Curves <small>over optimizer steps</small></h2>",
        f'<div class="charts">{"".join(_charts(rows, evaluations))}</div>',
        _evaluation_table(evaluations),
        _samples(read_samples(run_folder / "rollouts")),
        _sources(run_folder),
    ]
    path = run_folder / "report.html"
    temporary = path.with_name("report.html.new")
    temporary.write_text(_page(run_folder.name, "".join(body)), encoding="utf-8")
    temporary.replace(path)
    return path


def shown(text: object) -> str:
    """HTML of any text: escaped, with unseen characters spelled out as `\\u202e`."""
    return escape(_UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", str(text)))


def _page(name: str, body: str) -> str:
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{shown(name)} · rayzero</title><style>{STYLE}</style>"
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body><main>{body}</main></body></html>\n'


def _header(name: str, summary: Mapping[str, Any], rows: Sequence[Row]) -> str:
    status = summary.get("status")
    pill = f'<span class="status">{shown(status)}</span>' if status else ""
    times = [row["time"] for row in rows if "time" in row]
    started = f"{datetime.fromtimestamp(min(times), UTC):%Y-%m-%d %H:%M} UTC, " if times else ""
    steps = max((int(row["step"]) for row in rows if _is_training(row)), default=0)
    return f"<header><h1>{shown(name)}</h1>{pill}<p>{started}{steps} steps logged</p></header>"


def _is_training(row: Row) -> bool:
    return any(name.startswith(("train/", "reward/", "sft/", "reward_model/")) for name in row)


def _figures(summary: Mapping[str, Any], evaluations: Sequence[Row]) -> str:
    """The headline and the tiles, from summary.json; while a run goes on the headline is from its evaluations."""
    before, after = _accuracy(summary, "before"), _accuracy(summary, "after")
    if before is None and evaluations:
        before = _accuracy_of(evaluations[0])
    if after is None and len(evaluations) > 1:
        after = _accuracy_of(evaluations[-1])
    hero = ""
    if before or after:
        figures, notes = "", ""
        if before:
            figures += f'<span class="{"from" if after else ""}">{before[0]:.1%}</span>'
            notes += f"before {_interval(before)}"
        if before and after:
            figures += '<span class="arrow">→</span>'
            notes += " · "
        if after:
            figures += f"<span>{after[0]:.1%}</span>"
            notes += f"after {_interval(after)}"
        hero = (
            '<div class="card hero"><span class="label">Held-out accuracy (pass@1)</span>'
            f'<div class="figures">{figures}</div><p class="note">95 % interval: {notes}</p></div>'
        )
    tiles = "".join(
        f'<div class="card tile"><span class="label">{escape(label)}</span><b>{escape(text)}</b></div>'
        for label, text in _tiles(summary)
    )
    return f'<section class="{"top" if hero and tiles else ""}">{hero}<div class="tiles">{tiles}</div></section>'


def _accuracy(summary: Mapping[str, Any], when: str) -> tuple[float, float, float] | None:
    value, interval = summary.get(f"accuracy_{when}"), summary.get(f"accuracy_{when}_interval")
    if value is None:
        return None
    low, high = interval or (math.nan, math.nan)
    return float(value), float(low), float(high)


def _accuracy_of(row: Row) -> tuple[float, float, float]:
    return row["eval/accuracy"], row.get("eval/accuracy_low", math.nan), row.get("eval/accuracy_high", math.nan)


def _interval(accuracy: tuple[float, float, float]) -> str:
    _, low, high = accuracy
    return "–" if math.isnan(low) else f"[{low:.1%}, {high:.1%}]"


def _tiles(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    forms = (
        ("steps", "Optimizer steps", "{:,.0f}"),
        ("samples", "Completions", "{:,.0f}"),
        ("generated_tokens", "Generated tokens", "{:,.0f}"),
        ("samples_per_s", "Completions / s", "{:,.1f}"),
        ("tokens_per_s", "Tokens / s", "{:,.0f}"),
        ("staleness_max", "Largest staleness", "{:.0f}"),
        ("sync_s_mean", "Mean weight sync", "{:.3f} s"),
    )
    tiles = [(label, form.format(summary[key])) for key, label, form in forms if summary.get(key) is not None]
    before, after = summary.get("length_before"), summary.get("length_after")
    if before is not None and after is not None:
        tiles.insert(0, ("Mean length", f"{before:.1f} → {after:.1f}"))
    for key, label in (("wall_s", "Wall time"), ("cold_start_s", "of it cold start")):
        if summary.get(key) is not None:
            tiles.append((label, duration(summary[key])))
    return tiles


def _charts(rows: Sequence[Row], evaluations: Sequence[Row]) -> list[str]:
    def curve(name: str, label: str, colour: str, keep_peaks: bool = False) -> Series:
        points = [(row["step"], row[name]) for row in rows if math.isfinite(row.get(name, math.nan))]
        return Series(label, f"var(--{colour})", points, keep_peaks=keep_peaks)

    held_out = Series(
        "held out",
        "var(--blue)",
        [(row["step"], row["eval/accuracy"]) for row in evaluations],
        whiskers=[(row["step"], *_accuracy_of(row)[1:]) for row in evaluations if "eval/accuracy_low" in row],
        dots=True,
    )
    accuracy = [curve("reward/correct", "training", "grey"), held_out]
    reward = [curve("reward/mean", "mean", "blue"), curve("reward/std", "deviation", "grey")]
    length = [
        curve("completion/length_mean", "mean", "blue"),
        curve("completion/trained_length_mean", "trained", "aqua"),
    ]
    longest = curve("completion/length_max", "longest", "grey", keep_peaks=True)
    staleness = [
        curve("staleness/mean", "mean", "blue"),
        curve("staleness/max", "largest", "grey", keep_peaks=True),
    ]
    mismatch = [curve("train/mismatch_kl", "sampler to learner", "blue")]
    reference = [curve("train/kl_reference", "to the reference", "violet")]
    speed = [curve("rollout/tokens_per_s", "rollouts", "blue"), curve("train/tokens_per_s", "learner", "aqua")]
    shares = [curve(f"time/{name}_share", name, colour) for name, colour in _SHARES]
    charts = [
        _chart("Accuracy", "share correct", accuracy, line_chart(accuracy, percent=True)),
        _chart("Reward", "per completion", reward, line_chart(reward)),
        _chart("Completion length", "tokens", [*length, longest], line_chart([*length, longest], number=".1f")),
        _chart("Staleness", "versions, per token", staleness, line_chart(staleness, number=".2f")),
        _chart("KL", "nats, per token", [*mismatch, *reference], line_chart([*mismatch, *reference])),
        _chart("Speed", "tokens per second", speed, line_chart(speed, number=",.0f")),
        _chart("Time of the learner", "share of each step", shares, stacked_chart(shares)),
    ]
    scores = [curve("reward_model/loss", "loss", "blue"), curve("reward_model/accuracy", "accuracy", "aqua")]
    if scores[0].points:
        charts.append(_chart("Score model", "nats; share on the right side", scores, line_chart(scores)))
    loss = [curve("sft/loss", "loss", "blue")]
    if loss[0].points:
        charts.append(_chart("Supervised loss", "nats, per response token", loss, line_chart(loss)))
    star = [
        replace(curve("star/solved_share", "problems solved without a hint", "blue"), dots=True),
        replace(curve("star/rationalized_share", "training data made with a hint", "violet"), dots=True),
    ]
    if star[0].points:
        charts.append(_chart("Iterations", "share, per iteration", star, line_chart(star, percent=True)))
    thinking = thinking_charts(rows, accuracy)
    return [*thinking, *(charts[1:] if thinking else charts)]  # the first of them shows the accuracy as well


def _chart(title: str, unit: str, series: Sequence[Series], svg: str) -> str:
    head = f"<h3>{escape(title)}<small>{escape(unit)}</small></h3>{legend(series)}"
    return f'<figure class="card chart" style="margin:0"><header>{head}</header>{svg}</figure>'


def _evaluation_table(evaluations: Sequence[Row]) -> str:
    if not evaluations:
        return ""
    extra = sorted({name for row in evaluations for name in row if name.startswith("eval/pass_at_")}, key=_natural)
    extra = [name for name in extra if name != "eval/pass_at_1"]
    columns = ["step", "accuracy", "95 % interval", *(name.removeprefix("eval/").replace("_", " ") for name in extra)]
    columns += ["mean length", "format", "problems"]
    lines = []
    for row in evaluations:
        _, low, high = _accuracy_of(row)
        cells = [f"{row['step']:g}", f"{row['eval/accuracy']:.1%}", f"{low:.1%} – {high:.1%}"]
        cells += [_cell(row.get(name), ".1%") for name in extra]
        cells += [_cell(row.get("eval/length_mean"), ".1f"), _cell(row.get("eval/format_share"), ".1%")]
        cells.append(_cell(row.get("eval/problems"), ",.0f"))
        lines.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    return f'<h2>Evaluations</h2><div class="card scroll">{table}</div>'


def _cell(value: float | None, form: str) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:{form}}"


def _natural(name: str) -> int:
    return int(name.rsplit("_", 1)[1])


def _samples(problems: Sequence[tuple[Sample | None, Sample | None]]) -> str:
    if not problems:
        return ""
    cards: list[str] = []
    for before, after in problems:
        prompt = next(sample.prompt for sample in (before, after) if sample is not None)
        columns = "".join(_answer(sample) for sample in (before, after) if sample is not None)
        cards.append(f'<div class="card sample"><pre>{shown(prompt)}</pre><div class="pair">{columns}</div></div>')
    note = "The first problems of the evaluation, in its order, not chosen by result: first and last evaluation."
    return f'<h2>Samples</h2><p class="note" style="margin:-8px 0 14px">{note}</p>{"".join(cards)}'


def _answer(sample: Sample) -> str:
    verdict = "right" if sample.correct else "wrong"
    score = "no score" if sample.score is None else f"score {sample.score:g}"
    line = f'step {sample.step} · <span class="{verdict}">{verdict}</span> · {score} · {sample.tokens} tokens'
    cut = " · cut at the limit" if sample.cut else ""
    return f'<div><p class="verdict">{line}{cut}</p><pre>{shown(sample.text)}</pre></div>'


def _sources(run_folder: Path) -> str:
    parts: list[str] = []
    config = run_folder / "config.yaml"
    if config.exists():
        text = yaml.safe_dump(redact_secrets(yaml.safe_load(config.read_text())), sort_keys=False, allow_unicode=True)
        parts.append(_details("Config", text))
    versions = _read_json(run_folder / "versions.json")
    if versions:
        parts.append(_details("Versions", yaml.safe_dump(redact_secrets(versions), sort_keys=False)))
    return f"<h2>How it was made</h2>{''.join(parts)}" if parts else ""


def _details(title: str, text: str) -> str:
    pre = f'<pre class="open">{shown(text)}</pre>'
    return f'<details class="card"><summary>{escape(title)}</summary>{pre}</details>'


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); delete it or write it again, then make the report.") from error
    return value if isinstance(value, dict) else {}
