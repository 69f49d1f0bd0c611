"""The figures of a run, as they stand in `summary.json`. Pure; every figure is null when there is nothing to say."""

from collections.abc import Mapping
from typing import Any

from trainers.grpo import LoopResult


def build_summary(result: LoopResult, *, wall_s: float, cold_start_s: float | None = None) -> dict[str, Any]:
    """Fields of `summary.json`.

    `wall_s`: from the command's start to its end; `cold_start_s`: the supervised stages within it. Rates are over the
    loop alone: from the first admission to the last update, in-run evaluations and checkpoints included. `before` and
    `after` are the first and the last evaluation of the whole run; `after` is null when there was only one.
    """
    evaluations = sorted(result.evaluations, key=lambda metrics: metrics["step"])
    before = evaluations[0] if evaluations and evaluations[0]["step"] == 0 else None
    after = evaluations[-1] if evaluations and evaluations[-1]["step"] > 0 else None
    totals = result.totals
    return {
        "status": result.status,
        "steps": result.steps_done,
        "version": result.version,
        **_evaluation_fields("before", before),
        **_evaluation_fields("after", after),
        "wall_s": wall_s,
        "cold_start_s": cold_start_s,
        "loop_s": totals.loop_s,
        "samples": totals.samples,
        "generated_tokens": totals.generated_tokens,
        "samples_per_s": totals.samples / totals.loop_s if totals.loop_s else None,
        "tokens_per_s": totals.generated_tokens / totals.loop_s if totals.loop_s else None,
        "staleness_max": totals.staleness_max,
        "sync_s_mean": totals.sync_s / totals.syncs if totals.syncs else None,
        "skipped_steps": totals.skipped_steps,
        "books": result.books.as_dict(),
    }


def _evaluation_fields(when: str, metrics: Mapping[str, float] | None) -> dict[str, Any]:
    interval = None if metrics is None else [metrics["eval/accuracy_low"], metrics["eval/accuracy_high"]]
    return {
        f"accuracy_{when}": None if metrics is None else metrics["eval/accuracy"],
        f"accuracy_{when}_interval": interval,
        f"length_{when}": None if metrics is None else metrics["eval/length_mean"],
        f"format_share_{when}": None if metrics is None else metrics.get("eval/format_share"),
    }
