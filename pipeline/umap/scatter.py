"""Scatter plots with a legend of many names, on paper and in a browser.

Names are whatever a user's files say: they are drawn as text, never read as markup.

Shape legend: N points.
"""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.umap.legend import Legend, shorten, style
from pipeline.umap.panels import MOST_PANELS, SUFFIXES, Panel, draw_panels
from store import UsageError

_PAGE = ".html"


def check(out: Path, *, num_panels: int) -> None:
    """Raise UsageError unless so many panels can be drawn into a file of that name."""
    suffix = out.suffix.lower()
    if suffix not in (*SUFFIXES, _PAGE):
        raise UsageError(f"out={out}: must end in one of {', '.join((*SUFFIXES, _PAGE))}")
    if not 1 <= num_panels <= MOST_PANELS:
        raise UsageError(f"features: {num_panels} panels, must be 1 to {MOST_PANELS}")
    if suffix == _PAGE and num_panels > 1:
        raise UsageError(
            f"out={out}: a page shows one panel; draw the {num_panels} one at a time, "
            f"or into one of {', '.join(SUFFIXES)}"
        )


def draw(
    panels: Sequence[Panel],
    legend: Legend,
    *,
    hover: Sequence[Mapping[str, str]],
    title: str,
    caption: str,
    key: str,
    out: Path,
) -> None:
    """Draw points; 104 names are told apart by colour and marker, then these repeat.

    Args:
        panels: As many as `check` lets pass; a page shows the points alone.
        legend: What the colours stand for.
        hover: What a browser tells of each point, by name, length N.
        title: Above the points.
        caption: Below the points.
        key: Explains the panels' notes, below the caption on paper.
        out: File to write, with a suffix that passes `check`.
    """
    if out.suffix.lower() == _PAGE:
        points = panels[0].points
        _draw_html(points, legend, hover=hover, title=title, caption=caption, out=out)
    else:
        draw_panels(panels, legend, title=title, caption=f"{caption}\n{key}", out=out)


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
        colour, (_, symbol) = style(number)
        figure.add_scattergl(
            x=points[rows, 0].tolist(),
            y=points[rows, 1].tolist(),
            name=_as_text(shorten(name)),
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
