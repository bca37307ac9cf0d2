"""Joined views kept in one piece, so that training opens them in no time and shares their memory.

`cache/<features>-<parts>-<hash>.h5`: a hash of what was joined, of the parts that it was joined
from, and of the file's own bytes. All of it can be made again: it is safe to delete. Layouts of
maps, which `pipeline.umap.kept` writes, lie beside.
"""

import contextlib
import hashlib
import json
import math
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinestore.store import join, parts
from kinestore.store.errors import StoreError, UsageError
from kinestore.store.io.atomic import publish, temporary
from kinestore.store.io.mapped_array import lay_out, map_array, read_note
from kinestore.store.io.paths import is_remote
from kinestore.store.join import Column
from kinestore.store.views import View

FOLDER = "cache"
ARRAY = "features"

WORTH_KEEPING_BYTES = 64 << 20
"""Below this, reading the parts is as quick."""

_NAME = re.compile(r"[0-9a-f]{16}-(?P<parts>[0-9a-f]{16})-(?P<hash>[0-9a-f]{16})\.h5")

LAYOUT = re.compile(r"layout-[0-9a-f]{16}-(?P<hash>[0-9a-f]{16})\.h5")
"""Names of layouts; only their bytes are checked here."""

VERSION = 1
"""Of how columns are pooled and joined."""

Joined = tuple[list[str], NDArray[np.floating]]
"""Sorted clip_ids, and their rows: shape (N, D) or (N, T, D)."""


def load_rows(
    root: Path, columns: Sequence[Column], wanted: Collection[str], *, dtype: str
) -> Joined:
    """The rows of the clips that are wanted and that every view has.

    Args:
        root: The store's folder.
        columns: What stands side by side.
        wanted: clip_ids.
        dtype: "float32" or "float16".

    Returns:
        Mapped, with no copy, where they are all the rows that were kept.

    Raises:
        UsageError: If a whole sequence does not stand alone.
        StoreError: If a part cannot be used.
    """
    shape, size = join.joined_shape(columns), np.dtype(dtype).itemsize
    may_keep = not is_remote(root)  # what is mapped must lie here
    kept = _find(root, columns, dtype) if may_keep else None
    if kept is None:
        complete = join.complete_clips(columns)
        if may_keep and size * len(complete) * math.prod(shape) >= WORTH_KEEPING_BYTES:
            kept = _keep(root, complete, columns, dtype)
        if kept is None:
            complete = [clip for clip in complete if clip in wanted]
            values: NDArray[np.floating] = np.empty((len(complete), *shape), dtype)
            join.fill(values, complete, columns)
            return complete, values
    clip_ids, mapped = kept
    rows = [row for row, clip in enumerate(clip_ids) if clip in wanted]
    if len(rows) == len(clip_ids):
        return clip_ids, mapped
    return [clip_ids[row] for row in rows], mapped[rows]


def _find(root: Path, columns: Sequence[Column], dtype: str) -> Joined | None:
    for path in sorted((root / FOLDER).glob(f"{_features(columns, dtype)}-{_parts(columns)}-*.h5")):
        with contextlib.suppress(StoreError, OSError):  # made again; `verify` tells why
            clip_ids, array = map_array(path, ARRAY)
            if array.dtype == dtype and array.shape[1:] == join.joined_shape(columns):
                return clip_ids, array
    return None


def _keep(
    root: Path, clip_ids: Sequence[str], columns: Sequence[Column], dtype: str
) -> Joined | None:
    """Join views into a file and map it; None where the folder cannot be written or is full.

    What was kept of the same features from other parts is dropped.
    """
    features, came_from = _features(columns, dtype), _parts(columns)
    folder = root / FOLDER
    stale = [p for p in folder.glob(f"{features}-*.h5") if p.name.split("-")[1] != came_from]
    try:
        with temporary(folder) as unfinished:
            shape, note = join.joined_shape(columns), json.dumps(_named(columns))
            array = lay_out(unfinished, ARRAY, clip_ids, shape, dtype, note=note)
            join.fill(array, clip_ids, columns)
            del array
            final = folder / f"{features}-{came_from}-{parts.digest(unfinished)[:16]}.h5"
            publish(unfinished, final)
        for path in stale:
            path.unlink(missing_ok=True)
        return map_array(final, ARRAY)
    except OSError:
        return None


def fault_of(path: Path, view: Callable[[str], View]) -> tuple[str, str] | None:
    """What is wrong with a kept join or layout, as the kind of a finding and a sentence.

    Args:
        path: Of the file.
        view: From a view's name to the view; raises UsageError where there is none.
    """
    named = _NAME.fullmatch(path.name) or LAYOUT.fullmatch(path.name)
    if not path.is_file():  # hashing a pipe would wait
        return "broken-cache", "not a regular file"
    if named is None or parts.digest(path)[:16] != named["hash"]:
        return "broken-cache", "its bytes have changed"
    if named.re is LAYOUT:
        return None
    try:
        columns = [Column(view=view(n), pool=pool) for n, pool in json.loads(read_note(path))]
        map_array(path, ARRAY)
    except (StoreError, UsageError, ValueError, TypeError) as error:
        return "broken-cache", str(error)
    if _parts(columns) != named["parts"]:
        return "stale-cache", "was joined from other parts than there are now"
    return None


def _named(columns: Sequence[Column]) -> list[list[str]]:
    return [[column.view.name, column.pool] for column in columns]


def _features(columns: Sequence[Column], dtype: str) -> str:
    return _hash([VERSION, _named(columns), dtype])


def _parts(columns: Sequence[Column]) -> str:
    return _hash([[path.name for path in column.view.parts.paths()] for column in columns])


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
