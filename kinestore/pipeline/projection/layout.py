"""The layout that clips are drawn in: from the cache, as it is or with new clips placed, or new.

Shape legend: N clips, B features that share a plane, mostly 1; D columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinestore.pipeline.projection.layout_cache import (
    CachedLayout,
    digest_of,
    find_layouts,
    keep_layout,
    key_of,
)
from kinestore.pipeline.projection.out_of_sample import place
from kinestore.pipeline.projection.reducer import (
    FEWEST,
    check_features,
    check_layout_seed,
    project,
    standardize,
)
from kinestore.store import Features

_MOST_NEW = 5
"""One of so many clips may be new; with more new ones all are laid out again."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacedFeatures:
    """Features and their places in the plane.

    Attributes:
        features: B of them, of the same N clips.
        standardized: Their columns, standardized, float32, shape (B N, D).
        points: float32, shape (B N, 2): all clips by the first feature, then by the next.
        num_placed: Number of the N that were placed into a layout of the others.
    """

    features: Sequence[Features]
    standardized: NDArray[np.float32]
    points: NDArray[np.float32]
    num_placed: int


def compute_layout(
    features: Sequence[Features], *, seed: int | None, root: Path | None, recompute: bool = False
) -> PlacedFeatures:
    """Lay clips out by one feature, or by several of a width that share a plane.

    A layout of the same clips in the cache is taken as it is. One of at least four fifths of them
    has the others placed in it, and of several the largest is taken. A layout counts only if its
    clips still have the features that they were laid out by.

    Args:
        features: B of them, of the same N clips.
        seed: Seed of the layout; None for all cores, without the cache.
        root: Folder of the store that layouts are cached in; None for no cache.
        recompute: Lay out, whatever is in the cache.

    Raises:
        UsageError: As `project`.
    """
    points, num_placed = _points(features, seed=seed, root=root, recompute=recompute)
    standardized = standardize(*(one.features for one in features))
    return PlacedFeatures(
        features=features, standardized=standardized, points=points, num_placed=num_placed
    )


def _points(
    features: Sequence[Features], *, seed: int | None, root: Path | None, recompute: bool
) -> tuple[NDArray[np.float32], int]:
    """Return the points, and the number of clips that were placed into a layout of the others."""
    blocks, clip_ids = [one.features for one in features], features[0].clip_ids
    check_layout_seed(seed)
    for block in blocks:
        check_features(block)
    repeats = len(set(clip_ids)) < len(clip_ids)
    if seed is None or root is None or repeats or len(blocks) * len(clip_ids) < FEWEST:
        return project(*blocks, seed=seed), 0
    key = key_of([one.views for one in features], seed=seed)
    base = None if recompute else _usable(find_layouts(root, key), blocks, clip_ids)
    if base is not None and base.clip_ids == clip_ids:
        return _by_feature(base.points), base.num_placed
    num_placed = 0 if base is None else len(clip_ids) - len(base.clip_ids)
    if base is None:
        points = project(*blocks, seed=seed)
    else:
        points = _placed(base, blocks, clip_ids, seed=seed)
    new = CachedLayout(
        clip_ids=clip_ids,
        points=_by_clip(points, len(blocks)),
        num_placed=num_placed,
        features=digest_of(blocks),
    )
    keep_layout(root, key, new)
    return points, num_placed


def _usable(
    found: Sequence[CachedLayout], blocks: Sequence[NDArray[np.float32]], clip_ids: list[str]
) -> CachedLayout | None:
    """Return the layout to draw, or to place the other clips in; None where there is none."""
    place_of = {clip: place for place, clip in enumerate(clip_ids)}
    num_clips = len(clip_ids)

    def is_usable(kept: CachedLayout) -> bool:
        num_new = num_clips - len(kept.clip_ids)
        may_grow = num_new * _MOST_NEW <= num_clips and not kept.num_placed
        if kept.points.shape[1] != len(blocks) or not (kept.clip_ids == clip_ids or may_grow):
            return False
        rows = [place_of.get(clip, -1) for clip in kept.clip_ids]
        return min(rows) >= 0 and digest_of([block[rows] for block in blocks]) == kept.features

    # The largest first, and one in which nothing was placed before one in which something was.
    ordered = sorted(found, key=lambda kept: (-len(kept.clip_ids), kept.num_placed))
    return next(filter(is_usable, ordered), None)


def _placed(
    kept: CachedLayout, blocks: Sequence[NDArray[np.float32]], clip_ids: list[str], *, seed: int
) -> NDArray[np.float32]:
    """Return all points, shape (B N, 2): those of the cache, and the others by UMAP."""
    place_of = {clip: place for place, clip in enumerate(clip_ids)}
    rows = np.array([place_of[clip] for clip in kept.clip_ids])
    is_old = np.zeros(len(clip_ids), dtype=bool)
    is_old[rows] = True
    points = np.zeros((len(clip_ids), len(blocks), 2), dtype=np.float32)
    points[rows] = kept.points
    points = _by_feature(points)
    old = np.tile(is_old, len(blocks))
    standardized = standardize(*blocks, by=rows)
    points[~old] = place(standardized[~old], among=standardized[old], points=points[old], seed=seed)
    return points


def _by_feature(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Reshape from (N, B, 2) to (B N, 2)."""
    return points.swapaxes(0, 1).reshape(-1, 2)


def _by_clip(points: NDArray[np.float32], num_features: int) -> NDArray[np.float32]:
    """Reshape from (B N, 2) to (N, B, 2)."""
    return points.reshape(num_features, -1, 2).swapaxes(0, 1)
