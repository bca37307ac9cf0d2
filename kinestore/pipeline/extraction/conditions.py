"""Conditions of an extraction job that are checked before its first second of work."""

import os
from collections.abc import Sequence
from pathlib import Path

from kinestore.extractors import module_of
from kinestore.store import KinestoreError, UsageError
from kinestore.store.io.storage import Storage

_PART_FOLDERS = ("clips", "failures", "views", "frames")


def check_extractors(names: Sequence[str]) -> None:
    """Raise UsageError for an unknown extractor."""
    for name in names:
        module_of(name.partition(":")[0])


def check_writable(store: Storage) -> None:
    """Refuse a store on this machine that cannot be written to.

    Raises:
        UsageError: If its path is not UTF-8: the files of a store are opened by such names only.
        KinestoreError: If the user may not write to it, or not make it.
    """
    root = store.local_root
    if root is None:
        return
    if store.uri() != str(root.absolute()) and store.uri().startswith("file://"):
        raise UsageError(f"store {root!a}: its path must be UTF-8; name another folder")
    try:
        for folder in _folders(root):
            if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
                raise KinestoreError(
                    f"store {root}: {folder} cannot be written to; change its permissions, or "
                    "name another store"
                )
    except OSError as error:
        raise KinestoreError(f"store {root}: cannot be used ({error.strerror})") from error


def _folders(root: Path) -> list[Path]:
    """The folders of a store, or the one that it will be made in."""
    there = root.absolute()
    while not there.exists() and not there.is_symlink():
        there = there.parent
    if there != root.absolute():
        return [there]
    parts = [root / name for name in _PART_FOLDERS if (root / name).is_dir()]
    inner = [folder for part in parts for folder in part.iterdir() if folder.is_dir()]
    return [root, *parts, *inner] if root.is_dir() else []
