"""Settings of a map."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class UmapConfig:
    """Settings of a map.

    Attributes:
        classes: Draw clips of these classes only; None for all clips.
        color: Meaning of the colors: "label", "group", "split", "client", "extractor", or a column
            of the user's own. Extractors share one panel, with a point for each clip and feature.
        seed: Seed of the projection; the same seed gives the same file.
        fast: Project on all cores, without the seed: each run gives another file.
        recompute_layout: Lay all clips out, even if the store has a layout of them in its cache.
        thumbnails: Show a frame of each clip on a page.
    """

    classes: Sequence[str] | None = None
    color: str = "label"
    seed: int = 0
    fast: bool = False
    recompute_layout: bool = False
    thumbnails: bool = True
