"""The report's section on a model that scores: held-out figures before and after, and the reliability table."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_SHOWN = (
    ("loss", "Loss, nats", ".3f"),
    ("accuracy", "Accuracy", ".1%"),
    ("auc", "AUC", ".3f"),
    ("ranking_accuracy", "Ranking within a problem", ".1%"),
    ("ece", "Calibration error (ECE)", ".3f"),
    ("solution_auc_min", "AUC of solutions, weakest step", ".3f"),
    ("solution_auc_product", "AUC of solutions, product", ".3f"),
    ("solution_auc_last", "AUC of solutions, last step", ".3f"),
    ("first_wrong_step_accuracy", "First wrong step found", ".1%"),
)


def scores_section(summary: Mapping[str, Any]) -> str:
    """HTML from `held_out_before` and `held_out_after` of summary.json; empty for other runs."""
    before, after = summary.get("held_out_before"), summary.get("held_out_after")
    if not before or not after:
        return ""
    figures = [
        (label, _figure(before, name, form), _figure(after, name, form))
        for name, label, form in _SHOWN
        if name in after
    ]
    counts = f"{after['examples']:,.0f} held-out examples of {after['problems']:,.0f} problems"
    note = f"{counts}; 95 % intervals over problems."
    bins = [
        (
            f"{row['low']:.3f} to {row['high']:.3f}",
            f"{row['count']:,}",
            f"{row['mean_probability']:.3f}",
            f"{row['mean_label']:.3f}",
        )
        for row in after["reliability"]
    ]
    return (
        f'<h2>Held-out scores</h2><p class="note" style="margin:-8px 0 14px">{escape(note)}</p>'
        + _table(("", "before", "after"), figures)
        + "<h2>Reliability <small>after training, bins of as many predictions each</small></h2>"
        + _table(("probability", "predictions", "mean probability", "share that came true"), bins)
    )


def _figure(figures: Mapping[str, Any], name: str, form: str) -> str:
    if name not in figures:
        return "–"
    text = f"{figures[name]:{form}}"
    if f"{name}_low" in figures:
        text += f" [{figures[f'{name}_low']:{form}}, {figures[f'{name}_high']:{form}}]"
    return text


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="card scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
