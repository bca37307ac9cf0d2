"""A cache of layouts beside a store's parts.

`cache/layout-<key>-<mark>.h5`: a hash of the settings, and a mark of `store.io.cache_marks`. All of
it can be made again: it is safe to delete, and files that this user did not make are ignored.

Shape legend: N clips, B features that share a plane, mostly 1; D columns.
"""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinestore.pipeline.projection.reducer import MIN_DIST, NUM_NEIGHBORS
from kinestore.store import StoreError
from kinestore.store.io.cache_marks import mark_fault, marked_name
from kinestore.store.io.local_storage import LocalStorage
from kinestore.store.io.mapped_array import create_array, map_array, read_note
from kinestore.store.join_cache import CACHE_FOLDER, LAYOUT_NAME

LAYOUT_VERSION = 1
"""Version of the way to lay out features and to place others."""

MOST_KEPT = 32
"""Layouts in a store; the oldest of more are removed."""

_ARRAY = "points"
_FARTHEST = 1e6
"""Largest distance from the origin: UMAP's layouts are tens wide."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CachedLayout:
    """A layout in the cache.

    Attributes:
        clip_ids: Clip of each row, length N.
        points: Shape (N, B, 2), float32.
        num_placed: Number of the clips that were placed into a layout of the others.
        features: `digest_of` the features of these clips.
    """

    clip_ids: list[str]
    points: NDArray[np.float32]
    num_placed: int
    features: str


def key_of(views: Sequence[Sequence[str]], *, seed: int) -> str:
    """Hash all that a layout depends on besides the features, to 16 hex digits.

    Args:
        views: Views of each feature.
        seed: Seed of the layout.
    """
    made_by = [LAYOUT_VERSION, version("umap-learn"), NUM_NEIGHBORS, MIN_DIST]
    return hashlib.sha256(json.dumps([made_by, views, seed]).encode()).hexdigest()[:16]


def digest_of(features: Sequence[NDArray[np.float32]]) -> str:
    """Hash the values, each of shape (N, D): they differ between pools, and views do not."""
    hashed = hashlib.sha256()
    for one in features:
        hashed.update(json.dumps(one.shape).encode())
        hashed.update(np.ascontiguousarray(one, dtype="<f4").data)
    return hashed.hexdigest()


def find_layouts(root: Path, key: str) -> list[CachedLayout]:
    """Return the layouts under a key, in an order that the files alone decide."""
    found = (_read(path) for path in sorted((root / CACHE_FOLDER).glob(f"layout-{key}-*.h5")))
    return [kept for kept in found if kept is not None]


def keep_layout(root: Path, key: str, kept: CachedLayout) -> None:
    """Keep a layout, where the folder can be written and has room."""
    folder, note = root / CACHE_FOLDER, json.dumps([kept.features, kept.num_placed])
    storage, shape = LocalStorage(root), kept.points.shape[1:]
    with contextlib.suppress(OSError):
        with storage.temporary(CACHE_FOLDER) as unfinished:
            fill = partial(np.copyto, src=kept.points)
            create_array(unfinished, _ARRAY, kept.clip_ids, shape, np.float32, fill=fill, note=note)
            name = marked_name(unfinished, f"layout-{key}")
            storage.publish(unfinished, f"{CACHE_FOLDER}/{name}")
        there = sorted(folder.glob("layout-*.h5"), key=lambda path: path.stat().st_mtime_ns)
        for path in there[:-MOST_KEPT]:
            storage.remove(f"{CACHE_FOLDER}/{path.name}")


def _read(path: Path) -> CachedLayout | None:
    """Return a layout that can be drawn; None where the file holds none, whatever it holds."""
    try:
        if not LAYOUT_NAME.fullmatch(path.name) or not path.is_file() or mark_fault(path):
            return None
        clip_ids, array = map_array(path, _ARRAY)
        features, num_placed = json.loads(read_note(path))
    except (StoreError, OSError, ValueError, TypeError, RecursionError):
        return None
    if array.ndim != 3 or array.shape[2] != 2 or array.dtype != np.float32:
        return None
    if type(num_placed) is not int or not 0 <= num_placed < len(clip_ids):
        return None
    points = np.array(array)
    if not (np.abs(points) <= _FARTHEST).all():  # nor where one is no number
        return None
    return CachedLayout(
        clip_ids=clip_ids, points=points, num_placed=num_placed, features=str(features)
    )
