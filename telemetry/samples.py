"""The table of samples that MLflow shows: completions of the whole run, thinned so that it never grows large.

Every completion is in the Parquet store; this is the view. When the table is full, every second step but the first
and the last leaves it, so early and late samples can always be compared.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

MAX_ROWS = 512


class SampleTable:
    """Rows by step, kept in a file in the form of MLflow's tables: {"columns": [...], "data": [[...], ...]}."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[int, list[dict[str, Any]]] = {}
        if path.exists():
            self._load()

    def add(self, step: int, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take the rows of a step; those of the same step, trained again after a resume, are replaced."""
        self._rows[step] = [{str(key): _plain(value) for key, value in row.items()} for row in rows]
        while len(self._rows) > 2 and sum(map(len, self._rows.values())) > MAX_ROWS:
            steps = sorted(self._rows)
            for dropped in steps[1:-1:2]:
                del self._rows[dropped]

    def save(self) -> None:
        """Replace the file in one move."""
        columns = ["step"]
        for rows in self._rows.values():
            for row in rows:
                columns += [key for key in row if key not in columns]
        data = [
            [step if column == "step" else row.get(column) for column in columns]
            for step in sorted(self._rows)
            for row in self._rows[step]
        ]
        temporary = self.path.with_name(self.path.name + ".new")
        temporary.write_text(json.dumps({"columns": columns, "data": data}))
        temporary.replace(self.path)

    def _load(self) -> None:
        try:
            table = json.loads(self.path.read_text())
            rows = [dict(zip(table["columns"], values, strict=True)) for values in table["data"]]
            for row in rows:
                self._rows.setdefault(int(row.pop("step")), []).append(row)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.path} is not a table of samples ({error!r}); delete it.") from error


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
