"""Storage on a file system of this machine."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from io import BufferedReader, BytesIO
from pathlib import Path
from urllib.parse import quote

from kinestore.store.errors import AccessError
from kinestore.store.io import atomic
from kinestore.store.io.storage import Kind

_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


@dataclass(frozen=True)
class LocalStorage:
    """A folder, or a single file, on this machine; see `Storage` for its methods.

    Links are read through, but nothing is written or removed behind a linked folder.

    Attributes:
        local_root: Its path.
    """

    local_root: Path

    num_concurrent_reads = 1

    @property
    def address(self) -> str:
        return str(self.local_root)

    def address_of(self, name: str) -> str:
        return str(self._path(name))

    def uri(self, name: str = "") -> str:
        path = _absolute(self._path(name))
        try:
            str(path).encode()
        except UnicodeEncodeError:
            return "file://" + quote(os.fsencode(path))
        return str(path)

    def kind(self, name: str = "") -> Kind | None:
        path = self._path(name)
        try:
            mode = path.stat().st_mode
        except OSError as error:
            if error.errno not in _ABSENT:
                raise _unreadable(path, error) from error
            return "broken link" if path.is_symlink() else None
        if stat.S_ISREG(mode):
            return "file"
        return "folder" if stat.S_ISDIR(mode) else "other"

    def size(self, name: str = "") -> int:
        found = self._path(name).stat()
        if not stat.S_ISREG(found.st_mode):
            raise OSError("not a regular file")
        return found.st_size

    def names(self, folder: str = "") -> set[str]:
        path = self._path(folder)
        try:
            with os.scandir(path) as entries:
                return {entry.name for entry in entries}
        except OSError as error:
            if error.errno not in _ABSENT:
                raise _unreadable(path, error) from error
            return set()

    def walk(self) -> Iterator[str]:
        closed: list[OSError] = []
        for folder, _, files in os.walk(self.local_root, onerror=closed.append):
            within = Path(folder).relative_to(self.local_root)
            yield from ((within / name).as_posix() for name in files)
        for error in closed:
            if error.errno not in _ABSENT:
                yield f"{Path(error.filename).relative_to(self.local_root).as_posix()}/"

    def open(self, name: str = "") -> BufferedReader | BytesIO:
        if not self.size(name):  # files of the kernel have no size, and reading them may not end
            return BytesIO()
        return self._path(name).open("rb")

    def parquet_source(self, name: str = "") -> Path:
        return self._path(name)

    def local_copy(self, name: str = "") -> AbstractContextManager[Path]:
        return nullcontext(self._path(name))

    def temporary(self, folder: str = "") -> AbstractContextManager[Path]:
        return atomic.temporary(self._inside(folder))

    def publish(self, unfinished: Path, name: str) -> None:
        atomic.publish(unfinished, self._path(name))

    def write(self, name: str, text: str) -> None:
        atomic.write_text(self._inside(name), text)

    def write_once(self, name: str, text: str) -> None:
        atomic.write_text_once(self._inside(name), text)

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        self.size(name)  # opening a pipe or a device would wait, or do something
        with atomic.locked(self._inside(name)):
            yield

    def remove(self, name: str) -> bool:
        path = self._path(name)
        if self._is_linked(path.parent) or (path.is_dir() and not path.is_symlink()):
            return False
        if atomic.is_temporary(name):
            return atomic.remove_abandoned(path)
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        return True

    def is_abandoned(self, name: str) -> bool:
        return atomic.is_abandoned(self._path(name))

    def _path(self, name: str) -> Path:
        return self.local_root / name

    def _is_linked(self, path: Path) -> bool:
        """Whether a link below the root lies on the way to a path, which is the root or below."""
        while path != self.local_root:
            if path.is_symlink():
                return True
            path = path.parent
        return False

    def _inside(self, name: str) -> Path:
        path = self._path(name)
        if self._is_linked(path):
            reason = "is a link, or lies behind one, so it is not written to; replace the link"
            raise AccessError(errno.ELOOP, reason, str(path))
        return path


def _absolute(path: Path) -> Path:
    """The absolute path, with links by their own names; only what `..` leaves is resolved."""
    parts = path.absolute().parts
    last = len(parts) - parts[::-1].index("..") if ".." in parts else 0
    return Path(os.path.realpath(Path(*parts[:last])), *parts[last:]) if last else Path(*parts)


def _unreadable(path: Path, error: OSError) -> AccessError:
    return AccessError(error.errno, f"cannot be read ({error.strerror})", str(path))
