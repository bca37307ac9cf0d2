"""Layout of charts as SVG within a page; their colors are the page's, light or dark."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator

from kinestore.pipeline.report.curves import CurvePanel, Line

NUM_COLORS = 4
"""Colors of lines in the style sheet."""

Points = list[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class ChartLine:
    """A line in pixels.

    Attributes:
        name: Its name.
        color: Number of its color in the style sheet, from 1.
        mean: Points of the mean; of a single one a dot is drawn.
        band: Outline of the range over folds; empty where there is none.
    """

    name: str
    color: int
    mean: Points
    band: Points


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart in pixels.

    Attributes:
        title: Its title.
        x_label: What its steps are.
        x_ticks: Place and text of each.
        y_ticks: Place and text of each.
        lines: In the order of their colors.
    """

    title: str
    x_label: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    lines: list[ChartLine]
    width: int = 480
    height: int = 270
    left: int = 44
    right: int = 470
    top: int = 10
    bottom: int = 234


def lay_out_curves(panel: CurvePanel) -> Chart:
    """Lay out lines over steps: the mean, and behind it the range over folds."""
    lines = panel.lines.values()
    steps = [step for line in lines for step in line.steps] or [1]
    values = [value for line in lines for value in (*line.low, *line.high)] or [0.0]
    first, last = min(steps), max(steps)
    low, high = min(0.0, *values), 1.0 if panel.is_fraction else max(values) or 1.0

    def x(step: float) -> float:
        if first == last:  # a single step stands in the middle
            return (Chart.left + Chart.right) / 2
        return Chart.left + (Chart.right - Chart.left) * (step - first) / (last - first)

    def y(value: float) -> float:
        return Chart.top + (Chart.bottom - Chart.top) * (high - value) / (high - low)

    def points(steps: Sequence[int], values: Sequence[float]) -> Points:
        return [(x(step), y(value)) for step, value in zip(steps, values, strict=True)]

    def band(line: Line) -> Points:
        if line.low == line.high:
            return []
        return points(line.steps, line.high) + points(line.steps, line.low)[::-1]

    over = f": mean and range of {panel.num_folds} folds" if panel.num_folds > 1 else ""
    return Chart(
        title=f"{panel.title}{over}",
        x_label=panel.x_label,
        x_ticks=[(x(step), f"{step:.0f}") for step in _ticks(first, last, whole=True)],
        y_ticks=[(y(value), f"{value:g}") for value in _ticks(low, high)],
        lines=[
            ChartLine(
                name=name,
                color=1 + number % NUM_COLORS,
                mean=points(line.steps, line.mean),
                band=band(line),
            )
            for number, (name, line) in enumerate(panel.lines.items())
        ],
    )


def _ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Return round numbers from low to high."""
    places = MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=whole).tick_values(low, high)
    slack = 1e-9 * (high - low)
    return [float(place) for place in places if low - slack <= place <= high + slack]
