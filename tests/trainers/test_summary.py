import json

import pytest

from trainers.books import Books
from trainers.grpo import LoopResult
from trainers.loop_state import Totals
from trainers.summary import build_summary

pytestmark = pytest.mark.unit


def evaluation(step: int, accuracy: float) -> dict[str, float]:
    return {
        "step": float(step),
        "eval/accuracy": accuracy,
        "eval/accuracy_low": accuracy - 0.1,
        "eval/accuracy_high": accuracy + 0.1,
        "eval/length_mean": 10.0 + step,
        "eval/format_share": 0.5,
    }


def result(*evaluations: dict[str, float], totals: Totals | None = None) -> LoopResult:
    return LoopResult("finished", 50, 48, Books(admitted=3, trained=3), totals or Totals(), evaluations)


def test_figures_of_a_run():
    totals = Totals(samples=400, generated_tokens=8000, loop_s=10.0, staleness_max=2, syncs=4, sync_s=0.2)
    evaluations = (evaluation(0, 0.1), evaluation(25, 0.5), evaluation(50, 0.9))
    summary = build_summary(result(*evaluations, totals=totals), wall_s=60.0, cold_start_s=20.0)
    assert (summary["accuracy_before"], summary["accuracy_after"]) == (0.1, 0.9)
    assert summary["accuracy_after_interval"] == pytest.approx([0.8, 1.0])
    assert (summary["length_before"], summary["length_after"]) == (10.0, 60.0)
    assert (summary["samples_per_s"], summary["tokens_per_s"]) == (40.0, 800.0)
    assert summary["sync_s_mean"] == pytest.approx(0.05)
    assert (summary["wall_s"], summary["cold_start_s"], summary["staleness_max"]) == (60.0, 20.0, 2)
    assert (summary["steps"], summary["version"], summary["status"]) == (50, 48, "finished")
    assert summary["books"]["trained"] == 3
    json.dumps(summary, allow_nan=False)


def test_what_was_not_measured_is_null():
    summary = build_summary(result(evaluation(0, 0.1)), wall_s=1.0)
    assert summary["accuracy_before"] == 0.1
    for name in (
        "accuracy_after",
        "accuracy_after_interval",
        "length_after",
        "samples_per_s",
        "sync_s_mean",
        "cold_start_s",
    ):
        assert summary[name] is None
