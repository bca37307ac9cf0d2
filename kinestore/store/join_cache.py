"""Cached joins, in one piece, so that training opens them at once and shares their memory.

`cache/<features>-<parts>-<mark>.h5`: hashes of the joined features and of the parts that they came
from, and a mark of `io.cache_marks`: a file that this user did not make is not read. All of it can
be made again: it is safe to delete. Layouts of UMAP plots, which
`pipeline.projection.layout_cache` writes, lie beside it.
"""

import contextlib
import hashlib
import json
import math
import re
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinestore.store.errors import StoreError, UsageError
from kinestore.store.io.cache_marks import MARK, mark_fault, marked_name
from kinestore.store.io.mapped_array import create_array, map_array, read_note
from kinestore.store.io.storage import Storage
from kinestore.store.join import Column, complete_clips, fill_rows, joined_shape
from kinestore.store.views import View

CACHE_FOLDER = "cache"
_ARRAY = "features"

MIN_CACHED_BYTES = 64 << 20
"""Below this size, reading the parts is as fast."""

_NAME = re.compile(rf"[0-9a-f]{{16}}-(?P<parts>[0-9a-f]{{16}})-{MARK}\.h5")

LAYOUT_NAME = re.compile(rf"layout-[0-9a-f]{{16}}-{MARK}\.h5")
"""Names of layouts; only their marks are checked here."""

_VERSION = 1
"""Version of the code that pools and joins columns."""

JoinedRows = tuple[list[str], NDArray[np.floating]]
"""Sorted clip_ids, and their rows: shape (N, D) or (N, T, D)."""


def load_rows(
    storage: Storage, columns: Sequence[Column], wanted: Collection[str], *, dtype: str
) -> JoinedRows:
    """Return the rows of the wanted clips that every view has.

    They are mapped, without a copy, if they are all the rows of a cached join.

    Raises:
        UsageError: If a whole sequence is joined with anything else.
        StoreError: If a part cannot be used.
    """
    shape, size = joined_shape(columns), np.dtype(dtype).itemsize
    root = storage.local_root  # a cache is mapped, so it needs local files
    pinned = any(column.view.parts.snapshot for column in columns)  # nothing is written then
    cached = None if root is None else _find(root, columns, dtype)
    if cached is None:
        complete = complete_clips(columns)
        if root and not pinned and size * len(complete) * math.prod(shape) >= MIN_CACHED_BYTES:
            cached = _add(storage, root, complete, columns, dtype)
        if cached is None:
            complete = [clip for clip in complete if clip in wanted]
            values: NDArray[np.floating] = np.empty((len(complete), *shape), dtype)
            fill_rows(values, complete, columns)
            return complete, values
    clip_ids, mapped = cached
    rows = [row for row, clip in enumerate(clip_ids) if clip in wanted]
    if len(rows) == len(clip_ids):
        return clip_ids, mapped
    return [clip_ids[row] for row in rows], mapped[rows]


def cache_fault(path: Path, view: Callable[[str], View]) -> tuple[str, str] | None:
    """Return what is wrong with a cached join or layout: the kind of a finding, and a sentence.

    Args:
        path: The file.
        view: Returns the view of a name; raises UsageError if there is none.
    """
    named = _NAME.fullmatch(path.name) or LAYOUT_NAME.fullmatch(path.name)
    if not path.is_file():  # hashing a pipe would wait
        return "broken-cache", "not a regular file"
    if named is None or (fault := mark_fault(path)) == "changed":
        return "broken-cache", "its bytes have changed, or another version made it"
    if fault:
        return "foreign-cache", "another user or machine made it, so it is not read"
    if named.re is LAYOUT_NAME:
        return None
    try:
        columns = [Column(view=view(n), pool=pool) for n, pool in json.loads(read_note(path))]
    except (StoreError, UsageError, ValueError, TypeError) as error:
        return "broken-cache", str(error)
    if _parts_hash(columns) != named["parts"]:
        return "stale-cache", "was joined from other parts than there are now"
    return None


def _find(root: Path, columns: Sequence[Column], dtype: str) -> JoinedRows | None:
    prefix = f"{_features_hash(columns, dtype)}-{_parts_hash(columns)}"
    for path in sorted((root / CACHE_FOLDER).glob(f"{prefix}-*.h5")):
        with contextlib.suppress(StoreError, OSError):  # made again; `verify` says what is wrong
            if _NAME.fullmatch(path.name) and path.is_file() and not mark_fault(path):
                clip_ids, array = map_array(path, _ARRAY)
                if array.dtype == dtype and array.shape[1:] == joined_shape(columns):
                    return clip_ids, array
    return None


def _add(
    storage: Storage, root: Path, clip_ids: list[str], columns: Sequence[Column], dtype: str
) -> JoinedRows | None:
    """Join views into a file and map it; None if the folder cannot be written or is full.

    Files of the same features from other parts, or with a wrong mark, are removed.
    """
    features, came_from = _features_hash(columns, dtype), _parts_hash(columns)
    folder = root / CACHE_FOLDER
    old = list(folder.glob(f"{features}-*.h5"))
    try:
        with storage.temporary(CACHE_FOLDER) as unfinished:
            shape, note = joined_shape(columns), json.dumps(_named(columns))
            fill = partial(fill_rows, clip_ids=clip_ids, columns=columns)
            create_array(unfinished, _ARRAY, clip_ids, shape, dtype, fill=fill, note=note)
            name = marked_name(unfinished, f"{features}-{came_from}")
            storage.publish(unfinished, f"{CACHE_FOLDER}/{name}")
        for path in old:
            named = _NAME.fullmatch(path.name)
            foreign = named and named["parts"] == came_from and mark_fault(path) == "foreign"
            if path.name != name and not foreign:
                storage.remove(f"{CACHE_FOLDER}/{path.name}")
        return clip_ids, map_array(folder / name, _ARRAY)[1]
    except OSError:
        return None


def _named(columns: Sequence[Column]) -> list[list[str]]:
    return [[column.view.name, column.pool] for column in columns]


def _features_hash(columns: Sequence[Column], dtype: str) -> str:
    return _hash([_VERSION, _named(columns), dtype])


def _parts_hash(columns: Sequence[Column]) -> str:
    parts = [column.view.parts.parts() for column in columns]
    return _hash([[name.rpartition("/")[2] for name in names] for names in parts])


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
