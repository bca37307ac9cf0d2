"""Storage in an object store, through fsspec.

An object is there completely, under its final name, or not at all. There are no folders but
common beginnings of names, no links and no locks.
"""

import contextlib
import errno
import functools
import importlib.util
import io
import re
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kinestore.store.errors import AccessError, UsageError
from kinestore.store.io import atomic
from kinestore.store.io.storage import Kind, OpenFile

PACKAGES = {"s3": ("s3fs", "'kinestore[remote]'"), "gs": ("gcsfs", "gcsfs")}
"""By protocol, the package that implements it, and what to install."""

BLOCK_BYTES = 8 << 20
"""Bytes fetched at a time; a smaller file is fetched whole."""


def require_package(protocol: str) -> None:
    """Raise UsageError if the protocol's package is not installed."""
    package, install = PACKAGES[protocol]
    if importlib.util.find_spec(package) is None:
        raise UsageError(f"{protocol}://: needs the package {package}; pip install {install}")


@dataclass(frozen=True)
class ObjectStorage:
    """A bucket, or a part of one, or an object in it; see `Storage` for its methods.

    Nothing is cached: what another process has just written is seen. Errors of the libraries
    below become OSErrors that name the address, `AccessError` unless a file is absent.

    Attributes:
        protocol: One of PACKAGES.
        key: The bucket, and what follows it after a slash; taken as it is.
    """

    protocol: str
    key: str

    local_root = None
    num_concurrent_reads = 8

    @property
    def address(self) -> str:
        return self.address_of("")

    def address_of(self, name: str) -> str:
        return f"{self.protocol}://{self._key(name)}"

    def uri(self, name: str = "") -> str:
        return self.address_of(name)

    def kind(self, name: str = "") -> Kind | None:
        with contextlib.suppress(FileNotFoundError), self._files(name) as files:
            return "folder" if files.info(self._key(name))["type"] == "directory" else "file"
        return None

    def size(self, name: str = "") -> int:
        with self._files(name) as files:
            found = files.info(self._key(name))
        if found["type"] != "file":
            raise IsADirectoryError(errno.EISDIR, "is a folder", self.address_of(name))
        return int(found["size"])

    def names(self, folder: str = "") -> set[str]:
        return set(self._entries(folder))

    def walk(self) -> Iterator[str]:
        try:
            with self._files("") as files:
                keys = files.find(self.key)
        except FileNotFoundError:
            return
        inside = f"{self.key}/"
        # an object whose name ends with a slash stands for a folder
        yield from (key[len(inside) :] for key in keys if key.startswith(inside) and key[-1] != "/")

    def open(self, name: str = "") -> OpenFile:
        size = self.size(name)
        if size <= BLOCK_BYTES:
            return io.BytesIO(self.read_range(name, 0, size))
        return io.BufferedReader(_Ranges(self, name, size), BLOCK_BYTES)

    def parquet_source(self, name: str = "") -> OpenFile:
        return self.open(name)

    def read_range(self, name: str, begin: int, end: int) -> bytes:
        if begin >= end:
            return b""
        with self._files(name) as files:
            found: bytes = files.cat_file(self._key(name), start=begin, end=end)
            if len(found) != end - begin:
                raise OSError(f"{len(found)} of {end - begin} bytes arrived")
        return found

    @contextlib.contextmanager
    def local_copy(self, name: str = "") -> Iterator[Path]:
        folder, size = atomic.local_folder(), self.size(name)
        if size > shutil.disk_usage(folder).free:
            message = f"no room in {folder} for {size} bytes"
            raise OSError(errno.ENOSPC, message, self.address_of(name))
        suffix = PurePosixPath(self._key(name)).suffix
        with atomic.temporary(folder, suffix=suffix) as copy:
            with self._files(name) as files:
                files.get_file(self._key(name), str(copy))
            yield copy

    def temporary(self, folder: str = "") -> AbstractContextManager[Path]:
        return atomic.temporary(atomic.local_folder())

    def publish(self, unfinished: Path, name: str) -> None:
        with self._writing(name) as files:
            files.put_file(str(unfinished), self._key(name))

    def write(self, name: str, text: str) -> None:
        with self._writing(name) as files:
            files.pipe_file(self._key(name), text.encode())

    def write_once(self, name: str, text: str) -> None:
        try:
            with self._writing(name) as files:
                files.pipe_file(self._key(name), text.encode(), mode="create")
        except FileExistsError:
            return
        except OSError:  # a server without conditional writes; on any other error this fails again
            if self.kind(name) is None:
                self.write(name, text)

    def locked(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()

    def remove(self, name: str) -> bool:
        if self.kind(name) != "file":
            return False
        with self._files(name) as files:
            files.rm_file(self._key(name))
        return True

    def is_abandoned(self, name: str) -> bool:
        return False

    def _key(self, name: str) -> str:
        return f"{self.key}/{name}" if name else self.key

    def _entries(self, folder: str) -> dict[str, str]:
        """The type of each entry of a folder, by its name."""
        key = self._key(folder.rstrip("/"))
        try:
            with self._files(folder) as files:
                listed = files.ls(key, detail=True)
        except FileNotFoundError:
            return {}
        inside = {entry["name"].rstrip("/"): entry["type"] for entry in listed}
        inside.pop(key, None)  # an empty object that stands for the folder
        return {path.rpartition("/")[2]: kind for path, kind in inside.items()}

    @contextlib.contextmanager
    def _writing(self, name: str) -> Iterator[Any]:
        try:
            with self._files(name) as files:
                yield files
        except FileNotFoundError as error:
            bucket = self.key.partition("/")[0]
            raise UsageError(
                f"{self.address_of(name)}: there is no bucket {bucket!r}; make it first"
            ) from error

    @contextlib.contextmanager
    def _files(self, name: str) -> Iterator[Any]:
        """Provide the file system; the libraries' errors, some no OSErrors, become OSErrors."""
        address = self.address_of(name)
        files = _file_system(self.protocol)
        try:
            yield files
        except FileNotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, "no such file", address) from error
        except FileExistsError:
            raise
        except Exception as error:
            code = errno.EACCES if isinstance(error, PermissionError) else errno.EIO
            raise AccessError(
                code, f"cannot be read or written ({_reason(error)})", address
            ) from error


class _Ranges(io.RawIOBase):
    """A large object, fetched as it is read."""

    def __init__(self, storage: ObjectStorage, name: str, size: int) -> None:
        self._storage = storage
        self._name = name
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def readinto(self, buffer: Any) -> int:
        end = min(self._position + memoryview(buffer).nbytes, self._size)
        found = self._storage.read_range(self._name, self._position, end)
        memoryview(buffer).cast("B")[: len(found)] = found
        self._position += len(found)
        return len(found)


@functools.cache
def _file_system(protocol: str) -> Any:
    import fsspec  # comes with the packages

    return fsspec.filesystem(protocol, use_listings_cache=False)  # others write at the same time


def _reason(error: Exception) -> str:
    """The error in one line, without a password that an endpoint's address may hold."""
    said = " ".join(str(error).split()) or type(error).__name__
    return re.sub(r"//[^/@\s]*@", "//", said)[:300]
