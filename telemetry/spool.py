"""metrics.jsonl: the first and durable record of a run's metrics, and the queue from which MLflow is fed.

One line per call: {"step": 12, "time": 1730000000.123, "reward/mean": 0.5, ...}; time in seconds since 1970, a value
that is not finite is null. Lines are flushed as they are written; a line cut by a crash is dropped at the next start.
"""

import json
import math
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_READ_LIMIT = 1 << 16  # bytes per read; a line has one or two kilobytes


@dataclass(frozen=True, slots=True)
class SpoolLine:
    """One line of the file."""

    step: int
    time_s: float  # since 1970
    metrics: dict[str, float]  # NaN where the file has null
    end: int  # offset of the byte after the line


class SpoolWriter:
    """Appends to metrics.jsonl. Safe to use from several threads; one process at a time writes a file."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        _drop_cut_line(path)
        self._file = path.open("ab", buffering=0)

    def append(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write one line. Raises OSError when the disk does not take it."""
        values = {name: float(value) for name, value in metrics.items()}
        record = {"step": step, "time": round(time.time(), 3)}
        record |= {name: value if math.isfinite(value) else None for name, value in values.items()}
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            self._file.write(line)

    def sync(self) -> None:
        """Returns when what was written is on the disk. Raises OSError."""
        os.fsync(self._file.fileno())


def read_lines(path: Path, offset: int = 0) -> list[SpoolLine]:
    """The complete lines from a byte offset on, about 64 KiB of them at most; none when the file is missing.

    Raises ValueError when a line is not what `SpoolWriter` writes.
    """
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(offset)
        chunk = file.read(_READ_LIMIT)
        if b"\n" not in chunk:
            chunk += file.readline()
    lines: list[SpoolLine] = []
    for raw in chunk[: chunk.rfind(b"\n") + 1].splitlines(keepends=True):
        offset += len(raw)
        lines.append(_parse(raw, path, offset))
    return lines


def count_lines(path: Path, offset: int = 0) -> int:
    """Complete lines from a byte offset on."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        file.seek(offset)
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(_READ_LIMIT), b""))


def read_metrics(path: Path) -> list[dict[str, float]]:
    """One mapping per step, in order of steps, with `step`, `time` and all metrics of the step.

    Where a step was logged twice (a resume trains it again), the later value stands.
    """
    steps: dict[int, dict[str, float]] = {}
    offset = 0
    while lines := read_lines(path, offset):
        for line in lines:
            row = steps.setdefault(line.step, {"step": float(line.step)})
            row |= {"time": line.time_s} | line.metrics
        offset = lines[-1].end
    return [steps[step] for step in sorted(steps)]


def _parse(raw: bytes, path: Path, end: int) -> SpoolLine:
    try:
        record = json.loads(raw)
        step, time_s = int(record.pop("step")), float(record.pop("time"))
        metrics = {str(name): math.nan if value is None else float(value) for name, value in record.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: the line that ends at byte {end} is not a line of metrics ({error!r}): {raw[:80]!r}. "
            "Only rayzero writes this file; remove the line."
        ) from error
    return SpoolLine(step, time_s, metrics, end)


def _drop_cut_line(path: Path) -> None:
    """Cut the file after its last newline: what follows was being written when a process died."""
    if not path.exists() or not (size := path.stat().st_size):
        return
    with path.open("r+b") as file:
        position = size
        while position > 0:
            start = max(0, position - 65536)
            file.seek(start)
            newline = file.read(position - start).rfind(b"\n")
            if newline >= 0:
                position = start + newline + 1
                break
            position = start
        if position < size:
            file.truncate(position)
