"""Storage on a file system of this machine."""

import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

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
        """The path as text."""
        return str(self.local_root)

    def address_of(self, name: str) -> str:
        """Return the path of a file."""
        return str(self._path(name))

    def uri(self, name: str = "") -> str:
        """Return the absolute path of a file."""
        return str(self._path(name).resolve())

    def kind(self, name: str = "") -> Kind | None:
        """Return the kind of an entry, or None."""
        path = self._path(name)
        if path.is_file():
            return "file"
        if path.is_dir():
            return "folder"
        if path.exists():
            return "other"
        return "broken link" if path.is_symlink() else None

    def size(self, name: str = "") -> int:
        """Return the size of a regular file; a pipe would block its reader, a device has no end."""
        found = self._path(name).stat()
        if not stat.S_ISREG(found.st_mode):
            raise OSError("not a regular file")
        return found.st_size

    def names(self, folder: str = "") -> set[str]:
        """Return the names in a folder."""
        try:
            with os.scandir(self._path(folder)) as entries:
                return {entry.name for entry in entries}
        except (FileNotFoundError, NotADirectoryError):
            return set()

    def walk(self) -> Iterator[str]:
        """Yield the name of every file."""
        for folder, _, files in os.walk(self.local_root):
            within = Path(folder).relative_to(self.local_root)
            yield from ((within / name).as_posix() for name in files)

    def open(self, name: str = "") -> BufferedReader:
        """Open a file for reading."""
        return self._path(name).open("rb")

    def parquet_source(self, name: str = "") -> Path:
        """Return the path."""
        return self._path(name)

    def local_copy(self, name: str = "") -> AbstractContextManager[Path]:
        """Provide the file itself."""
        return nullcontext(self._path(name))

    def temporary(self, folder: str = "") -> AbstractContextManager[Path]:
        """Provide a file in the folder that no reader looks at, locked until the block ends."""
        return atomic.temporary(self._path(folder))

    def publish(self, unfinished: Path, name: str) -> None:
        """Flush the file, rename it, and flush the folder."""
        atomic.publish(unfinished, self._path(name))

    def write(self, name: str, text: str) -> None:
        """Write or replace a text file."""
        atomic.write_text(self._path(name), text)

    def write_once(self, name: str, text: str) -> None:
        """Write a text file unless there is one."""
        atomic.write_text_once(self._path(name), text)

    def locked(self, name: str) -> AbstractContextManager[None]:
        """Lock the file; on a file system without locks this keeps nobody out."""
        return atomic.locked(self._path(name))

    def remove(self, name: str) -> bool:
        """Remove a file or a link."""
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
        """Return whether a temporary file's writer is gone."""
        return atomic.is_abandoned(self._path(name))

    def _path(self, name: str) -> Path:
        return self.local_root / name
