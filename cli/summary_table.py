"""The table at the end of a run, from its `summary.json`."""

from collections.abc import Mapping
from typing import Any


def summary_rows(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(what, before, after) of what the summary holds."""

    def both(label: str, key: str, form: str) -> tuple[str, str, str]:
        return label, _form(summary.get(f"{key}_before"), form), _form(summary.get(f"{key}_after"), form)

    def one(label: str, key: str, form: str) -> tuple[str, str, str]:
        return (label, _form(summary.get(key), form), "")

    def interval(when: str) -> str:
        pair = summary.get(f"accuracy_{when}_interval")
        return "" if pair is None else f"{pair[0]:.3f} to {pair[1]:.3f}"

    def held_out(label: str, name: str) -> tuple[str, str, str]:
        before, after = (_form(summary.get(f"held_out_{when}", {}).get(name), ".3f") for when in ("before", "after"))
        return label, before, after

    def labels(label: str, name: str, form: str) -> tuple[str, str, str]:
        return label, "", _form(summary.get("labels", {}).get(name), form)

    rows = [
        both("held-out accuracy", "accuracy", ".3f"),
        ("  95 % interval", interval("before"), interval("after")),
        both("mean length, tokens", "length", ".1f"),
        both("format share", "format_share", ".3f"),
        both("supervised loss", "loss", ".4f"),
        held_out("held-out AUC", "auc"),
        held_out("ranking within a problem", "ranking_accuracy"),
        held_out("held-out accuracy", "accuracy"),
        held_out("calibration error (ECE)", "ece"),
        held_out("first wrong step found", "first_wrong_step_accuracy"),
        labels("labelled solutions", "solutions", ".0f"),
        labels("labelled steps", "steps", ".0f"),
        labels("steps that can come out right", "hard_share", ".3f"),
        labels("right solutions with a doubted step", "doubted_right_share", ".3f"),
        labels("wrong solutions that were repaired", "repaired_wrong_share", ".3f"),
        one("iteration of the result", "result_iteration", "d"),
        one("steps", "steps", "d"),
        one("samples", "samples", "d"),
        one("generated tokens", "generated_tokens", "d"),
        one("samples/s", "samples_per_s", ".1f"),
        one("tokens/s", "tokens_per_s", ".0f"),
        one("largest staleness", "staleness_max", "d"),
        one("weight sync, mean s", "sync_s_mean", ".3f"),
        one("cold start, s", "cold_start_s", ".1f"),
        one("wall time, s", "wall_s", ".1f"),
    ]
    return [row for row in rows if any(row[1:])]


def _form(value: Any, form: str) -> str:
    return "" if value is None else format(value, form)
