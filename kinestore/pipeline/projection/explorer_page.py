"""The content of the interactive page."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from kinestore.pipeline.explorer import Page
from kinestore.pipeline.previews.captions import captions
from kinestore.pipeline.previews.thumbnails import thumbnails
from kinestore.pipeline.projection.layout import PlacedFeatures
from kinestore.pipeline.projection.neighbors import nearest
from kinestore.pipeline.projection.result import UmapResult
from kinestore.pipeline.runs.predictions import read_predictions
from kinestore.progress import Progress
from kinestore.store import Store


def explorer_page(
    panel: PlacedFeatures,
    result: UmapResult,
    *,
    columns: Mapping[str, Sequence[str | None]],
    store: Store | None,
    thumbnails_from: Store | None,
    run: str | Path | None,
    progress: Progress | None,
) -> Page:
    """Collect all that a page shows of a map.

    Args:
        panel: The only panel of the map.
        result: Its title and caption.
        columns: A value for each point, by name.
        store: Store of the captions; None for none.
        thumbnails_from: Store of the videos whose frames are shown; None for none.
        run: Run whose predictions are shown; None for none.
        progress: Called after each thumbnail.

    Raises:
        UsageError: If the run is none, or is not finished.
    """
    features, times = panel.features[0], len(panel.features)
    ids = features.clip_ids * times
    texts = {} if store is None else captions(store, features.clip_ids)
    predicted: dict[str, str] = {}
    confidence: dict[str, float] = {}
    if run is not None:
        read = read_predictions(run)
        predicted = dict(zip(read.clip_ids, read.predicted, strict=True))
        confidence = dict(zip(read.clip_ids, read.confidence.tolist(), strict=True))
    pictures: dict[str, bytes] = {}
    if thumbnails_from is not None:
        pictures = thumbnails(thumbnails_from, features.clip_ids, progress=progress)
    return Page(
        title=result.title,
        caption=result.caption,
        points=panel.points,
        clip_ids=ids,
        uris=features.uris * times,
        columns=columns,
        color=result.color,
        captions=[texts[clip].text if clip in texts else None for clip in ids] if texts else [],
        thumbnails=pictures,
        neighbors=nearest(panel.standardized, seed=result.seed),
        predicted=[predicted.get(clip) for clip in ids] if predicted else [],
        confidence=[confidence.get(clip) for clip in ids] if predicted else [],
    )
