"""Storage on a file system of this machine."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from urllib.parse import quote

from kinestore.store.io import atomic
from kinestore.store.io.storage import Kind


@dataclass(frozen=True)
class LocalStorage:
    """A folder, or a single file, on this machine; see `Storage` for its methods.

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
            mode = path.stat().st_mode  # once: another process may make it meanwhile
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            return "broken link" if path.is_symlink() else None
        return "file" if stat.S_ISREG(mode) else "folder" if stat.S_ISDIR(mode) else "other"

    def size(self, name: str = "") -> int:
        found = self._path(name).stat()
        if not stat.S_ISREG(found.st_mode):
            raise OSError("not a regular file")
        return found.st_size

    def names(self, folder: str = "") -> set[str]:
        try:
            with os.scandir(self._path(folder)) as entries:
                return {entry.name for entry in entries}
        except (FileNotFoundError, NotADirectoryError):
            return set()

    def walk(self) -> Iterator[str]:
        for folder, _, files in os.walk(self.local_root):
            within = Path(folder).relative_to(self.local_root)
            yield from ((within / name).as_posix() for name in files)

    def open(self, name: str = "") -> BufferedReader:
        return self._path(name).open("rb")

    def parquet_source(self, name: str = "") -> Path:
        return self._path(name)

    def local_copy(self, name: str = "") -> AbstractContextManager[Path]:
        return nullcontext(self._path(name))

    def temporary(self, folder: str = "") -> AbstractContextManager[Path]:
        return atomic.temporary(self._path(folder))

    def publish(self, unfinished: Path, name: str) -> None:
        atomic.publish(unfinished, self._path(name))

    def write(self, name: str, text: str) -> None:
        atomic.write_text(self._path(name), text)

    def write_once(self, name: str, text: str) -> None:
        atomic.write_text_once(self._path(name), text)

    def locked(self, name: str) -> AbstractContextManager[None]:
        return atomic.locked(self._path(name))

    def remove(self, name: str) -> bool:
        path = self._path(name)
        if not path.parent.resolve().is_relative_to(self.local_root.resolve()):
            return False  # a linked folder leads out of the storage
        if path.is_dir() and not path.is_symlink():
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


def _absolute(path: Path) -> Path:
    """The absolute path, with links by their own names; only what `..` leaves is resolved."""
    parts = path.absolute().parts
    last = len(parts) - parts[::-1].index("..") if ".." in parts else 0
    return Path(os.path.realpath(Path(*parts[:last])), *parts[last:]) if last else Path(*parts)
