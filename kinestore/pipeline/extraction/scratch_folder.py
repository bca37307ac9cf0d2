"""Temporary folders that the next run removes if a kill left them."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_NAME = re.compile(r"kinestore-(?:dask|predict)-([0-9]+)-.*")
"""Name of such a folder, with the process that made it."""


@contextmanager
def scratch_folder(purpose: str) -> Iterator[Path]:
    """Provide a folder that only this user may enter; it is removed with the block.

    Args:
        purpose: "dask" or "predict", which the name holds.
    """
    for old in Path(tempfile.gettempdir()).glob("kinestore-*-*-*"):
        named = _NAME.fullmatch(old.name)
        if named and not psutil.pid_exists(int(named[1])) and _is_own(old):
            shutil.rmtree(old, ignore_errors=True)  # which follows no link
    prefix = f"kinestore-{purpose}-{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _is_own(folder: Path) -> bool:
    with suppress(OSError):  # another run has just removed it
        return folder.lstat().st_uid == os.getuid()
    return False
