"""A map of features: every clip is a point, near the points with similar embeddings.

Shape legend: N clips, B features that share a panel, mostly 1.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

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
    point_columns,
)
from kinestore.pipeline.projection.common_clips import common_clips, rows_of_classes
from kinestore.pipeline.projection.config import UmapConfig
from kinestore.pipeline.projection.explorer_page import explorer_page
from kinestore.pipeline.projection.layout import PlacedFeatures, compute_layout
from kinestore.pipeline.projection.quality import MOST_MEASURED, measure
from kinestore.pipeline.projection.reducer import check_layout_seed
from kinestore.pipeline.projection.result import UmapPanel, UmapResult
from kinestore.pipeline.replaceable import check_replaceable
from kinestore.progress import Progress
from kinestore.store import Features, Store, UsageError
from kinestore.store.io.addresses import local_path

_PAGE = ".html"


def umap(
    features: Features | Sequence[Features],
    *,
    out: str | Path,
    config: UmapConfig | None = None,
    store: Store | None = None,
    run: str | Path | None = None,
    progress: Progress | None = None,
) -> UmapResult:
    """Project features to the plane and draw them, a panel each, of the clips that all have.

    Args:
        features: Results of `Store.load` with one vector for each clip; up to 12 of them.
        out: File to write: .png, .svg, .pdf, or .html for one panel as an interactive page.
        config: Settings of the map.
        store: Store of the features: layouts are cached in it, the map names its snapshot, and a
            page shows captions and thumbnails.
        run: A run folder: a federated one gives clients, and a page shows its predictions.
        progress: Called after each thumbnail.

    Returns:
        The file that was written, and the quality of each panel.

    Raises:
        UsageError: If a class, color or run is unknown, the ending is none of the above, there are
            too many panels, they share no clip, or `project` cannot lay one out.
    """
    config = config or UmapConfig()
    given, path = [features] if isinstance(features, Features) else list(features), local_path(out)
    _check_out(path, num_features=len(given), color=config.color)
    check_color(config.color, given, run=run)
    check_layout_seed(config.seed)
    clients = clients_of(run, color=config.color)
    chosen, num_left_out = common_clips(given)
    if config.classes is not None:
        rows = rows_of_classes(chosen[0], config.classes)
        chosen = [one.select(rows) for one in chosen]
    share_panel = config.color == "extractor"
    if share_panel:
        check_one_width(chosen)
    panels = [
        _lay_out(some, config, store=store, is_alone=share_panel or len(chosen) == 1)
        for some in ([chosen] if share_panel else [[one] for one in chosen])
    ]
    result = UmapResult(
        path=path,
        color=config.color,
        num_clips=len(chosen[0].clip_ids),
        num_left_out=num_left_out,
        num_measured=min(len(panels[0].standardized), MOST_MEASURED),
        snapshot=None if store is None or store.pinned is None else store.pinned.name,
        seed=config.seed,
        fast=config.fast,
        num_without_thumbnail=None,
        panels=[_measured(panel, seed=config.seed) for panel in panels],
    )
    columns = point_columns(
        panels[0].features, color=config.color, clients=clients, with_extractors=share_panel
    )
    if path.suffix.lower() == _PAGE:
        pictures = store if config.thumbnails else None
        page = explorer_page(
            panels[0],
            result,
            columns=columns,
            store=store,
            thumbnails_from=pictures,
            run=run,
            progress=progress,
        )
        write_explorer(page, path)
        if config.thumbnails:
            result = replace(result, num_without_thumbnail=result.num_clips - len(page.thumbnails))
    else:
        missing = f"(no {config.color})"
        names = [missing if value is None else value for value in columns[config.color]]
        draw_panels(
            [
                ScatterPanel(points=placed.points, title=title, note=panel.note)
                for placed, title, panel in zip(panels, result.titles, result.panels, strict=True)
            ],
            PointNames(title=config.color, names=names),
            title=result.title,
            caption=f"{result.caption}\n{result.key}",
            out=path,
        )
    return result


def _lay_out(
    features: list[Features], config: UmapConfig, *, store: Store | None, is_alone: bool
) -> PlacedFeatures:
    """Lay one panel out; if it is not the only one, an error names it."""
    root = None if store is None else store.storage.local_root
    seed = None if config.fast else config.seed
    try:
        return compute_layout(features, seed=seed, root=root, recompute=config.recompute_layout)
    except UsageError as error:
        if is_alone:
            raise
        raise UsageError(f"{' + '.join(features[0].views)}: {error}") from None


def _measured(panel: PlacedFeatures, *, seed: int) -> UmapPanel:
    """Measure a panel: by its labels or, of several features, by these."""
    features = panel.features
    labels = features[0].labels
    if len(features) > 1:
        labels = np.repeat(np.arange(len(features)), len(labels))
    return UmapPanel(
        views=features[0].views if len(features) == 1 else [" + ".join(f.views) for f in features],
        num_features=features[0].features.shape[1],
        num_points=len(panel.points),
        num_placed=panel.num_placed,
        quality=measure(panel.standardized, panel.points, labels, seed=seed),
    )


def _check_out(out: Path, *, num_features: int, color: str) -> None:
    check_replaceable(out)
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
