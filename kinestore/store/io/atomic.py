"""Files that are there in whole, under their final name, or not at all."""

import contextlib
import errno
import fcntl
import hashlib
import os
import platform
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from kinestore.store.errors import KinestoreError
from kinestore.store.io.paths import is_remote

TEMPORARY_PREFIX = ".part-"

ABANDONED_AFTER_S = 24 * 3600.0
"""For how long nobody wrote to a temporary file of another machine that is given up."""


def _machine() -> str:
    """8 hex digits that tell this machine from others that may share the folder."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


@contextlib.contextmanager
def temporary(folder: Path, *, suffix: str = "") -> Iterator[Path]:
    """A name in the folder that no reader looks at, removed if it is still there at the end.

    The file is locked for as long: the kernel drops the lock when its owner dies, in whatever way.
    What is meant for an object store lies in this machine's folder for temporary files meanwhile.
    """
    if is_remote(folder):
        folder = local_folder()
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        path = folder / f"{TEMPORARY_PREFIX}{_machine()}-{uuid.uuid4().hex}{suffix}"
        with path.open("xb") as owner:
            with contextlib.suppress(OSError):  # a file system without locks: see is_abandoned
                fcntl.flock(owner, fcntl.LOCK_EX)
            if not os.fstat(owner.fileno()).st_nlink:
                continue  # somebody cleaned up between the making and the locking
            try:
                yield path
            finally:
                path.unlink(missing_ok=True)
            return


def local_folder() -> Path:
    """Where temporary files lie that belong into no folder here; those of the dead are removed.

    Raises:
        KinestoreError: If somebody else has taken the folder's name.
    """
    folder = Path(tempfile.gettempdir()) / f"kinestore-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise KinestoreError(f"{folder}: is somebody else's; set TMPDIR to a folder of your own")
    for path in folder.iterdir():
        if is_temporary(path):
            remove_abandoned(path)
    return folder


@contextlib.contextmanager
def local_copy(path: Path) -> Iterator[Path]:
    """The file itself, or a copy of one from an object store for as long as the block lasts.

    Raises:
        OSError: If it cannot be copied; with the error number ENOSPC if there is no room.
    """
    if not is_remote(path):
        yield path
        return
    folder, size = local_folder(), path.stat().st_size
    if size > shutil.disk_usage(folder).free:
        raise OSError(errno.ENOSPC, f"no room in {folder} for {size} bytes", str(path))
    with temporary(folder, suffix=path.suffix) as copy:
        path.download(copy)
        yield copy


def is_temporary(path: Path) -> bool:
    """Whether the name is one that `temporary` gives."""
    return path.name.startswith(TEMPORARY_PREFIX)


def is_occupied(folder: Path) -> bool:
    """Whether a folder is a file, or holds more than files that are being written."""
    if folder.is_file():
        return True
    try:
        return any(not is_temporary(path) for path in folder.iterdir())
    except FileNotFoundError:
        return False
    except NotADirectoryError:
        return True


def is_abandoned(path: Path) -> bool:
    """Whether the process that wrote a temporary file is gone.

    On the machine that made the file, its lock tells. A file of another machine, or on a file
    system without locks, is abandoned when nobody wrote to it for ABANDONED_AFTER_S.
    """
    with _locked_if_abandoned(path) as abandoned:
        return abandoned


def remove_abandoned(path: Path) -> bool:
    """Remove a temporary file if it is abandoned; says whether it was."""
    with _locked_if_abandoned(path) as abandoned:
        if abandoned:
            path.unlink(missing_ok=True)
        return abandoned


@contextlib.contextmanager
def _locked_if_abandoned(path: Path) -> Iterator[bool]:
    """Whether a temporary file is abandoned; if so, nobody can take it up within the block."""
    if is_remote(path) or path.is_symlink() or not path.is_file():
        yield False
        return
    try:
        handle = path.open("r+b")
    except OSError:  # its owner has just given it its final name, or it is somebody else's
        yield False
        return
    with handle:
        locked = None
        if path.name.startswith(f"{TEMPORARY_PREFIX}{_machine()}-"):
            locked = _try_lock(handle.fileno())
        if locked is None:
            locked = time.time() - os.fstat(handle.fileno()).st_mtime > ABANDONED_AFTER_S
        yield locked


def _try_lock(descriptor: int) -> bool | None:
    """Take a file's lock if nobody has it; None where there are no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def publish(temporary: Path, final: Path) -> None:
    """Flush the file, give it its final name and flush the folder: kill -9 leaves all or none.

    To an object store it is copied, which shows it when it is there in whole.
    """
    if is_remote(final):
        final.upload(temporary)
        return
    flush(temporary)
    temporary.replace(final)
    flush(final.parent)


def flush(path: Path) -> None:
    """Have the disk take what the system holds of a file or folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary name to write to; it becomes the path when the block ends without an error."""
    with temporary(path.parent) as unfinished:
        yield unfinished
        publish(unfinished, path)


def write_text(path: Path, text: str) -> None:
    """Write a small text file atomically."""
    with written_whole(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def write_text_once(path: Path, text: str) -> None:
    """Write a small text file atomically; where it is there already, it stays the same file."""
    if is_remote(path):
        path.write_once(text.encode())
        return
    with temporary(path.parent) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
        flush(unfinished)
        try:
            os.link(unfinished, path)
        except FileExistsError:
            return
        except OSError:  # a file system without hard links
            publish(unfinished, path)
        else:
            flush(path.parent)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes, and threads, out of the same block; the kernel frees it for the dead.

    On a file system without locks, and in an object store, it keeps nobody out.
    """
    if is_remote(path):
        yield
        return
    with path.open("r+b") as handle:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
