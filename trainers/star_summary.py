"""The figures of a STaR run, as they stand in `summary.json`. Pure; a figure is null when there is nothing to say."""

from typing import Any

from trainers.star import StarResult


def build_star_summary(result: StarResult, *, wall_s: float, cold_start_s: float | None = None) -> dict[str, Any]:
    """Fields of `summary.json`. Lists by iteration begin with the first; accuracy before it is `accuracy_before`."""
    by_iteration = {int(metrics["iteration"]): metrics for metrics in result.evaluations}
    reports = result.reports

    def figure(iteration: int, name: str) -> float | None:
        return by_iteration[iteration].get(name) if iteration in by_iteration else None

    def interval(iteration: int) -> list[float] | None:
        found = by_iteration.get(iteration)
        return None if found is None else [found["eval/accuracy_low"], found["eval/accuracy_high"]]

    summary: dict[str, Any] = {"status": result.status, "ended_by": result.ended_by}
    for when, iteration in (("before", 0), ("after", result.iteration)):
        known = iteration if when == "before" or reports else -1  # without a finished iteration there is no after
        summary |= {
            f"accuracy_{when}": figure(known, "eval/accuracy"),
            f"accuracy_{when}_interval": interval(known),
            f"length_{when}": figure(known, "eval/length_mean"),
            f"format_share_{when}": figure(known, "eval/format_share"),
        }
    return summary | {
        "iterations": len(reports),
        "result_iteration": result.iteration,
        "accuracy_by_iteration": [figure(report.iteration, "eval/accuracy") for report in reports],
        "accuracy_interval_by_iteration": [interval(report.iteration) for report in reports],
        "rationalized_share_by_iteration": [report.rationalized_share for report in reports],
        "solved_share_by_iteration": [report.solved / report.problems for report in reports],
        "rationales_by_iteration": [report.trained for report in reports],
        "steps": sum(report.tuning_steps for report in reports),
        "version": result.version,
        "samples": sum(report.samples for report in reports),
        "generated_tokens": sum(report.generated_tokens for report in reports),
        "sample_s": sum(report.sample_s for report in reports),
        "tune_s": sum(report.tune_s for report in reports),
        "wall_s": wall_s,
        "cold_start_s": cold_start_s,
    }
