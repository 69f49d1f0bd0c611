"""Curves as inline SVG: lines with bands or whiskers, and stacked shares. No script; colours come from CSS variables.

Every number a reader may want is also in a tooltip (`<title>`), which a browser shows over the strip of its step.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

WIDTH, HEIGHT = 560, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 10, 26
_MAX_POINTS = 240  # more would not be seen, and would make the file heavy

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """One curve. `points` are (step, value) in order of steps."""

    label: str
    colour: str  # a CSS value, such as var(--blue)
    points: Sequence[Point]
    whiskers: Sequence[tuple[float, float, float]] = ()  # (step, low, high)
    keep_peaks: bool = False  # thin by the largest value of a bucket, not by its mean
    dots: bool = field(default=False)  # mark every point: few measurements, not a curve


def line_chart(
    series: Sequence[Series],
    *,
    number: str = ".3g",
    percent: bool = False,
    from_zero: bool = True,
    steps: tuple[float, float] | None = None,
) -> str:
    """Lines over steps. `number`: format of values in tooltips; `percent`: shares, on an axis from 0 to 100 %.

    `steps`: first and last step of the axis, for charts that are compared; None: those of the points.
    """
    curves = [_thinned(curve) for curve in series if curve.points]
    if not curves:
        return _empty()
    values = [v for c in curves for _, v in c.points] + [
        v for c in curves for _, lo, hi in c.whiskers for v in (lo, hi)
    ]
    frame = _Frame(
        steps=steps or [s for c in curves for s, _ in c.points],
        values=[0.0, 1.0] if percent else values,
        from_zero=from_zero,
    )
    form = ".1%" if percent else number
    parts = [frame.axes(percent)]
    for curve in curves:
        parts += [_whisker(frame, curve, *whisker) for whisker in curve.whiskers]
        path = " ".join(f"{frame.x(step):.1f},{frame.y(value):.1f}" for step, value in curve.points)
        parts.append(f'<polyline class="line" style="stroke:{curve.colour}" points="{path}"/>')
        dots = curve.points if curve.dots or len(curve.points) == 1 else ()
        parts += [
            f'<circle class="dot" style="fill:{curve.colour}" cx="{frame.x(s):.1f}" cy="{frame.y(v):.1f}" r="4"/>'
            for s, v in dots
        ]
    parts.append(_tooltips(frame, curves, form))
    return _svg(parts)


def stacked_chart(series: Sequence[Series]) -> str:
    """Shares of a whole, one on top of the other; all series have the same steps."""
    curves = [_thinned(curve) for curve in series if curve.points]
    if not curves:
        return _empty()
    steps = [step for step, _ in curves[0].points]
    frame = _Frame(steps=steps, values=[0.0, 1.0], from_zero=True)
    floor = [0.0] * len(steps)
    parts: list[str] = []
    for curve in curves:
        top = [low + value for low, (_, value) in zip(floor, curve.points, strict=True)]
        upper = [f"{frame.x(s):.1f},{frame.y(v):.1f}" for s, v in zip(steps, top, strict=True)]
        lower = [f"{frame.x(s):.1f},{frame.y(v):.1f}" for s, v in zip(steps, floor, strict=True)]
        if len(steps) == 1:  # a single step still has an area: the whole width
            upper = [f"{_LEFT},{frame.y(top[0]):.1f}", f"{WIDTH - _RIGHT},{frame.y(top[0]):.1f}"]
            lower = [f"{_LEFT},{frame.y(floor[0]):.1f}", f"{WIDTH - _RIGHT},{frame.y(floor[0]):.1f}"]
        points = " ".join([*upper, *reversed(lower)])
        parts.append(f'<polygon class="area" style="fill:{curve.colour}" points="{points}"/>')
        floor = top
    return _svg([*parts, frame.axes(percent=True), _tooltips(frame, curves, ".0%")])


def legend(series: Sequence[Series]) -> str:
    """Colour keys, when there is more than one curve to tell apart."""
    shown = [curve for curve in series if curve.points]
    if len(shown) < 2:
        return ""
    keys = "".join(f'<span><i style="background:{c.colour}"></i>{escape(c.label)}</span>' for c in shown)
    return f'<div class="legend">{keys}</div>'


class _Frame:
    """Maps steps and values to the drawing."""

    def __init__(self, *, steps: Sequence[float], values: Sequence[float], from_zero: bool) -> None:
        self._first, last = min(steps), max(steps)
        self._span = (last - self._first) or 1.0
        low, high = min(values), max(values)
        if from_zero:
            low, high = min(low, 0.0), max(high, 0.0)
        if low == high:
            low, high = low - 0.5, high + 0.5
        self.ticks = _ticks(low, high)
        self._low, self._high = min(low, self.ticks[0]), max(high, self.ticks[-1])
        self._single = last == self._first

    def x(self, step: float) -> float:
        inner = WIDTH - _LEFT - _RIGHT
        return _LEFT + inner * (0.5 if self._single else (step - self._first) / self._span)

    def y(self, value: float) -> float:
        return _TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - (value - self._low) / (self._high - self._low))

    def axes(self, percent: bool) -> str:
        parts: list[str] = []
        for tick in self.ticks:
            label = f"{tick:.0%}" if percent else _short(tick)
            y = self.y(tick)
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{y + 3.5:.1f}" text-anchor="end">{label}</text>')
        for step in self._step_ticks():
            anchor = "end" if self.x(step) > WIDTH - 40 else "middle"
            label = f'<text class="tick" x="{self.x(step):.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}">{step:g}</text>'
            parts.append(label)
        return "".join(parts)

    def _step_ticks(self) -> list[float]:
        if self._single:
            return [self._first]
        ticks = [tick for tick in _ticks(self._first, self._first + self._span, 6) if tick == int(tick)]
        return [tick for tick in ticks if self._first <= tick <= self._first + self._span]


def _ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round values from at or below `low` to at or above `high`, about `most` of them."""
    rough = (high - low) / max(1, most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:.4g}"


def _thinned(curve: Series) -> Series:
    points = [(step, value) for step, value in curve.points if math.isfinite(value)]
    if len(points) > _MAX_POINTS:
        edges = [i * len(points) // _MAX_POINTS for i in range(_MAX_POINTS + 1)]
        buckets = [points[a:b] for a, b in pairwise(edges)]
        points = [
            (bucket[-1][0], max(v for _, v in bucket) if curve.keep_peaks else sum(v for _, v in bucket) / len(bucket))
            for bucket in buckets
        ]
    return Series(curve.label, curve.colour, points, curve.whiskers, curve.keep_peaks, curve.dots)


def _whisker(frame: _Frame, curve: Series, step: float, low: float, high: float) -> str:
    x, top, bottom = frame.x(step), frame.y(high), frame.y(low)
    path = f"M{x:.1f} {top:.1f}V{bottom:.1f}M{x - 4:.1f} {top:.1f}h8M{x - 4:.1f} {bottom:.1f}h8"
    return f'<path class="whisker" style="stroke:{curve.colour}" d="{path}"/>'


def _tooltips(frame: _Frame, curves: Sequence[Series], form: str) -> str:
    by_step: dict[float, list[str]] = {}
    for curve in curves:
        intervals = {step: f" [{low:{form}}, {high:{form}}]" for step, low, high in curve.whiskers}
        for step, value in curve.points:
            by_step.setdefault(step, []).append(f"{curve.label} {value:{form}}{intervals.get(step, '')}")
    steps = sorted(by_step)
    middles = [(frame.x(a) + frame.x(b)) / 2 for a, b in pairwise(steps)]
    edges = [_LEFT, *middles, WIDTH - _RIGHT]
    strips: list[str] = []
    for step, (left, right) in zip(steps, pairwise(edges), strict=True):
        text = escape("\n".join([f"step {step:g}", *by_step[step]]))
        box = f'x="{left:.1f}" y="{_TOP}" width="{max(0.1, right - left):.1f}" height="{HEIGHT - _TOP - _BOTTOM}"'
        strips.append(f'<rect class="strip" {box}><title>{text}</title></rect>')
    return "".join(strips)


def _svg(parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(parts)}</svg>'


def _empty() -> str:
    return '<p class="empty">not measured</p>'
