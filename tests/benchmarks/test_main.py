"""The page that the table is written into."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as page
from benchmarks.rows import Row

pytestmark = pytest.mark.unit

SPEED = Row("learner, demo", 15000.4, "tokens/s", "bare loop", 20000.0, 0.8)


def entry(machine: str, *rows: Row) -> dict[str, Any]:
    """As results.json keeps it."""
    return {"machine": machine, "rows": [asdict(row) for row in rows]}


def test_figures_of_two_machines_stand_in_two_tables_in_the_order_of_the_benchmarks() -> None:
    first, second, third = page.NAMES[:3]
    late, other, early = entry("large", Row("c", 3, "s")), entry("small", Row("b", 2, "s")), entry("large", SPEED)
    section = page.measured_section({third: late, second: other, first: early})
    large, _, small = section.partition("small:")
    assert large.startswith("large")
    assert large.index(SPEED.what) < large.index("| c ")
    assert "| b " in small
    assert "| c " not in small


def test_figures_of_a_benchmark_that_is_gone_are_left_out() -> None:
    name = page.NAMES[0]
    assert "gone" not in page.measured_section({name: entry("here", SPEED), "old": entry("here", Row("gone", 1, "s"))})


def test_only_what_stands_between_the_markers_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "benchmarks.md"
    path.write_text(f"# Head\ntext\n{page.BEGIN}\nold\n{page.END}\n\n## By hand\nkept\n")
    monkeypatch.setattr(page, "PAGE", path)
    page.write_page("new")
    page.write_page("newer")
    assert path.read_text() == f"# Head\ntext\n{page.BEGIN}\nnewer\n{page.END}\n\n## By hand\nkept\n"


def test_a_missing_page_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "PAGE", tmp_path / "benchmarks.md")
    page.write_page("figures")
    assert f"{page.BEGIN}\nfigures\n{page.END}\n" in (tmp_path / "benchmarks.md").read_text()


@pytest.mark.parametrize("lost", [page.BEGIN, page.END])
def test_a_page_without_its_markers_is_left_alone(lost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "benchmarks.md"
    text = f"{page.BEGIN}\n{page.END}\nkept\n".replace(lost, "")
    path.write_text(text)
    monkeypatch.setattr(page, "PAGE", path)
    with pytest.raises(ValueError, match="needs the lines"):
        page.write_page("new")
    assert path.read_text() == text


def test_every_benchmark_has_a_file() -> None:
    folder = Path(page.__file__).parent
    assert [name for name in page.NAMES if not (folder / f"{name}.py").exists()] == []
