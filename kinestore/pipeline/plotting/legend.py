"""The legend of a scatter plot: colors and markers, and the names that they stand for.

Shape legend: N points.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import FigureBase
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from kinestore.pipeline.plotting.text import Ruler, clean

_COLORS = (  # Okabe and Ito, "Color Universal Design", 2008
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
NUM_STYLES = len(_COLORS) * len(_MARKERS)
"""Number of names with a color and marker of their own: 104. Then styles repeat."""
PAD_IN = 0.08  # around panels and texts
_LONGEST = 32  # characters of a name
_NORMAL, _SMALL = 8.0, 6.5  # sizes of letters in points
_HANDLE, _PAD, _APART = 1.0, 0.4, 1.2  # around a name, in sizes of its letters
_LINE = 1.25 + 0.3  # height of a name and the space below it, in sizes of its letters


@dataclass(frozen=True, kw_only=True)
class PointNames:
    """The names that colors stand for.

    Attributes:
        title: Such as "label".
        names: One for each point, length N.
    """

    title: str
    names: Sequence[str]

    def numbered(self) -> tuple[list[str], NDArray[np.int64]]:
        """Return the names in alphabetical order, and each point's number among them, (N,)."""
        names, numbers = np.unique(np.array(self.names, dtype=object), return_inverse=True)
        return names.tolist(), numbers.astype(np.int64)


def style(number: int) -> tuple[str, str]:
    """Return color and marker of the nth name."""
    turn, place = divmod(number, len(_COLORS))
    return _COLORS[place], _MARKERS[turn % len(_MARKERS)]


def point_style(number: int, *, side: float) -> dict[str, Any]:
    """Return keywords of matplotlib's `Line2D` for a point of the nth name, `side` points large."""
    color, marker = style(number)
    return {
        "color": color,
        "marker": marker,
        "markersize": side * _SCALES.get(marker, 1.0),
        "linestyle": "",
        "markeredgecolor": "white",
        "markeredgewidth": side / 16,
        "alpha": 0.9,
    }


def legend_names(names: Sequence[str]) -> list[str]:
    """Return names as a legend shows them; none if they are more than the styles."""
    if len(names) > NUM_STYLES:
        return []
    return [_shorten(clean(name)) or "(blank)" for name in names]


def _shorten(name: str) -> str:
    if len(name) <= _LONGEST:
        return name
    return f"{name[: _LONGEST - 12]}…{name[-11:]}"


def add_legend(
    figure: FigureBase,
    names: Sequence[str],
    *,
    title: str,
    room_in: tuple[float, float],
    ruler: Ruler,
) -> Legend:
    """List names outside right of the panels where two columns hold them, else below.

    If there are more names than styles, only their number is shown.

    Args:
        figure: With a constrained layout.
        names: In the order of their styles, 1 or more.
        title: Such as "label".
        room_in: Width and height of the panels in inches.
        ruler: To measure names.
    """
    shown = legend_names(names)
    if not shown:
        title = f"{len(names):,} {title}s,\ncolors repeat"
    rows = int(room_in[1] / (_LINE * _NORMAL / 72)) - 1  # one is the title's
    if len(shown) <= 2 * rows:
        below, size, columns = False, _NORMAL, -(-len(shown) // rows)
    else:
        below, size, em = True, _SMALL, _SMALL / 72
        widest = max(ruler.width_in(name, size) for name in shown)
        columns = int((room_in[0] + _APART * em) / (widest + (_HANDLE + _PAD + _APART) * em))
    legend = figure.legend(
        [Line2D([], [], **point_style(number, side=0.75 * size)) for number in range(len(shown))],
        [str(number) for number in range(len(shown))],  # one with a leading _ would be left out
        title=title,
        loc="outside lower left" if below else "outside right upper",
        ncols=max(1, columns),
        fontsize=size,
        title_fontsize=size,
        alignment="left",
        frameon=False,
        borderpad=0,
        borderaxespad=PAD_IN * 72 / size,
        handlelength=_HANDLE,
        handletextpad=_PAD,
        columnspacing=_APART,
        labelspacing=0.3,
    )
    for text, name in zip(legend.get_texts(), shown, strict=True):
        text.set_text(name)
    return legend
