"""A map of features: every clip a point, near where its embedding's neighbours are.

Shape legend: N clips, D features.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.umap import scatter
from pipeline.umap.drawn import Drawn, DrawnPanel, clips
from pipeline.umap.layout import check_seed, project, standardise
from pipeline.umap.legend import Legend
from pipeline.umap.panels import Panel
from pipeline.umap.quality import MOST_MEASURED, measure
from pipeline.umap.same_clips import rows_of, same_clips
from store import Features, UsageError

_COLORS = ("label", "group", "split")


def umap(
    features: Features | Sequence[Features],
    *,
    classes: list[str] | None = None,
    color: str = "label",
    seed: int = 0,
    fast: bool = False,
    out: str | Path,
) -> Drawn:
    """Project features to the plane and draw them, a panel each, of the clips that all have.

    Args:
        features: What `Store.load` gives, with one vector a clip; up to 12 of them.
        classes: Draw clips of these classes only; None for all clips.
        color: "label", "group" or "split": what the colours stand for.
        seed: Seed of the projection; the same seed gives the same file.
        fast: Project on all cores, without the seed: each run gives another file.
        out: File to write: .png, .svg, .pdf, or .html for one panel to look around in.

    Returns:
        The file that was written, and what its panels are worth.

    Raises:
        UsageError: If a class or color is unknown, the ending is none of the above, there are too
            many panels, they share no clip, or `project` cannot lay one out.
    """
    asked = [features] if isinstance(features, Features) else list(features)
    scatter.check(Path(out), num_panels=len(asked))
    _check_color(color)
    check_seed(seed)
    chosen, num_left_out = same_clips(asked)
    if classes is not None:
        rows = rows_of(chosen[0], classes)
        chosen = [one.select(rows) for one in chosen]
    points = [_lay_out(one, seed=None if fast else seed, of=len(asked)) for one in chosen]
    labels, num_clips = chosen[0].labels, len(chosen[0].labels)
    drawn = Drawn(
        path=Path(out),
        num_clips=num_clips,
        num_left_out=num_left_out,
        num_measured=min(num_clips, MOST_MEASURED),
        seed=seed,
        fast=fast,
        panels=[
            DrawnPanel(
                views=one.views,
                num_features=one.features.shape[1],
                quality=measure(standardise(one.features), laid, labels, seed=seed),
            )
            for one, laid in zip(chosen, points, strict=True)
        ],
    )
    plot(
        [
            Panel(points=laid, title=title, note=panel.note)
            for laid, title, panel in zip(points, drawn.titles, drawn.panels, strict=True)
        ],
        chosen[0],
        color=color,
        title=f"{clips(num_clips)} by {color}",
        caption=drawn.caption,
        key=drawn.key,
        out=drawn.path,
    )
    return drawn


def plot(
    panels: Sequence[Panel],
    features: Features,
    *,
    color: str = "label",
    title: str,
    caption: str,
    key: str,
    out: Path,
) -> Path:
    """Draw points in the plane, one colour and marker for each label, group or split.

    Args:
        panels: 1 to 12, each of N points; of a .html, one.
        features: Whose labels, groups, splits and file names the points have, N rows.
        color: "label", "group" or "split".
        title: Above the panels.
        caption: Below the panels.
        key: Explains the panels' notes; a page leaves both out.
        out: File to write: .png, .svg, .pdf or .html; its folder is made if absent.

    Returns:
        The file that was written; the same arguments give the same bytes.

    Raises:
        UsageError: If the color or the ending is none of the above, or panels are too many.
    """
    scatter.check(out, num_panels=len(panels))
    _check_color(color)
    columns = {
        "label": [features.classes[i] if i >= 0 else None for i in features.labels],
        "group": features.groups,
        "split": features.splits,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    scatter.draw(
        panels,
        Legend(
            title=color,
            names=[_shown(value, color) for value in columns[color]],
        ),
        hover=[
            {name: _shown(value, name) for name, value in zip(columns, row, strict=True)}
            | {"file": Path(uri).name}
            for uri, *row in zip(features.uris, *columns.values(), strict=True)
        ],
        title=title,
        caption=caption,
        key=key,
        out=out,
    )
    return out


def _lay_out(features: Features, *, seed: int | None, of: int) -> NDArray[np.float32]:
    """Project one of several features; what cannot be projected is named."""
    try:
        return project(features.features, seed=seed)
    except UsageError as error:
        if of == 1:
            raise
        raise UsageError(f"{' + '.join(features.views)}: {error}") from None


def _shown(value: str | None, column: str) -> str:
    return f"(no {column})" if value is None else value


def _check_color(color: str) -> None:
    if color not in _COLORS:
        raise UsageError(f"color={color!r}: must be one of {', '.join(_COLORS)}")
