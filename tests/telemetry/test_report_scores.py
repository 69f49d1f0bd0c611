import json
from pathlib import Path

import pytest

from telemetry.report import write_report
from telemetry.report_scores import scores_section

pytestmark = pytest.mark.unit


def summary() -> dict[str, object]:
    row = {"low": 0.1, "high": 0.25, "count": 31, "mean_probability": 0.2, "mean_label": 0.19}
    before = {"examples": 310.0, "problems": 80.0, "loss": 0.7, "auc": 0.51, "reliability": [row]}
    after = before | {"loss": 0.3, "auc": 0.912, "auc_low": 0.887, "auc_high": 0.934, "ece": 0.031}
    return {"status": "finished", "held_out_before": before, "held_out_after": after}


def test_figures_stand_before_and_after_with_their_intervals(tmp_path: Path):
    (tmp_path / "summary.json").write_text(json.dumps(summary()))
    page = write_report(tmp_path).read_text()
    assert "<td>AUC</td><td>0.510</td><td>0.912 [0.887, 0.934]</td>" in page
    assert "<td>Calibration error (ECE)</td><td>–</td><td>0.031</td>" in page
    assert "<td>0.100 to 0.250</td><td>31</td><td>0.200</td><td>0.190</td>" in page
    assert "310 held-out examples of 80 problems" in page


def test_other_runs_have_no_such_section():
    assert scores_section({"status": "finished", "accuracy_after": 0.9}) == ""
