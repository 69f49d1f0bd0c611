"""What a benchmark reports: one figure, and what it is measured against on the same machine in the same minute."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """`ratio` is value over baseline; a target is the least ratio that the design asks for."""

    what: str
    value: float
    unit: str
    against: str = ""  # what the baseline is; empty without one
    baseline: float | None = None  # in `unit`
    target: float | None = None

    def __post_init__(self) -> None:
        if self.target is not None and self.baseline is None:
            raise ValueError(f"{self.what} has a target and no baseline to compare with: give one, or no target")

    @property
    def ratio(self) -> float | None:
        """None without a baseline."""
        return None if self.baseline is None else self.value / self.baseline


COLUMNS = ("measured", "value", "against", "baseline", "ratio", "target")


def as_table(rows: Sequence[Row]) -> str:
    """A Markdown table whose columns also line up in a terminal."""
    cells = [
        COLUMNS,
        *(
            (
                row.what,
                f"{_number(row.value)} {row.unit}".rstrip(),
                row.against or "-",
                "-" if row.baseline is None else f"{_number(row.baseline)} {row.unit}",
                "-" if row.ratio is None else f"{row.ratio:.2f}",
                "-" if row.target is None else f">= {row.target:g}",
            )
            for row in rows
        ),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |" for line in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
