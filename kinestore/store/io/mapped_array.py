"""One array per clip, in one contiguous piece of an HDF5 file, so that it can be mapped.

Shape legend: N clips.
"""

import errno
import io
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

from kinestore.store.errors import NO_ROOM, StoreError
from kinestore.store.io.hdf5_layout import CLIP_NAMES, NOTE
from kinestore.store.io.layout_process import ask_layout

_ALIGNMENT = 4096
"""Bytes; the array begins at a page of memory."""

_BLOCK = 1 << 20

_NO_MAPS = frozenset({errno.ENODEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})
"""Error numbers of file systems that map nothing."""


@dataclass(frozen=True, kw_only=True)
class LocatedArray:
    """Position of an array in its file.

    Attributes:
        clip_ids: Clip of each row.
        offset: Bytes before it.
        shape: Rows first.
        dtype: Of its values.
        note: Text given to `create_array`.
    """

    clip_ids: list[str]
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    note: str


def create_array(
    path: Path,
    name: str,
    clip_ids: Sequence[str],
    shape: tuple[int, ...],
    dtype: DTypeLike,
    *,
    fill: Callable[[NDArray[Any]], None],
    note: str = "",
) -> None:
    """Make the file, reserve its disk space, and have the array filled.

    Args:
        path: A new or empty file.
        name: Name of the array's dataset.
        clip_ids: Clip of each row, length N.
        shape: Shape of one clip's array.
        dtype: Data type of the array.
        fill: Called with zeros of shape (N, *shape); what it writes there is in the file.
        note: Text to store, for `read_note`.

    Raises:
        OSError: If there is no room.
    """

    def describe(file: h5py.File) -> None:
        file.attrs[NOTE] = note
        file.create_dataset(CLIP_NAMES, data=np.array([clip.encode() for clip in clip_ids], "S"))

    write_hdf5(path, name, (len(clip_ids), *shape), dtype, describe=describe, fill=fill)


def write_hdf5(
    path: Path,
    name: str,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    *,
    describe: Callable[[h5py.File], None],
    fill: Callable[[NDArray[Any]], None],
) -> None:
    """Write an HDF5 file with one array in one piece, and small data that `describe` writes.

    HDF5 itself writes to memory: on a full disk it reports nothing, and ends the process later.
    """
    image = io.BytesIO()
    with h5py.File(
        image,
        "w",
        libver=("v110", "v110"),
        alignment_threshold=1,
        alignment_interval=_ALIGNMENT,
    ) as file:
        describe(file)
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        creation.set_obj_track_times(False)  # the same rows give the same bytes
        space, kind = h5py.h5s.create_simple(shape), h5py.h5t.py_create(np.dtype(dtype))
        array = h5py.h5d.create(file.id, name.encode(), kind, space, creation)
        offset = array.get_offset()
        file.flush()
        size = file.id.get_filesize()
    path.write_bytes(image.getbuffer())
    _take_room(path, size)  # a mapped write to a full disk would end the process
    if not math.prod(shape):
        return
    try:
        mapped = np.memmap(path, dtype, mode="r+", offset=offset, shape=shape)
    except OSError:  # a file system that maps nothing for writing
        values = np.zeros(shape, dtype)
        fill(values)
        with path.open("r+b") as handle:
            handle.seek(offset)
            handle.write(values.data)
    else:
        fill(mapped.view(np.ndarray))


def _take_room(path: Path, size: int) -> None:
    with path.open("r+b") as handle:
        try:
            os.posix_fallocate(handle.fileno(), 0, size)
        except (AttributeError, OSError) as error:
            if getattr(error, "errno", None) in NO_ROOM:
                raise
            for begin in range(0, size, _BLOCK):  # a file system that reserves nothing
                handle.seek(begin)
                block = handle.read(_BLOCK).ljust(min(_BLOCK, size - begin), b"\0")
                handle.seek(begin)
                handle.write(block)


def map_array(path: Path, name: str) -> tuple[list[str], NDArray[Any]]:
    """Return the clips and the mapped array, which takes no memory until it is read.

    Writing to the array changes this process's copy alone.

    Raises:
        StoreError: If the file is not one that `create_array` made.
    """
    found = locate_array(path, name)
    shape = found.shape
    return found.clip_ids, map_values(path, found.dtype, offset=found.offset, shape=shape)


def read_note(path: Path) -> str:
    """Return the note given to `create_array`; raises as `locate_array` does."""
    return locate_array(path, CLIP_NAMES).note


def locate_array(path: Path, name: str) -> LocatedArray:
    """Return the clips and the array's position, which a process of its own finds.

    Raises:
        StoreError: If the file is not one that `create_array` made.
    """
    if path.exists() and not path.is_file():  # opening a pipe would wait
        raise StoreError(f"{path}: cannot be read (not a regular file)")
    try:
        with path.open("rb"):  # or the message is HDF5's
            pass
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from error
    layout = ask_layout(path, name)
    if fault := layout.get("fault"):
        raise StoreError(f"{path}: {fault}")
    return LocatedArray(
        clip_ids=layout["clip_ids"],
        offset=layout["offset"],
        shape=tuple(layout["shape"]),
        dtype=np.dtype(layout["dtype"]),
        note=layout["note"] or "",
    )


def map_values(
    path: Path, dtype: DTypeLike, *, offset: int, shape: tuple[int, ...]
) -> NDArray[Any]:
    """Map an array of a file; where the file system maps nothing, it is read.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If it ends earlier.
    """
    try:
        return np.memmap(path, dtype, mode="c", offset=offset, shape=shape).view(np.ndarray)
    except OSError as error:
        if error.errno not in _NO_MAPS:
            raise
        return np.fromfile(path, dtype, math.prod(shape), offset=offset).reshape(shape)
