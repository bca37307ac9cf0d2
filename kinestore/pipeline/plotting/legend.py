"""What the colours and markers of a scatter plot stand for.

Shape legend: N points.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.legend import Legend as Box
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from kinestore.pipeline.plotting.text import Ruler, clean, fraction, line_in, write

_COLOURS = (  # Okabe and Ito, "Color Universal Design", 2008
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#D55E00",
    "#56B4E9",
    "#000000",
    "#F0E442",
)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p", "h", "d")
_SCALES = {"D": 0.8, "*": 1.4}  # so that all look equally large
NUM_STYLES = len(_COLOURS) * len(_MARKERS)
"""Names that colour and marker tell apart: 104. Then styles repeat."""
_LONGEST = 32  # characters of a name
_NORMAL, _SMALL = 8.0, 6.5  # sizes of letters in points
_HANDLE, _PAD, _APART = 1.0, 0.4, 1.2  # around a name, in sizes of its letters
_BETWEEN = 0.3  # below a name, in sizes of its letters
_GAP_IN = 0.16  # between the panels and the legend


@dataclass(frozen=True, kw_only=True)
class Legend:
    """What the colours stand for.

    Attributes:
        title: Such as "label".
        names: One for each point, length N.
    """

    title: str
    names: Sequence[str]

    def numbered(self) -> tuple[list[str], NDArray[np.int64]]:
        """The names in alphabetical order, and each point's number among them, shape (N,)."""
        names, numbers = np.unique(np.array(self.names, dtype=object), return_inverse=True)
        return names.tolist(), numbers.astype(np.int64)


def style(number: int) -> tuple[str, str]:
    """Colour and marker of the nth name."""
    turn, place = divmod(number, len(_COLOURS))
    return _COLOURS[place], _MARKERS[turn % len(_MARKERS)]


def shorten(name: str) -> str:
    """A name as a legend has room for: its beginning and its end."""
    if len(name) <= _LONGEST:
        return name
    return f"{name[: _LONGEST - 12]}…{name[-11:]}"


def look(number: int, *, side: float) -> dict[str, Any]:
    """What matplotlib's lines take: a point of the nth name, `side` points large."""
    colour, marker = style(number)
    return {
        "color": colour,
        "marker": marker,
        "markersize": side * _SCALES.get(marker, 1.0),
        "linestyle": "",
        "markeredgecolor": "white",
        "markeredgewidth": side / 16,
        "alpha": 0.9,
    }


def displayed(names: Sequence[str]) -> list[str]:
    """Names as a legend shows them; none where they are too many to be told apart."""
    if len(names) > NUM_STYLES:
        return []
    return [shorten(clean(name)) or "(blank)" for name in names]


def add_legend(
    figure: Figure,
    names: Sequence[str],
    *,
    title: str,
    room_in: tuple[float, float],
    ruler: Ruler,
) -> float:
    """List names right of a grid of panels where two columns hold them, else below it.

    Names that are too many to be told apart are counted.

    Args:
        figure: What the grid fills.
        names: In the order of their styles, 1 or more.
        title: What they are names of, such as "label".
        room_in: The grid's width, and its height up to its first box, in inches.
        ruler: To measure names.

    Returns:
        How far up the lower end of grid and legend is, in inches from the grid's: 0 or less.
    """
    shown = displayed(names)
    width, height = room_in
    beside_in = (width + _GAP_IN, height)
    if not shown:
        told = [f"{len(names):,} {title}s,", "colours repeat"]
        write(figure, told, corner_in=beside_in, size=_NORMAL)
        return 0.0
    rows = int(height / line_in(_NORMAL + _BETWEEN * _NORMAL)) - 1  # one is the title's
    if len(shown) <= 2 * rows:
        _add_box(figure, shown, title, beside_in, size=_NORMAL, columns=-(-len(shown) // rows))
        return 0.0
    columns = _num_columns([ruler.width_in(name, _SMALL) for name in shown], room_in=width)
    box = _add_box(figure, shown, title, (0, -_GAP_IN), size=_SMALL, columns=columns)
    return float(box.get_window_extent().y0 / figure.dpi)


def _num_columns(widths_in: Sequence[float], *, room_in: float) -> int:
    """As many columns of small names as there is room for, 1 at least."""
    em = _SMALL / 72
    for columns in range(len(widths_in), 1, -1):
        parts = np.array_split(widths_in, columns)  # as matplotlib does it
        wide = sum(part.max() + (_HANDLE + _PAD + _APART) * em for part in parts)
        if wide - _APART * em <= room_in:
            return columns
    return 1


def _add_box(
    figure: Figure,
    names: Sequence[str],
    title: str,
    corner_in: tuple[float, float],
    *,
    size: float,
    columns: int,
) -> Box:
    """Add matplotlib's legend, its upper left corner so far from the figure's lower left one."""
    box = figure.legend(
        [Line2D([], [], **look(number, side=0.75 * size)) for number in range(len(names))],
        [str(number) for number in range(len(names))],  # one with a leading _ would be left out
        title=title,
        loc="upper left",
        bbox_to_anchor=fraction(figure, corner_in),
        ncols=columns,
        fontsize=size,
        title_fontsize=size,
        alignment="left",
        frameon=False,
        borderpad=0,
        borderaxespad=0,
        handlelength=_HANDLE,
        handletextpad=_PAD,
        columnspacing=_APART,
        labelspacing=_BETWEEN,
    )
    for text, name in zip(box.get_texts(), names, strict=True):
        text.set_text(name)
    return box
