"""Local files that are there completely, under their final name, or not at all."""

import contextlib
import errno
import fcntl
import hashlib
import os
import platform
import re
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from kinestore.store.errors import NO_ROOM, KinestoreError

_PREFIX = ".part-"

_LOST = frozenset({errno.EIO, errno.ESTALE, *NO_ROOM})
"""Error numbers of a flush that mean that data are lost."""

_ERROR_NUMBER = re.compile(r"(?:os error|errno)\W{1,3}(\d+)", re.IGNORECASE)
"""Number of a system's error in the words of safetensors, Arrow and HDF5."""

ABANDONED_AFTER_S = 24 * 3600.0
"""Age at which a temporary file of another machine counts as abandoned."""


def _machine() -> str:
    """8 hex digits that differ between the machines that may share a folder."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


@contextlib.contextmanager
def temporary(folder: Path, *, suffix: str = "") -> Iterator[Path]:
    """Provide a file in the folder that no reader opens; it is removed if it is still there.

    It is locked until the block ends: the kernel drops the lock whenever its owner dies. Abandoned
    ones in the folder are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clear_abandoned(folder)
    while True:
        path = folder / f"{_PREFIX}{_machine()}-{uuid.uuid4().hex}{suffix}"
        with naming(folder), path.open("xb") as owner:
            with contextlib.suppress(OSError):  # a file system without locks: see is_abandoned
                fcntl.flock(owner, fcntl.LOCK_EX)
            if not path.exists():
                continue  # it was cleaned up before it was locked
            try:
                yield path
            finally:
                path.unlink(missing_ok=True)
            return


@contextlib.contextmanager
def naming(shown: Path, *, nameless: bool = False) -> Iterator[None]:
    """Name this path in errors of writing that name a temporary file, or none if `nameless`.

    Errors of libraries that only have a message become OSErrors.
    """
    try:
        yield
    except KinestoreError:
        raise
    except Exception as error:
        named = getattr(error, "filename", None)
        ours = nameless if named is None else is_temporary(os.fsdecode(named))
        numbered = _ERROR_NUMBER.search(str(error))
        number = getattr(error, "errno", None) or (int(numbered[1]) if numbered else 0)
        if not (ours and number):
            raise
        raise OSError(number, os.strerror(number), str(shown)) from error


def local_folder() -> Path:
    """Return the user's folder for temporary files, after removing the abandoned ones.

    Raises:
        KinestoreError: If the folder's name is taken by another user.
    """
    folder = Path(tempfile.gettempdir()) / f"kinestore-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise KinestoreError(f"{folder}: belongs to another user; set TMPDIR to your own folder")
    clear_abandoned(folder)
    return folder


def clear_abandoned(folder: Path) -> None:
    """Remove the abandoned temporary files in a folder, where that is allowed."""
    with contextlib.suppress(OSError):
        for path in [one for one in folder.iterdir() if is_temporary(one.name)]:
            remove_abandoned(path)


def is_temporary(name: str) -> bool:
    """Return whether the last part of a name is one that `temporary` gives."""
    return name.rpartition("/")[2].startswith(_PREFIX)


def is_abandoned(path: Path) -> bool:
    """Return whether the process that wrote a temporary file is gone.

    On the machine that made the file, its lock shows this. A file of another machine, or on a file
    system without locks, is abandoned when it was not written to for ABANDONED_AFTER_S.
    """
    with _locked_if_abandoned(path) as abandoned:
        return abandoned


def remove_abandoned(path: Path) -> bool:
    """Remove a temporary file if it is abandoned, and return whether it was."""
    with _locked_if_abandoned(path) as abandoned:
        if abandoned:
            path.unlink(missing_ok=True)
        return abandoned


@contextlib.contextmanager
def _locked_if_abandoned(path: Path) -> Iterator[bool]:
    """Whether a temporary file is abandoned; if so, it stays so within the block."""
    if path.is_symlink() or not path.is_file():
        yield False
        return
    try:
        handle = path.open("r+b")
    except OSError:  # it has just got its final name, or belongs to another user
        yield False
        return
    with handle:
        locked = None
        if path.name.startswith(f"{_PREFIX}{_machine()}-"):
            locked = _try_lock(handle.fileno())
        if locked is None:
            locked = time.time() - os.fstat(handle.fileno()).st_mtime > ABANDONED_AFTER_S
        yield locked


def _try_lock(descriptor: int) -> bool | None:
    """Take a file's lock unless it is taken; None where there are no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def publish(temporary: Path, final: Path) -> None:
    """Flush the file, give it its final name, and flush the folder: kill -9 leaves all or none."""
    flush(temporary)
    temporary.replace(final)
    flush(final.parent)


def flush(path: Path) -> None:
    """Flush a file or folder to disk, where the file system can.

    Raises:
        OSError: If the disk is full or fails.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in _LOST:
            raise


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Provide a temporary file to write to, which becomes `path` if the block raises no error.

    Raises:
        OSError: If it cannot be written; the error names `path`.
    """
    with temporary(path.parent, suffix=path.suffix) as unfinished, naming(path, nameless=True):
        yield unfinished
        publish(unfinished, path)


def write_text(path: Path, text: str) -> None:
    """Write a small text file atomically."""
    with written_whole(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def write_text_once(path: Path, text: str) -> None:
    """Write a small text file atomically; a file that is there already stays the same."""
    with temporary(path.parent) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
        flush(unfinished)
        try:
            os.link(unfinished, path)
        except FileExistsError:
            return
        except OSError:  # a file system without hard links
            if not path.exists():
                publish(unfinished, path)
        else:
            flush(path.parent)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes and threads out of the same block, until it ends or its process dies."""
    with path.open("r+b") as handle:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
