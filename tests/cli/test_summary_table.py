import pytest

from cli.summary_table import summary_rows
from trainers.step_labels import label_figures

pytestmark = pytest.mark.unit


def shown(summary: dict[str, object]) -> dict[str, tuple[str, str]]:
    return {label.strip(): (before, after) for label, before, after in summary_rows(summary)}


def test_a_training_run_shows_what_it_was_and_what_it_became():
    pair = {"accuracy_before": 0.1, "accuracy_after": None, "accuracy_before_interval": [0.05, 0.15]}
    rows = shown({"status": "stopped", "steps": 7, "samples": 56, "wall_s": 1.26} | pair)
    assert rows == {
        "held-out accuracy": ("0.100", ""),
        "95 % interval": ("0.050 to 0.150", ""),
        "steps": ("7", ""),
        "samples": ("56", ""),
        "wall time, s": ("1.3", ""),
    }


def test_a_reward_model_shows_how_it_ranks_and_how_it_is_calibrated():
    before, after = {"auc": 0.5, "ece": 0.1, "ranking_accuracy": 0.5}, {"auc": 0.7, "ece": 0.08}
    rows = shown({"status": "finished", "steps": 9, "held_out_before": before, "held_out_after": after})
    assert rows["held-out AUC"] == ("0.500", "0.700")
    assert rows["calibration error (ECE)"] == ("0.100", "0.080")
    assert rows["ranking within a problem"] == ("0.500", "")


def test_labels_are_counted_apart_from_optimizer_steps():
    rows = shown({"status": "finished", "labels": label_figures([]), "wall_s": 2.0})
    assert rows["labelled steps"] == ("", "0")
    assert "steps" not in rows
