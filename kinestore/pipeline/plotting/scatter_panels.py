"""Scatter plots for paper: panels side by side with one legend, titles and notes.

Names are whatever a user's files say: they are drawn as text, never read as markup. Everything is
placed in inches from the lower left corner of the grid of panels; the file is cut around it.

Shape legend: N points.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kinestore.pipeline.plotting.legend import NUM_STYLES, Legend, add_legend, displayed, look
from kinestore.pipeline.plotting.text import DPI, Ruler, clean, families, fraction, line_in, write

MOST_PANELS = 12
_METADATA = {  # what the format calls title, description and creator; and what holds a date
    ".png": (("Title", "Description", "Software"), ()),
    ".svg": (("Title", "Description", "Creator"), ("Date",)),
    ".pdf": (("Title", "Subject", "Creator"), ("CreationDate",)),
}
SUFFIXES = tuple(_METADATA)

_COLUMNS = (1, 2, 3, 2, 3, 3, 4, 4, 3, 4, 4, 4)  # of 1 to 12 panels
_WIDTH_IN = {1: 5.0, 2: 3.4, 3: 2.4, 4: 2.2}  # of a panel, by columns
_FLATNESS = 0.8  # height of a panel by its width
_GAP_IN = 0.16  # between what does not belong together
_PAD_IN = 0.06  # between a panel and its texts
_MOST_POINTS = 20_000  # that are drawn as shapes
_TITLE, _NOTE = 9.0, 7.0  # sizes of letters in points


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One picture of the points.

    Attributes:
        points: Shape (N, 2).
        title: Above them.
        note: Below them.
    """

    points: NDArray[np.float32]
    title: str
    note: str


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """Where panels lie: `title_in` and `note_in` is the room for the highest of their texts."""

    num_panels: int
    title_in: float
    note_in: float

    @property
    def columns(self) -> int:
        return _COLUMNS[self.num_panels - 1]

    @property
    def side_in(self) -> tuple[float, float]:
        """Width and height of the box around a panel's points."""
        width = _WIDTH_IN[self.columns]
        return width, _FLATNESS * width

    @property
    def step_in(self) -> tuple[float, float]:
        """From a panel to the next one, right and down."""
        wide, high = self.side_in
        return wide + _GAP_IN, self.title_in + high + self.note_in + _GAP_IN

    @property
    def size_in(self) -> tuple[float, float]:
        """Width and height of the whole."""
        rows = -(-self.num_panels // self.columns)
        return self.columns * self.step_in[0] - _GAP_IN, rows * self.step_in[1] - _GAP_IN

    def corner_in(self, number: int) -> tuple[float, float]:
        """The upper left corner of the nth box."""
        row, column = divmod(number, self.columns)
        top = self.size_in[1] - row * self.step_in[1] - self.title_in
        return column * self.step_in[0], top


def draw_panels(
    panels: Sequence[Panel], legend: Legend, *, title: str, caption: str, out: Path
) -> None:
    """Draw points of the same names as often as there are panels, in a grid.

    Up to 104 names are told apart by colour and marker, and listed; more are counted.

    Args:
        panels: 1 to 12.
        legend: What the colours stand for.
        title: Above all.
        caption: Below all, a paragraph a line.
        out: File to write, with one of `SUFFIXES`; its folder is made if absent. The same
            arguments give the same bytes.
    """
    names, numbers = legend.numbered()
    texts = [*displayed(names), legend.title, title, caption, *(panel.title for panel in panels)]
    rules: Any = {
        "font.family": families(map(clean, texts)),
        "text.parse_math": False,
        "svg.hashsalt": "kinestore",
        "pdf.fonttype": 42,
    }
    with mpl.rc_context(rules), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # a box is drawn
        ruler = Ruler()
        figure, grid = _draw_grid(panels, numbers, ruler)
        width, height = grid.size_in
        write(figure, [clean(title)], corner_in=(0, height + _PAD_IN), size=11, va="bottom")
        room_in = (width, height - grid.title_in)
        bottom = add_legend(figure, names, title=legend.title, room_in=room_in, ruler=ruler)
        told = [part for line in caption.splitlines() for part in ruler.wrap(line, width, _NOTE)]
        write(figure, told, corner_in=(0, bottom - _GAP_IN), size=_NOTE, color="0.35")
        _save(figure, title=title, description=_described(panels, caption), out=out)


def _draw_grid(
    panels: Sequence[Panel], numbers: NDArray[np.int64], ruler: Ruler
) -> tuple[Figure, _Grid]:
    wide = _WIDTH_IN[_COLUMNS[len(panels) - 1]]
    titles = [ruler.fit(panel.title, wide, _TITLE, num_lines=2) for panel in panels]
    notes = [ruler.wrap(panel.note, wide, _NOTE) for panel in panels]
    grid = _Grid(
        num_panels=len(panels),
        title_in=max(map(len, titles)) * line_in(_TITLE) + _PAD_IN,
        note_in=max(map(len, notes)) * line_in(_NOTE) + _PAD_IN,
    )
    side = float(np.clip(36 / len(numbers) ** 0.25, 3, 9)) * (wide / 5) ** 0.5  # in points
    as_pixels = len(panels) * len(numbers) > _MOST_POINTS
    figure = Figure(figsize=grid.size_in, dpi=DPI)
    for number, (panel, title, note) in enumerate(zip(panels, titles, notes, strict=True)):
        left, top = grid.corner_in(number)
        below = top - grid.side_in[1] - _PAD_IN
        axes = _add_axes(figure, grid, number)
        _scatter(axes, panel.points, numbers, side=side, as_pixels=as_pixels)
        write(figure, title, corner_in=(left, top + _PAD_IN), size=_TITLE, va="bottom")
        write(figure, note, corner_in=(left, below), size=_NOTE, color="0.35")
    return figure, grid


def _add_axes(figure: Figure, grid: _Grid, number: int) -> Axes:
    (left, top), side_in = grid.corner_in(number), grid.side_in
    corner, side = fraction(figure, (left, top - side_in[1])), fraction(figure, side_in)
    axes = figure.add_axes((*corner, *side))
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color("0.8")
    axes.margins(0.06)
    axes.set_aspect("equal", adjustable="datalim")
    return axes


def _scatter(
    axes: Axes,
    points: NDArray[np.float32],
    numbers: NDArray[np.int64],
    *,
    side: float,
    as_pixels: bool,
) -> None:
    """Draw the points with one artist a style, however many names there are.

    Very many become pixels, also in a file of lines: it would be too large to look at.
    """
    for number in range(min(NUM_STYLES, int(numbers.max()) + 1)):
        rows = numbers % NUM_STYLES == number
        axes.plot(*points[rows].T, rasterized=as_pixels, **look(number, side=side))


def _described(panels: Sequence[Panel], caption: str) -> str:
    notes = (f"{panel.title}: {panel.note}" for panel in panels)
    return "\n".join(clean(line) for line in (*caption.splitlines(), *notes))


def _save(figure: Figure, *, title: str, description: str, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    suffix = out.suffix.lower()
    called, dates = _METADATA[suffix]
    told = (clean(title), description, "Kinestore")
    metadata = dict(zip(called, told, strict=True)) | dict.fromkeys(dates)
    figure.savefig(out, format=suffix[1:], metadata=metadata, bbox_inches="tight")
