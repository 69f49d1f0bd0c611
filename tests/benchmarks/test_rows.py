"""The table that benchmarks print."""

import pytest

from benchmarks.rows import Row, as_table

pytestmark = pytest.mark.unit

SPEED = Row("learner, demo", 15000.4, "tokens/s", "bare loop", 20000.0, 0.8)
PAUSE = Row("pause", 0.04567, "ms")


def cells(line: str) -> list[str]:
    """The cells of a line of a Markdown table."""
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_shows_value_baseline_ratio_and_target() -> None:
    header, _, line = as_table([SPEED]).splitlines()
    assert cells(header) == ["measured", "value", "against", "baseline", "ratio", "target"]
    assert cells(line) == ["learner, demo", "15,000 tokens/s", "bare loop", "20,000 tokens/s", "0.75", ">= 0.8"]


def test_a_row_without_a_baseline_has_no_ratio() -> None:
    assert PAUSE.ratio is None
    assert cells(as_table([PAUSE]).splitlines()[2]) == ["pause", "0.0457 ms", "-", "-", "-", "-"]


def test_a_target_without_a_baseline_is_refused() -> None:
    with pytest.raises(ValueError, match="no baseline to compare with"):
        Row("x", 1.0, "s", target=1.5)


def test_a_number_without_a_unit_has_no_space_behind_it() -> None:
    assert "| 1.5   |" in as_table([Row("r", 1.5, "")])


def test_the_lines_of_a_table_are_equally_long() -> None:
    lines = as_table([SPEED, PAUSE]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert set(lines[1]) == {"|", "-"}
