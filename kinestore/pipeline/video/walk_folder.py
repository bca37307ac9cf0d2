"""List the videos in a folder and its subfolders, and what is left out of it."""

import contextlib
import os
import re
import stat
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

from kinestore.pipeline.video.suffixes import is_hidden_name, is_video_name, suffix_of
from kinestore.store.io.storage import Storage

_SUFFIX = re.compile(r"\.[a-z0-9_~-]{1,8}")
"""Probable suffix of a file: a broken link with it hardly leads to a folder."""


@dataclass
class Listing:
    """Names in a folder, with slashes between; links to folders are followed.

    Attributes:
        videos: Files that are videos by their suffix.
        folders: Folders that were listed; "" is the folder itself.
        unreadable: Folders and links that could not be looked at, with the reason.
        hidden: Hidden files and folders, and those of the system, that were left out.
        others: Number of files by suffix that are no videos by it.
        repeated: Links that lead to a folder which is listed by another name, or holds this one.
    """

    videos: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    unreadable: dict[str, OSError] = field(default_factory=dict)
    hidden: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    repeated: list[str] = field(default_factory=list)

    def add_file(self, name: str) -> None:
        """Add a file to the videos or to the others."""
        if is_video_name(name):
            self.videos.append(name)
        else:
            self.others[suffix_of(name)] += 1


def list_folder(folder: Storage) -> Listing:
    """List a folder on this machine or in an object store, in the order of its names.

    Raises:
        OSError: If the folder itself cannot be read.
    """
    found = Listing()
    if folder.local_root is not None:
        _walk(folder.local_root, found)
    else:
        _add_objects(folder, found)
    found.videos.sort(key=lambda name: name.split("/"))
    return found


def _add_objects(folder: Storage, found: Listing) -> None:
    for name in folder.walk():
        if any(map(is_hidden_name, name.split("/"))):
            found.hidden.append(name)
        else:
            found.add_file(name)


def _walk(root: Path, found: Listing) -> None:
    """Walk real folders before links to folders: where both lead to one, the real name stands."""
    seen = {_identity(root)}
    for parent in root.resolve().parents:
        with contextlib.suppress(OSError):
            seen.add(_identity(parent))
    links = deque(_walk_real(root, "", found, seen))
    while links:
        start = links.popleft()
        links += _walk_real(root, start, found, seen)


def _walk_real(root: Path, start: str, found: Listing, seen: set[tuple[int, int]]) -> list[str]:
    """List a folder and its real subfolders, and return the links to other folders."""
    links: list[str] = []
    folders = [start]
    while folders:
        folder = folders.pop()
        try:
            identity = _identity(root / folder)
            if folder and identity in seen:
                found.repeated.append(folder)
                continue
            seen.add(identity)
            with os.scandir(root / folder) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            if not folder:
                raise
            found.unreadable[folder] = error
            continue
        found.folders.append(folder)
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            kind = _kind(entry, name, found)
            if kind == "link":
                links.append(name)
            elif kind == "folder":
                folders.append(name)
            elif kind == "file":
                found.add_file(name)
    return links


def _kind(entry: os.DirEntry[str], name: str, found: Listing) -> str | None:
    """Return "file", "folder", "link" (to a folder), or None for an entry that is left out."""
    if is_hidden_name(entry.name):
        found.hidden.append(name)
        return None
    try:
        if not entry.is_symlink():
            return "folder" if entry.is_dir(follow_symlinks=False) else "file"
        return "link" if stat.S_ISDIR(entry.stat().st_mode) else "file"
    except OSError as error:
        if is_video_name(name) or _SUFFIX.fullmatch(suffix_of(name)):
            return "file"
        found.unreadable[name] = error  # perhaps a folder of videos
        return None


def _identity(folder: Path) -> tuple[int, int]:
    """Device and number of a folder: the same whatever names lead to it."""
    about = folder.stat()
    return about.st_dev, about.st_ino
