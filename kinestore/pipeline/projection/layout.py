"""Which layout clips are drawn in: one that was kept, as it is or with new clips placed, or a new.

Shape legend: N clips, B features that share a plane, mostly 1; D columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinestore.pipeline.projection.layout_cache import Kept, digest_of, find, keep, key_of
from kinestore.pipeline.projection.out_of_sample import place
from kinestore.pipeline.projection.reducer import FEWEST, check, check_seed, project, standardise
from kinestore.store import Features

_MOST_NEW = 5
"""Of so many clips, one may be new; where more are, all are laid out afresh."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where clips lie.

    Attributes:
        points: float32, shape (B N, 2): all clips by the first feature, then by the next.
        num_placed: How many of the N were placed into a layout of the others.
    """

    points: NDArray[np.float32]
    num_placed: int


def lay_out(
    features: Sequence[Features], *, seed: int | None, root: Path | None, afresh: bool = False
) -> Layout:
    """Lay clips out by one feature, or by several of a width that share a plane.

    A layout that was kept of the same clips is taken as it is. One of all but a fifth of them, or
    fewer, has the others placed in it, and of several the largest is taken. A layout counts only
    if its clips have the features now that they were laid out by.

    Args:
        features: B of them, of the same N clips.
        seed: Of the layout; None for all cores, and nothing is kept.
        root: The folder of the store that layouts are kept in; None keeps none.
        afresh: Lay out, whatever was kept.

    Raises:
        UsageError: As `project`.
    """
    blocks, clip_ids = [one.features for one in features], features[0].clip_ids
    check_seed(seed)
    for block in blocks:
        check(block)
    repeats = len(set(clip_ids)) < len(clip_ids)
    if seed is None or root is None or repeats or len(blocks) * len(clip_ids) < FEWEST:
        return Layout(points=project(*blocks, seed=seed), num_placed=0)
    key = key_of([one.views for one in features], seed=seed)
    base = None if afresh else _serving(find(root, key), blocks, clip_ids)
    if base is not None and base.clip_ids == clip_ids:
        return Layout(points=_by_feature(base.points), num_placed=base.num_placed)
    num_placed = 0 if base is None else len(clip_ids) - len(base.clip_ids)
    if base is None:
        points = project(*blocks, seed=seed)
    else:
        points = _placed(base, blocks, clip_ids, seed=seed)
    new = Kept(
        clip_ids=clip_ids,
        points=_by_clip(points, len(blocks)),
        num_placed=num_placed,
        features=digest_of(blocks),
    )
    keep(root, key, new)
    return Layout(points=points, num_placed=num_placed)


def _serving(
    found: Sequence[Kept], blocks: Sequence[NDArray[np.float32]], clip_ids: list[str]
) -> Kept | None:
    """The layout to draw, or to place the other clips in; None where no layout does."""
    place_of = {clip: place for place, clip in enumerate(clip_ids)}
    num_clips = len(clip_ids)

    def serves(kept: Kept) -> bool:
        num_new = num_clips - len(kept.clip_ids)
        may_grow = num_new * _MOST_NEW <= num_clips and not kept.num_placed
        if kept.points.shape[1] != len(blocks) or not (kept.clip_ids == clip_ids or may_grow):
            return False
        rows = [place_of.get(clip, -1) for clip in kept.clip_ids]
        return min(rows) >= 0 and digest_of([block[rows] for block in blocks]) == kept.features

    # The largest first, and one in which nothing was placed before one in which something was.
    ordered = sorted(found, key=lambda kept: (-len(kept.clip_ids), kept.num_placed))
    return next(filter(serves, ordered), None)


def _placed(
    kept: Kept, blocks: Sequence[NDArray[np.float32]], clip_ids: list[str], *, seed: int
) -> NDArray[np.float32]:
    """All points, shape (B N, 2): those that were kept, and the others by UMAP."""
    place_of = {clip: place for place, clip in enumerate(clip_ids)}
    rows = np.array([place_of[clip] for clip in kept.clip_ids])
    is_old = np.zeros(len(clip_ids), dtype=bool)
    is_old[rows] = True
    points = np.zeros((len(clip_ids), len(blocks), 2), dtype=np.float32)
    points[rows] = kept.points
    points = _by_feature(points)
    old = np.tile(is_old, len(blocks))
    standardised = standardise(*blocks, by=rows)
    points[~old] = place(standardised[~old], among=standardised[old], points=points[old], seed=seed)
    return points


def _by_feature(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """From (N, B, 2) to (B N, 2)."""
    return points.swapaxes(0, 1).reshape(-1, 2)


def _by_clip(points: NDArray[np.float32], num_features: int) -> NDArray[np.float32]:
    """And back."""
    return points.reshape(num_features, -1, 2).swapaxes(0, 1)
