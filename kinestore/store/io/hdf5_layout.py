"""Position of an array in an HDF5 file, found in a process of its own.

Run as a program, it answers requests on its standard input. HDF5 may crash on a hostile file, or
loop for ever without leaving Python's lock. So this file imports nothing of Kinestore: it starts
within the time that h5py takes.
"""

import json
import math
import resource
import sys
from pathlib import Path
from typing import Any

import h5py

CLIP_NAMES = "clip_ids"
NOTE = "made_from"

CPU_SECONDS = 3
"""Processor time for one file: reading the layout of a sound one takes milliseconds."""

_MEMORY_BYTES = 4 << 30
_MAX_NOTE = 1 << 20
_RAISED = (OSError, RuntimeError, ValueError, TypeError, LookupError, OverflowError, MemoryError)
"""Errors that a malformed file causes."""

Layout = dict[str, Any]
"""clip_ids, note (None without one), and offset, shape and dtype of the array; or a fault."""


def find_layout(path: str | Path, name: str) -> Layout:
    """Return where an array is, and its clips; or, as `fault`, why the file is not used.

    Args:
        path: The file.
        name: Name of the array's dataset.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            clips, array = _plain(file, CLIP_NAMES), _plain(file, name)
            if clips.dtype.kind != "S" or clips.ndim != 1 or array.shape[:1] != clips.shape:
                return {"fault": f"{CLIP_NAMES!r} and {name!r} are not one row a clip"}
            note = file.attrs.get(NOTE)
            if isinstance(note, str) and len(note) > _MAX_NOTE:
                return {"fault": f"{NOTE!r} is too long"}
            return {
                "clip_ids": [clip.decode() for clip in clips[:].tolist()],
                "note": note if isinstance(note, str) else None,
                "offset": array.id.get_offset(),
                "shape": array.shape,
                "dtype": array.dtype.str,
            }
    except _Unusable as error:
        return {"fault": str(error)}
    except _RAISED as error:
        return {"fault": f"cannot be read ({' '.join(str(error).split())[:300]})"}


class _Unusable(Exception):
    """An array that is not as `create_array` makes it."""


def _plain(file: h5py.File, name: str) -> h5py.Dataset:
    """Return a dataset if its bytes are contiguous, and in this file."""
    link = file.get(name, getlink=True)
    found = file[name] if isinstance(link, h5py.HardLink) else None
    if not isinstance(found, h5py.Dataset):
        raise _Unusable(f"has no array {name!r} of its own")
    plist, offset = found.id.get_create_plist(), found.id.get_offset()
    contiguous = plist.get_layout() == h5py.h5d.CONTIGUOUS and not plist.get_external_count()
    end = (offset or 0) + math.prod(found.shape) * found.dtype.itemsize
    plain = found.dtype.kind in "Sfiu" and not found.dtype.hasobject and not found.dtype.subdtype
    if not contiguous or offset is None or not plain or end > Path(file.filename).stat().st_size:
        raise _Unusable(f"{name!r} is not in one piece within the file")
    return found


def answer_requests() -> None:
    """Answer one JSON line, a path and a dataset's name, with one JSON line, until there is none.

    A file that takes too much time or memory ends the process.
    """
    _limit(resource.RLIMIT_DATA, _MEMORY_BYTES)
    _limit(resource.RLIMIT_CORE, 0)
    for line in sys.stdin:
        used = resource.getrusage(resource.RUSAGE_SELF)
        _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + CPU_SECONDS)
        print(json.dumps(find_layout(*json.loads(line))), flush=True)


def _limit(kind: int, most: int) -> None:
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (most if hard < 0 else min(most, hard), hard))


if __name__ == "__main__":
    answer_requests()
