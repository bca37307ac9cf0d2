"""What the page for a browser is given."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinestore.pipeline.explorer import Page
from kinestore.pipeline.previews.captions import captions
from kinestore.pipeline.previews.thumbnails import thumbnails as draw_thumbnails
from kinestore.pipeline.projection.color_by import columns_of
from kinestore.pipeline.projection.neighbors import nearest
from kinestore.pipeline.projection.result import Drawn
from kinestore.pipeline.runs.predictions import Predictions, read_predictions
from kinestore.store import Features, Store


def fill(
    features: Features,
    drawn: Drawn,
    *,
    points: NDArray[np.float32],
    standardised: NDArray[np.float32],
    extractors: Sequence[str],
    clients: Mapping[str, int] | None,
    store: Store | None,
    run: str | Path | None,
    thumbnails: bool,
    on_progress: Callable[[int, int], None] | None,
) -> Page:
    """Put together all that is known of each clip.

    Args:
        features: N clips.
        drawn: How they were laid out.
        points: Where, shape (N, 2), or (E * N, 2) of E extractors one after another.
        standardised: What was laid out, shape (N, D) or (E * N, D).
        extractors: The name of each that has a point for each clip; empty where there is one.
        clients: The client of a clip, by clip_id; None where there are none.
        store: Where captions and videos are looked up; None for neither.
        run: Whose predictions are shown; None for none.
        thumbnails: Whether to decode a frame of each clip.
        on_progress: Called with the thumbnails done and those in all.

    Raises:
        UsageError: If the run is none, or is not finished.
    """
    said = {} if run is None else _by_clip(read_predictions(run))
    ids = features.clip_ids
    told = {} if store is None else captions(store, ids)
    pictures: dict[str, bytes] = {}
    if store is not None and thumbnails:
        pictures = draw_thumbnails(store, ids, on_progress=on_progress)
    times = max(1, len(extractors))
    columns = {
        name: values * times for name, values in columns_of(features, clients=clients).items()
    }
    if extractors:
        columns["extractor"] = [name for name in extractors for _ in ids]
    shown = ids * times
    return Page(
        title=drawn.title,
        caption=drawn.caption,
        points=points,
        clip_ids=shown,
        uris=features.uris * times,
        columns=columns,
        color=drawn.color,
        captions=[told[clip].text if clip in told else None for clip in shown] if told else [],
        thumbnails=pictures,
        neighbors=nearest(standardised, seed=drawn.seed),
        predicted=[said[clip][0] if clip in said else None for clip in shown] if said else [],
        confidence=[said[clip][1] if clip in said else None for clip in shown] if said else [],
    )


def _by_clip(said: Predictions) -> dict[str, tuple[str, float]]:
    """The predicted class, and how sure of it the run was."""
    rows = zip(said.clip_ids, said.predicted, said.confidence.tolist(), strict=True)
    return {clip: (predicted, confidence) for clip, predicted, confidence in rows}
