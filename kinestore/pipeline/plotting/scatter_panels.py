"""Scatter plots for paper: panels side by side with one legend, titles and notes.

Names are whatever a user's files say: they are drawn as text, never read as markup. Matplotlib's
constrained layout places everything; the figure is as large as panels of a fixed size need.

Shape legend: N points.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from kinestore.pipeline.plotting.figure_file import save_figure
from kinestore.pipeline.plotting.figure_size import fit_figure
from kinestore.pipeline.plotting.legend import (
    NUM_STYLES,
    PAD_IN,
    PointNames,
    add_legend,
    legend_names,
    point_style,
)
from kinestore.pipeline.plotting.text import DPI, Ruler, clean, drawing

MOST_PANELS = 12
_METADATA = {  # names of title, description and creator in the format; and of the date
    ".png": (("Title", "Description", "Software"), ()),
    ".svg": (("Title", "Description", "Creator"), ("Date",)),
    ".pdf": (("Title", "Subject", "Creator"), ("CreationDate",)),
}
FIGURE_SUFFIXES = tuple(_METADATA)

_COLUMNS = (1, 2, 3, 2, 3, 3, 4, 4, 3, 4, 4, 4)  # of 1 to 12 panels
_WIDTH_IN = {1: 5.0, 2: 3.4, 3: 2.4, 4: 2.2}  # of a panel, by columns
_FLATNESS = 0.8  # height of a panel by its width
_MOST_POINTS = 20_000  # that are drawn as shapes
_TITLE, _NOTE = 9.0, 7.0  # sizes of letters in points
_GRAY = "0.35"


@dataclass(frozen=True, kw_only=True, eq=False)
class ScatterPanel:
    """One picture of the points.

    Attributes:
        points: Shape (N, 2).
        title: Above them.
        note: Below them.
    """

    points: NDArray[np.float32]
    title: str
    note: str


def draw_panels(
    panels: Sequence[ScatterPanel], legend: PointNames, *, title: str, caption: str, out: Path
) -> None:
    """Draw points of the same names as often as there are panels, in a grid.

    Up to 104 names have a color and marker each, and are listed; of more, the number is shown.

    Args:
        panels: 1 to 12.
        legend: The names that the colors stand for.
        title: Above all.
        caption: Below all, a paragraph a line.
        out: File to write, with one of `FIGURE_SUFFIXES`; its folder is made if absent. The same
            arguments give the same bytes.
    """
    names, numbers = legend.numbered()
    panel_titles = (panel.title for panel in panels)
    with drawing([*legend_names(names), legend.title, title, caption, *panel_titles]):
        figure = _draw(panels, names, numbers, legend.title, title=title, caption=caption)
        _save(figure, title=title, description=_described(panels, caption), out=out)


def _draw(
    panels: Sequence[ScatterPanel],
    names: Sequence[str],
    numbers: NDArray[np.int64],
    legend_title: str,
    *,
    title: str,
    caption: str,
) -> Figure:
    columns = _COLUMNS[len(panels) - 1]
    grid, ruler = (columns, -(-len(panels) // columns)), Ruler()
    side_in = (_WIDTH_IN[columns], _FLATNESS * _WIDTH_IN[columns])
    width_in = columns * (side_in[0] + 2 * PAD_IN) - 2 * PAD_IN
    engine = ConstrainedLayoutEngine(w_pad=PAD_IN, h_pad=PAD_IN, wspace=0, hspace=0)
    figure = Figure(dpi=DPI, layout=engine)
    # A legend of its own figure does not lie over the title and the caption around it.
    body = figure.add_subfigure(figure.add_gridspec(1, 1)[0])
    all_axes = body.subplots(grid[1], grid[0], squeeze=False).ravel()
    point_side = float(np.clip(36 / len(numbers) ** 0.25, 3, 9)) * (side_in[0] / 5) ** 0.5
    as_pixels = len(panels) * len(numbers) > _MOST_POINTS
    for axes, panel in zip(all_axes, panels, strict=False):
        _scatter(axes, panel.points, numbers, side=point_side, as_pixels=as_pixels)
        lines = ruler.fit(panel.title, side_in[0], _TITLE, num_lines=2)
        axes.set_title("\n".join(lines), loc="left", fontsize=_TITLE)
        lines = ruler.wrap(panel.note, side_in[0], _NOTE)
        axes.set_xlabel("\n".join(lines), loc="left", fontsize=_NOTE, color=_GRAY)
    for axes in all_axes[len(panels) :]:
        axes.remove()
    heading = figure.suptitle(clean(title), ha="left", fontsize=11)
    lines = [part for line in caption.splitlines() for part in ruler.wrap(line, width_in, _NOTE)]
    footing = figure.supxlabel("\n".join(lines), ha="left", fontsize=_NOTE, color=_GRAY)
    listed = add_legend(
        body, names, title=legend_title, room_in=(width_in, grid[1] * side_in[1]), ruler=ruler
    )
    box = listed.get_window_extent()
    room_in = (box.width / DPI + 2, box.height / DPI + 4 + grid[1])
    fit_figure(figure, all_axes[0], panel_in=side_in, grid=grid, room_in=room_in)
    for text in (heading, footing):
        text.set_x(PAD_IN / figure.get_size_inches()[0])
    return figure


def _scatter(
    axes: Axes,
    points: NDArray[np.float32],
    numbers: NDArray[np.int64],
    *,
    side: float,
    as_pixels: bool,
) -> None:
    """Draw the points with one artist a style, however many names there are.

    Very many become pixels, also in a file of lines: it would be too large to open.
    """
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color("0.8")
    axes.margins(0.06)
    axes.set_aspect("equal", adjustable="datalim")
    for number in range(min(NUM_STYLES, int(numbers.max()) + 1)):
        rows = numbers % NUM_STYLES == number
        axes.plot(*points[rows].T, rasterized=as_pixels, **point_style(number, side=side))


def _described(panels: Sequence[ScatterPanel], caption: str) -> str:
    notes = (f"{panel.title}: {panel.note}" for panel in panels)
    return "\n".join(clean(line) for line in (*caption.splitlines(), *notes))


def _save(figure: Figure, *, title: str, description: str, out: Path) -> None:
    suffix = out.suffix.lower()
    keys, dates = _METADATA[suffix]
    values = (clean(title), description, "Kinestore")
    metadata = dict(zip(keys, values, strict=True)) | dict.fromkeys(dates)
    save_figure(figure, out, metadata=metadata)
