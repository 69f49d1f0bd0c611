"""The report's pictures of thinking: on one axis of steps, and only when there is something to see."""

import re

import pytest

from telemetry.charts import Series
from telemetry.report_thinking import thinking_charts

pytestmark = pytest.mark.unit


def test_thought_and_accuracy_share_their_axis_of_steps():
    accuracy = [Series("held out", "blue", [(0, 0.1), (100, 0.9)], dots=True)]
    rows = [{"step": 10.0, "thinking/length_mean": 12.0}, {"step": 50.0, "thinking/length_mean": 30.0}]
    figure = thinking_charts(rows, accuracy)[0]
    above, below = figure.split("</svg>")[:2]
    labels = re.compile(r'text-anchor="(?:middle|end)">(\d+)</text>')
    assert {"0", "100"} <= set(labels.findall(above.split("length of thought")[0]))
    assert {"0", "100"} <= set(labels.findall(below))  # though the lengths go from 10 to 50
    assert "30.0" in below


def test_without_a_measured_thought_there_is_no_picture():
    assert thinking_charts([{"step": 1.0, "reward/mean": 1.0}], []) == []
