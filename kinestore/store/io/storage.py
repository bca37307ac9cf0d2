"""The storage verbs: all that a store needs of a file system or an object store."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Literal, Protocol

Kind = Literal["file", "folder", "other", "broken link"]
"""Kinds of entries; pipes and devices are "other"."""

OpenFile = BufferedReader | BytesIO


class Storage(Protocol):
    """A folder, or a single file, and what lies in it.

    Names are relative to it, with slashes between; "" is the storage itself. Folders need not be
    made: a file's folder is there when the file is. An operation that fails raises an OSError that
    names the full address.
    """

    @property
    def address(self) -> str:
        """The path or address as the user gave it."""

    @property
    def local_root(self) -> Path | None:
        """The path on this machine, where files can be mapped; None in an object store."""

    @property
    def num_concurrent_reads(self) -> int:
        """Number of files to read at a time."""

    def address_of(self, name: str) -> str:
        """Return the path or address of a file, for messages."""

    def uri(self, name: str = "") -> str:
        """Return the absolute path or address of a file; links keep their own names.

        It is UTF-8: a path that is not stands as a `file://` address, with %XX for its bytes.
        """

    def kind(self, name: str = "") -> Kind | None:
        """Return the kind of an entry, or None if there is none; links are followed."""

    def size(self, name: str = "") -> int:
        """Return the size of a regular file in bytes."""

    def names(self, folder: str = "") -> set[str]:
        """Return the names in a folder, without the folder's; none if there is no such folder."""

    def walk(self) -> Iterator[str]:
        """Yield the name of every file in every folder, in no order; links are not followed.

        A folder that cannot be read comes by its own name, with a slash at the end.
        """

    def open(self, name: str = "") -> OpenFile:
        """Open a file for reading and seeking."""

    def parquet_source(self, name: str = "") -> Path | OpenFile:
        """Return what pyarrow reads the file from."""

    def local_copy(self, name: str = "") -> AbstractContextManager[Path]:
        """Provide the file on this machine: itself, or a copy that is removed afterwards.

        It raises an OSError with the number ENOSPC if there is no room.
        """

    def temporary(self, folder: str = "") -> AbstractContextManager[Path]:
        """Provide a local file to write and then publish in this folder, or else to remove."""

    def publish(self, unfinished: Path, name: str) -> None:
        """Give a file from `temporary` its final name: readers see it complete, or not at all."""

    def write(self, name: str, text: str) -> None:
        """Write or replace a small text file: readers see all of it, or what was there before."""

    def write_once(self, name: str, text: str) -> None:
        """Write a small text file unless there is one: the first writer's file stays."""

    def locked(self, name: str) -> AbstractContextManager[None]:
        """Keep others out of the same block, where there are locks; object stores have none."""

    def remove(self, name: str) -> bool:
        """Remove a file or a link, and return whether it was removed.

        Folders, temporary files that are being written, and files outside of this storage that a
        link leads to stay.
        """

    def is_abandoned(self, name: str) -> bool:
        """Return whether this is a temporary file whose writer is gone."""
