"""Scatter plots with a legend of many names, on paper and in a browser.

Names are whatever a user's files say: they are drawn as text, never read as markup.

Shape legend: N points.
"""

import html
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray

from store import UsageError

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
_MARKERS = (  # matplotlib's name, plotly's name
    ("o", "circle"),
    ("s", "square"),
    ("^", "triangle-up"),
    ("D", "diamond"),
    ("v", "triangle-down"),
    ("P", "cross"),
    ("X", "x"),
    ("*", "star"),
    ("<", "triangle-left"),
    (">", "triangle-right"),
    ("p", "pentagon"),
    ("h", "hexagon"),
    ("d", "diamond-tall"),
)
_ROWS = 22  # of a column of the legend
_LONGEST = 32  # characters of a name in the legend
_PAPER = {  # metadata that would carry the date
    ".png": {"Software": None},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}
_SUFFIXES = (*_PAPER, ".html")


@dataclass(frozen=True, kw_only=True)
class Legend:
    """What the colours stand for.

    Attributes:
        title: Such as "label".
        names: One for each point, length N.
    """

    title: str
    names: Sequence[str]

    def parts(self) -> list[tuple[str, NDArray[np.int64]]]:
        """Each name, in alphabetical order, with the numbers of its points."""
        names = np.array(self.names, dtype=object)
        return [(name, np.flatnonzero(names == name)) for name in sorted(set(self.names))]


def check_suffix(out: Path) -> None:
    """Raise UsageError unless the file's ending is one that can be drawn."""
    if out.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"out={out}: must end in one of {', '.join(_SUFFIXES)}")


def draw(
    points: NDArray[np.float32],
    legend: Legend,
    *,
    hover: Sequence[Mapping[str, str]],
    title: str,
    caption: str,
    out: Path,
) -> None:
    """Draw points; 104 names are told apart by colour and marker, then these repeat.

    Args:
        points: Shape (N, 2).
        legend: What the colours stand for.
        hover: What a browser tells of each point, by name, length N.
        title: Above the points.
        caption: Below the points.
        out: File to write, with a suffix that passes `check_suffix`.
    """
    if out.suffix.lower() == ".html":
        _draw_html(points, legend, hover=hover, title=title, caption=caption, out=out)
    else:
        _draw_paper(points, legend, title=title, caption=caption, out=out)


def _style(number: int) -> tuple[str, tuple[str, str]]:
    """Colour and marker of the nth name."""
    turn, place = divmod(number, len(_COLOURS))
    return _COLOURS[place], _MARKERS[turn % len(_MARKERS)]


def _draw_paper(
    points: NDArray[np.float32], legend: Legend, *, title: str, caption: str, out: Path
) -> None:
    suffix = out.suffix.lower()
    with mpl.rc_context({"svg.hashsalt": "kinestore", "pdf.fonttype": 42}):
        figure = Figure(figsize=(5.2, 4.6), dpi=200)
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0.02, 0.12, 0.96, 0.8))
        side = float(np.clip(36 / len(points) ** 0.25, 3, 9))  # of a marker, in points
        for number, (_, rows) in enumerate(legend.parts()):
            colour, (marker, _) = _style(number)
            axes.plot(
                *points[rows].T,
                color=colour,
                marker=marker,
                markersize=side,
                linestyle="",
                markeredgecolor="white",
                markeredgewidth=side / 16,
                alpha=0.9,
            )
        axes.set_title(title, loc="left", fontsize=11)
        axes.set(xticks=[], yticks=[])
        axes.set_xlabel(_wrap(caption), loc="left", fontsize=7, color="0.35")
        axes.spines[:].set_color("0.8")
        axes.margins(0.06)
        axes.set_aspect("equal", adjustable="datalim")
        _add_legend(axes, legend, side=side)
        for text in figure.findobj(Text):
            text.set_parse_math(False)
        metadata = _PAPER[suffix]
        figure.savefig(out, format=suffix[1:], metadata=metadata, bbox_inches="tight")


def _add_legend(axes: Axes, legend: Legend, *, side: float) -> None:
    """Add a legend outside the axes, in columns; their markers are `side` points large."""
    names = [name for name, _ in legend.parts()]
    box = axes.legend(
        axes.get_lines(),
        [str(number) for number in range(len(names))],  # one with a leading _ would be left out
        title=legend.title,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        borderaxespad=0,
        ncols=-(-len(names) // _ROWS),
        markerscale=6 / side,
        fontsize=8,
        title_fontsize=8,
        alignment="left",
        frameon=False,
        handletextpad=0.2,
        columnspacing=1.0,
    )
    for text, name in zip(box.get_texts(), names, strict=True):
        text.set_text(_shorten(name))


def _draw_html(
    points: NDArray[np.float32],
    legend: Legend,
    *,
    hover: Sequence[Mapping[str, str]],
    title: str,
    caption: str,
    out: Path,
) -> None:
    from plotly import graph_objects, io  # here, since a picture for paper does without

    told = np.array(["<br>".join(_line(*item) for item in told.items()) for told in hover])
    figure = graph_objects.Figure()
    for number, (name, rows) in enumerate(legend.parts()):
        colour, (_, symbol) = _style(number)
        figure.add_scattergl(
            x=points[rows, 0].tolist(),
            y=points[rows, 1].tolist(),
            name=_as_text(_shorten(name)),
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 8, "opacity": 0.9},
            text=told[rows].tolist(),
            hovertemplate="%{text}<extra></extra>",
        )
    below = "<br>".join(_as_text(line) for line in caption.splitlines())
    bare = {"showticklabels": False, "zeroline": False, "showgrid": False, "mirror": True}
    figure.update_layout(
        title={"text": _as_text(title)},
        legend={"title": {"text": _as_text(legend.title)}},
        showlegend=True,
        template="plotly_white",
        hoverlabel={"align": "left"},
        xaxis=bare | {"linecolor": "#ccc", "title": {"text": below, "font": {"size": 11}}},
        yaxis=bare | {"linecolor": "#ccc", "scaleanchor": "x"},
    )
    page = io.to_html(
        figure, include_plotlyjs=True, div_id="scatter", config={"displaylogo": False}
    )
    out.write_text(page, encoding="utf-8")


def _line(name: str, value: str) -> str:
    return f"<b>{_as_text(name)}</b> {_as_text(value)}"


def _as_text(value: str) -> str:
    """Escape the markup that plotly reads in its strings; it escapes what JSON in a page needs."""
    return html.escape(value, quote=False)


def _shorten(name: str) -> str:
    """A name as the legend has room for: its beginning and its end."""
    if len(name) <= _LONGEST:
        return name
    return f"{name[: _LONGEST - 12]}…{name[-11:]}"


def _wrap(caption: str) -> str:
    return "\n".join(textwrap.fill(line, 96) for line in caption.splitlines())
