"""Files of an object store, reached through fsspec.

An object is there in whole, under its final name, or not at all; there are no folders but what
names have in common, no links and no locks.
"""

import contextlib
import errno
import fnmatch
import functools
import io
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Literal, TextIO, overload

from kinestore.store.errors import UsageError
from kinestore.store.io import object_stores

BLOCK_BYTES = 8 << 20
"""Fetched at once; a smaller file is fetched whole."""


@dataclass(frozen=True)
class RemoteStat:
    """What a listing tells of an object."""

    st_size: int


@functools.total_ordering
class RemotePath:
    """A file or folder of an object store, with those methods of `pathlib.Path` that are used here.

    Nothing is cached: what another process wrote a moment ago is seen. Whatever the libraries
    below raise becomes an OSError that names the address.

    Args:
        protocol: One of `object_stores.PACKAGES`.
        key: The bucket, and what follows it after a slash; taken as it is.
    """

    def __init__(self, protocol: str, key: str) -> None:
        self._protocol = protocol
        self._key = key

    # Names

    def __str__(self) -> str:
        return f"{self._protocol}://{self._key}"

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and str(self) == str(other)

    def __lt__(self, other: "RemotePath") -> bool:
        return str(self) < str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __truediv__(self, name: str) -> "RemotePath":
        return RemotePath(self._protocol, f"{self._key}/{name}")

    @property
    def name(self) -> str:
        """What follows the last slash."""
        return self._key.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """What the name ends in, from its last dot on."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> "RemotePath":
        """What comes before the last slash; a bucket is its own."""
        return RemotePath(self._protocol, self._key.rpartition("/")[0] or self._key)

    @property
    def parents(self) -> list["RemotePath"]:
        """The parent, its parent, and so on to the bucket."""
        return [] if self.parent == self else [self.parent, *self.parent.parents]

    def resolve(self) -> "RemotePath":
        """The same: there are no links."""
        return self

    def is_relative_to(self, other: "RemotePath") -> bool:
        """Whether it is the other or lies in it."""
        return self == other or str(self).startswith(f"{other}/")

    def relative_to(self, other: "RemotePath") -> PurePosixPath:
        """What follows the other's name."""
        if not self.is_relative_to(other):
            raise ValueError(f"{self}: does not lie in {other}")
        return PurePosixPath(str(self)[len(str(other)) + 1 :])

    # What is there

    def exists(self) -> bool:
        """Whether there is such a file or folder."""
        return self._kind() is not None

    def is_file(self) -> bool:
        """Whether it is an object."""
        return self._kind() == "file"

    def is_dir(self) -> bool:
        """Whether it is a bucket, or the beginning of objects' names."""
        return self._kind() == "directory"

    def is_symlink(self) -> bool:
        """Never."""
        return False

    def stat(self) -> RemoteStat:
        """The object's size in bytes."""
        with self._telling() as files:
            found = files.info(self._key)
        if found["type"] != "file":
            raise IsADirectoryError(errno.EISDIR, "is a folder", str(self))
        return RemoteStat(int(found["size"]))

    def iterdir(self) -> Iterator["RemotePath"]:
        """What lies in the folder."""
        return (self / name for name in sorted(self._entries()))

    def names(self) -> set[str]:
        """The names in the folder, from one listing; none where there is no such folder."""
        with contextlib.suppress(FileNotFoundError):
            return set(self._entries())
        return set()

    def glob(self, pattern: str) -> Iterator["RemotePath"]:
        """What matches, level by level; of wildcards, within a name."""
        first, _, rest = pattern.partition("/")
        wild = "*" in first
        matching = (name for name in sorted(self.names()) if fnmatch.fnmatchcase(name, first))
        for path in [self / name for name in (matching if wild else [first])]:
            if rest:
                yield from path.glob(rest)
            elif wild or path.exists():
                yield path

    def walk(self) -> Iterator[tuple["RemotePath", list[str], list[str]]]:
        """As `os.walk`: a name that is taken out of the folders is not looked into."""
        try:
            entries = self._entries()
        except FileNotFoundError:
            return
        folders = sorted(name for name, kind in entries.items() if kind == "directory")
        yield self, folders, sorted(name for name, kind in entries.items() if kind != "directory")
        for name in folders:
            yield from (self / name).walk()

    # What is read and written

    @overload
    def open(self, mode: Literal["rb"]) -> BinaryIO: ...
    @overload
    def open(
        self, mode: Literal["r"] = "r", *, encoding: str = "utf-8", newline: str | None = None
    ) -> TextIO: ...
    def open(
        self, mode: str = "r", *, encoding: str = "utf-8", newline: str | None = None
    ) -> BinaryIO | TextIO:
        """Open for reading; a file of up to BLOCK_BYTES is fetched at once."""
        size = self.stat().st_size
        raw: Any
        if size <= BLOCK_BYTES:
            raw = io.BytesIO(self.read_range(0, size))
        else:
            raw = io.BufferedReader(_Ranges(self, size), BLOCK_BYTES)
        return raw if mode == "rb" else io.TextIOWrapper(raw, encoding=encoding, newline=newline)

    def read_range(self, begin: int, end: int) -> bytes:
        """The bytes from one place up to another, which the object must reach."""
        if begin >= end:
            return b""
        with self._telling() as files:
            found: bytes = files.cat_file(self._key, start=begin, end=end)
            if len(found) != end - begin:
                raise OSError(f"{len(found)} bytes came of {end - begin}")
        return found

    def read_text(self, encoding: str = "utf-8") -> str:
        """The whole of a text."""
        with self.open(encoding=encoding) as handle:
            return handle.read()

    def read_bytes(self) -> bytes:
        """The whole of a file."""
        with self.open("rb") as handle:
            return handle.read()

    def download(self, to: Path) -> None:
        """Copy to a local file."""
        with self._telling() as files:
            files.get_file(self._key, str(to))

    def upload(self, local: Path) -> None:
        """Replace by a local file: a reader sees what was there before, or all of the new one.

        Raises:
            UsageError: If there is no such bucket.
        """
        with self._writing() as files:
            files.put_file(str(local), self._key)

    def write_once(self, content: bytes) -> None:
        """Make the file, unless there is one: whoever came first made it."""
        try:
            with self._writing() as files:
                files.pipe_file(self._key, content, mode="create")
        except FileExistsError:
            return
        except OSError:  # of a server that knows no conditional writes; or it fails again
            if not self.exists():
                with self._writing() as files:
                    files.pipe_file(self._key, content)

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the object."""
        with contextlib.suppress(*[FileNotFoundError] * missing_ok), self._telling() as files:
            files.rm_file(self._key)

    # How

    def _kind(self) -> str | None:
        with contextlib.suppress(FileNotFoundError), self._telling() as files:
            return str(files.info(self._key)["type"])
        return None

    def _entries(self) -> dict[str, str]:
        """What kind of thing each name in the folder is."""
        with self._telling() as files:
            listed = files.ls(self._key, detail=True)
        inside = {entry["name"].rstrip("/"): entry["type"] for entry in listed}
        inside.pop(self._key, None)  # an empty object that stands for the folder
        return {path.rpartition("/")[2]: kind for path, kind in inside.items()}

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Any]:
        try:
            with self._telling() as files:
                yield files
        except FileNotFoundError as error:
            bucket = self._key.partition("/")[0]
            raise UsageError(f"{self}: there is no bucket {bucket!r}; make it first") from error

    def _telling(self) -> AbstractContextManager[Any]:
        return object_stores.telling(self._protocol, str(self))


class _Ranges(io.RawIOBase):
    """A large object, fetched as it is read."""

    def __init__(self, path: RemotePath, size: int) -> None:
        self._path = path
        self._size = size
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + (0, self._place, self._size)[whence]
        return self._place

    def readinto(self, buffer: Any) -> int:
        found = self._path.read_range(
            self._place, min(self._place + memoryview(buffer).nbytes, self._size)
        )
        memoryview(buffer).cast("B")[: len(found)] = found
        self._place += len(found)
        return len(found)
