"""A map of features: every clip a point, near where its embedding's neighbours are.

Shape legend: N clips, B features that share a panel, mostly 1.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinestore.pipeline.explorer import write_explorer
from kinestore.pipeline.plotting.legend import PointNames
from kinestore.pipeline.plotting.scatter_panels import (
    FIGURE_SUFFIXES,
    MOST_PANELS,
    ScatterPanel,
    draw_panels,
)
from kinestore.pipeline.projection.color_by import (
    check_color,
    check_one_width,
    clients_of,
    columns_of,
    extractors_of,
)
from kinestore.pipeline.projection.common_clips import rows_of, same_clips
from kinestore.pipeline.projection.explorer_page import fill
from kinestore.pipeline.projection.layout import Layout, lay_out
from kinestore.pipeline.projection.quality import MOST_MEASURED, measure
from kinestore.pipeline.projection.reducer import check_seed, standardise
from kinestore.pipeline.projection.result import Drawn, DrawnPanel
from kinestore.store import Features, Store, UsageError

_PAGE = ".html"


def umap(
    features: Features | Sequence[Features],
    *,
    classes: list[str] | None = None,
    color: str = "label",
    seed: int = 0,
    fast: bool = False,
    afresh: bool = False,
    store: Store | None = None,
    run: str | Path | None = None,
    thumbnails: bool = True,
    on_progress: Callable[[int, int], None] | None = None,
    out: str | Path,
) -> Drawn:
    """Project features to the plane and draw them, a panel each, of the clips that all have.

    Args:
        features: What `Store.load` gives, with one vector a clip; up to 12 of them.
        classes: Draw clips of these classes only; None for all clips.
        color: "label", "group", "split", "client" or "extractor": what the colours stand for.
            Extractors share one panel, with a point for each clip and feature.
        seed: Seed of the projection; the same seed gives the same file.
        fast: Project on all cores, without the seed: each run gives another file.
        afresh: Lay all clips out anew, whatever the store has kept.
        store: Where the features are from: it keeps layouts, has its snapshot named, and gives a
            page captions and thumbnails. None does without.
        run: A run folder: a federated one gives clients, and a page shows what it predicted.
        thumbnails: Whether a page shows a frame of each clip.
        on_progress: Called with the thumbnails done and those in all.
        out: File to write: .png, .svg, .pdf, or .html for one panel to look around in.

    Returns:
        The file that was written, and what its panels are worth.

    Raises:
        UsageError: If a class, color or run is unknown, the ending is none of the above, there are
            too many panels, they share no clip, or `project` cannot lay one out.
    """
    asked, path = [features] if isinstance(features, Features) else list(features), Path(out)
    _check_out(path, num_features=len(asked), color=color)
    check_color(color, run=run)
    check_seed(seed)
    clients = clients_of(run, color=color)
    chosen, num_left_out = same_clips(asked)
    if classes is not None:
        rows = rows_of(chosen[0], classes)
        chosen = [one.select(rows) for one in chosen]
    if color == "extractor":
        check_one_width(chosen)
    together = [chosen] if color == "extractor" else [[one] for one in chosen]
    root = None if store is None else store.storage.local_root
    layouts = [
        _lay_out(some, seed=None if fast else seed, root=root, afresh=afresh, of=len(together))
        for some in together
    ]
    spaces = [standardise(*(one.features for one in some)) for some in together]
    drawn = Drawn(
        path=path,
        color=color,
        num_clips=len(chosen[0].clip_ids),
        num_left_out=num_left_out,
        num_measured=min(len(spaces[0]), MOST_MEASURED),
        snapshot=None if store is None or store.pinned is None else store.pinned.name,
        seed=seed,
        fast=fast,
        panels=[
            _panel(some, layout, space, seed=seed)
            for some, layout, space in zip(together, layouts, spaces, strict=True)
        ],
    )
    if path.suffix.lower() == _PAGE:
        page = fill(
            chosen[0],
            drawn,
            points=layouts[0].points,
            standardised=spaces[0],
            extractors=extractors_of(chosen) if color == "extractor" else [],
            clients=clients,
            store=store,
            run=run,
            thumbnails=thumbnails,
            on_progress=on_progress,
        )
        write_explorer(page, path)
    else:
        draw_panels(
            [
                ScatterPanel(points=layout.points, title=title, note=panel.note)
                for layout, title, panel in zip(layouts, drawn.titles, drawn.panels, strict=True)
            ],
            PointNames(title=color, names=_names(chosen, clients, color=color)),
            title=drawn.title,
            caption=f"{drawn.caption}\n{drawn.key}",
            out=path,
        )
    return drawn


def _names(
    features: Sequence[Features], clients: Mapping[str, int] | None, *, color: str
) -> list[str]:
    """What the colour of each point stands for."""
    if color == "extractor":
        return [name for name in extractors_of(features) for _ in features[0].clip_ids]
    values = columns_of(features[0], clients=clients)[color]
    return [f"(no {color})" if value is None else value for value in values]


def _panel(
    features: Sequence[Features], layout: Layout, space: NDArray[np.float32], *, seed: int
) -> DrawnPanel:
    """What one panel shows: its figures are of the labels or, of several features, of those."""
    labels = features[0].labels
    if len(features) > 1:
        labels = np.repeat(np.arange(len(features)), len(labels))
    return DrawnPanel(
        views=features[0].views if len(features) == 1 else [" + ".join(f.views) for f in features],
        num_features=features[0].features.shape[1],
        num_points=len(layout.points),
        num_placed=layout.num_placed,
        quality=measure(space, layout.points, labels, seed=seed),
    )


def _lay_out(
    features: Sequence[Features], *, seed: int | None, root: Path | None, afresh: bool, of: int
) -> Layout:
    """Lay one of several panels out; what cannot be laid out is named."""
    try:
        return lay_out(features, seed=seed, root=root, afresh=afresh)
    except UsageError as error:
        if of == 1:
            raise
        raise UsageError(f"{' + '.join(features[0].views)}: {error}") from None


def _check_out(out: Path, *, num_features: int, color: str) -> None:
    suffix = out.suffix.lower()
    if suffix not in (*FIGURE_SUFFIXES, _PAGE):
        raise UsageError(f"out={out}: must end in one of {', '.join((*FIGURE_SUFFIXES, _PAGE))}")
    if not 1 <= num_features <= MOST_PANELS:
        raise UsageError(f"features: {num_features} panels, must be 1 to {MOST_PANELS}")
    if suffix == _PAGE and num_features > 1 and color != "extractor":
        raise UsageError(
            f"out={out}: a page shows one panel; draw the {num_features} one at a time, "
            f"or into one of {', '.join(FIGURE_SUFFIXES)}"
        )
