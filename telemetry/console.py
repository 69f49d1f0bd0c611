"""The run as seen from the terminal: a live view on a TTY, one parseable line per step anywhere else.

While the live view is up, log handlers that write to the terminal print above it; `close` gives the terminal back.
Lines without a terminal are `step=12 of=50 elapsed_s=31.2 eta_s=98.8 reward/mean=0.5231 ...`: key=value, no spaces.
"""

import logging
import math
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import IO

from rich import box
from rich.console import Console as Terminal
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table

from telemetry.console_view import LINE_METRICS, RunView, render

_REFRESH_PER_S = 2  # each drawing costs a few milliseconds of a core that trains
_ETA_STEPS = 20


class Console:
    """One view of one run. Methods may be called from any thread; none waits."""

    def __init__(self, title: str, *, file: IO[str] | None = None, live: bool | None = None) -> None:
        """`file`: where to write (None: standard output). `live`: None draws the live view when that is a terminal."""
        self._terminal = Terminal(file=file, force_terminal=live, highlight=False)
        self._is_live = self._terminal.is_terminal and not self._terminal.is_dumb_terminal if live is None else live
        self._lock = threading.RLock()
        self._view = RunView(title)
        self._started_s = time.monotonic()
        self._ends_s: deque[float] = deque(maxlen=_ETA_STEPS + 1)
        self._handlers: list[tuple[logging.StreamHandler[IO[str]], IO[str]]] = []
        self._live: Live | None = None
        if self._is_live:
            self._open()

    def stage(self, text: str) -> None:
        """What the run does from now on, such as "cold start"; the ETA starts anew."""
        with self._lock:
            self._view.stage, self._view.stage_started_s = text, time.monotonic()
            self._ends_s.clear()
            self._view.eta_s, self._view.total = None, 0
            if not self._is_live:
                self._print(f"stage elapsed_s={self._elapsed_s():.1f} {text}")

    def log_step(self, step: int, total: int, metrics: Mapping[str, float]) -> None:
        """A finished step; `step` counts from 1 to `total`. Metrics of an evaluation alone go to `evaluation`."""
        if metrics and all(name.startswith("eval/") for name in metrics):
            self.evaluation(step, metrics)
            return
        with self._lock:
            self._ends_s.append(time.monotonic())
            self._view.eta_s = self._eta_s(max(0, total - step))
            self._view.update(step, total, metrics)
            if not self._is_live:
                eta = "" if self._view.eta_s is None else f" eta_s={self._view.eta_s:.1f}"
                shown = _pairs(metrics, LINE_METRICS)
                self._print(f"step={step} of={total} elapsed_s={self._elapsed_s():.1f}{eta} {shown}")

    def evaluation(self, step: int, report: Mapping[str, float]) -> None:
        """Held-out figures (`eval/*`) after `step` steps."""
        with self._lock:
            self._view.evaluations.append((step, dict(report)))
            if not self._is_live:
                self._print(f"eval step={step} elapsed_s={self._elapsed_s():.1f} {_pairs(report, sorted(report))}")

    def final_table(self, rows: Iterable[Sequence[str]], *, columns: Sequence[str] = (), title: str = "") -> None:
        """The run summary, below everything else. Rows may be shorter than the widest; closes the live view."""
        self.close()
        cells = [list(row) for row in rows]
        width = max([len(columns), *map(len, cells)], default=0)
        table = Table(
            title=title or None,
            title_justify="left",
            title_style="bold",
            box=box.SIMPLE_HEAD,
            show_header=bool(columns),
        )
        for index in range(width):
            name = columns[index] if index < len(columns) else ""
            table.add_column(name, justify="left" if index == 0 else "right", overflow="fold")
        for row in cells:
            table.add_row(*[_no_markup(cell) for cell in row], *[""] * (width - len(row)))
        self._terminal.print(table)

    def close(self) -> None:
        """Leave the last view standing and give the terminal back. May be called again."""
        with self._lock:
            if self._live is None:
                return
            live, self._live = self._live, None
        live.stop()  # not under the lock: its thread may be drawing, which takes the lock
        for handler, stream in self._handlers:
            handler.setStream(stream)
        self._handlers.clear()

    def _open(self) -> None:
        terminal_streams = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
        self._live = Live(
            get_renderable=self._draw,
            console=self._terminal,
            refresh_per_second=_REFRESH_PER_S,
            vertical_overflow="crop",
        )
        self._live.start()
        # Live has put proxies in the place of the two streams; handlers made before still hold the real ones.
        for handler in _terminal_handlers(terminal_streams):
            self._handlers.append((handler, handler.stream))
            handler.setStream(sys.stderr)

    def _draw(self) -> RenderableType:
        with self._lock:
            return Group(*render(self._view, self._elapsed_s(), self._terminal.width))

    def _print(self, line: str) -> None:
        print(line, file=self._terminal.file, flush=True)

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._started_s

    def _eta_s(self, steps_left: int) -> float | None:
        """From the median of the last steps: one evaluation or checkpoint does not disturb it."""
        if len(self._ends_s) < 3:
            return None
        ends = list(self._ends_s)
        return steps_left * median(b - a for a, b in pairwise(ends))


def _terminal_handlers(streams: Sequence[object]) -> list[logging.StreamHandler[IO[str]]]:
    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in list(logging.root.manager.loggerDict))]
    found: dict[int, logging.StreamHandler[IO[str]]] = {}
    for logger in loggers:
        for handler in logger.handlers:
            if isinstance(handler, logging.StreamHandler) and any(handler.stream is stream for stream in streams):
                found[id(handler)] = handler
    return list(found.values())


def _pairs(metrics: Mapping[str, float], names: Iterable[str]) -> str:
    return " ".join(f"{name}={_number(metrics[name])}" for name in names if name in metrics)


def _number(value: float) -> str:
    return f"{value:.5g}" if math.isfinite(value) else "nan"


def _no_markup(text: str) -> str:
    return str(text).replace("[", r"\[")
