"""Charts as SVG within a page: their colours are the page's, light or dark."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator

from kinestore.pipeline.report.curves import Line, Panel
from kinestore.pipeline.report.html import named, plain
from kinestore.pipeline.report.palette import NUM_LINES

_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 10, 36
_WIDTH, _HEIGHT = 480, 270


def draw_panel(panel: Panel) -> str:
    """Lines over steps: the mean, and behind it the range over folds."""
    lines = list(panel.lines.values())
    steps = [step for line in lines for step in line.steps] or [1]
    values = [value for line in lines for value in (*line.low, *line.high)] or [0.0]
    low, high = min(0.0, *values), 1.0 if panel.is_fraction else max(values) or 1.0
    plane = _Plane(first=min(steps), last=max(steps), low=low, high=high)
    drawn = [_axes(plane, panel.x_label)]
    drawn += [_line(plane, line, 1 + place % NUM_LINES) for place, line in enumerate(lines)]
    key = "".join(
        f'<span class="key"><svg viewBox="0 0 24 8" aria-hidden="true">'
        f'<path class="line line{1 + place % NUM_LINES}" d="M0 4H24"/></svg>{named(name)}</span>'
        for place, name in enumerate(panel.lines)
    )
    over = f": mean and range of {panel.num_folds} folds" if panel.num_folds > 1 else ""
    title = f"{plain(panel.title)}{over}"
    return (
        f'<figure class="panel"><figcaption>{title}<br>{key}</figcaption>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{title}">'
        f"{''.join(drawn)}</svg></figure>"
    )


@dataclass(frozen=True, kw_only=True)
class _Plane:
    """Where values lie in the picture."""

    first: int
    last: int
    low: float
    high: float

    def x(self, step: float) -> float:
        """Of a step; a single one stands in the middle."""
        wide = _WIDTH - _LEFT - _RIGHT
        if self.first == self.last:
            return _LEFT + wide / 2
        return _LEFT + wide * (step - self.first) / (self.last - self.first)

    def y(self, value: float) -> float:
        """Of a value."""
        high = _HEIGHT - _TOP - _BOTTOM
        return _TOP + high * (self.high - value) / (self.high - self.low)


def _axes(plane: _Plane, x_label: str) -> str:
    parts = []
    for value in _ticks(plane.low, plane.high):
        y = plane.y(value)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text class="end" x="{_LEFT - 6}" y="{y + 4:.1f}">{value:g}</text>')
    for step in _ticks(plane.first, plane.last, whole=True):
        x, y = plane.x(step), _HEIGHT - _BOTTOM + 15
        parts.append(f'<text class="middle" x="{x:.1f}" y="{y}">{step:.0f}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text class="middle" x="{middle}" y="{_HEIGHT - 4}">{plain(x_label)}</text>')
    return "".join(parts)


def _ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Round numbers from low to high."""
    places = MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=whole).tick_values(low, high)
    slack = 1e-9 * (high - low)
    return [float(place) for place in places if low - slack <= place <= high + slack]


def _line(plane: _Plane, line: Line, number: int) -> str:
    if not line.steps:
        return ""
    x = [plane.x(step) for step in line.steps]
    mean, low, high = (
        [plane.y(value) for value in some] for some in (line.mean, line.low, line.high)
    )
    if len(x) == 1:
        return f'<circle class="dot line{number}" cx="{x[0]:.1f}" cy="{mean[0]:.1f}" r="3.5"/>'
    band = ""
    if low != high:
        outline = _points(x, high) + " " + _points(x[::-1], low[::-1])
        band = f'<polygon class="band line{number}" points="{outline}"/>'
    return f'{band}<polyline class="line line{number}" points="{_points(x, mean)}"/>'


def _points(x: Sequence[float], y: Sequence[float]) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


def bar(share: float | None) -> str:
    """A bar as long as a fraction from 0 to 1, for a cell of a table."""
    if share is None or math.isnan(share):
        return ""
    return (
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="rest" width="100" height="8"/><rect width="{100 * share:.1f}" height="8"/>'
        "</svg>"
    )
