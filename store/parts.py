"""Immutable parts: Parquet files that are named by their place and their bytes."""

import hashlib
import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from store.atomic import publish, temporary
from store.errors import StoreError
from store.place import is_remote
from store.reading import check_claims

NAME = re.compile(r"([0-9]{5,})-([0-9a-f]{16})\.parquet")


def commit(folder: Path, table: pa.Table, *, number: int) -> Path:
    """Write a table as the part `NNNNN-<hash>.parquet`, atomically.

    Args:
        folder: Where the parts of this kind live.
        table: At least one row.
        number: Place in the order of parts: of two rows that contradict, the later part wins.

    Returns:
        The part's path. The hash is that of the file's bytes, so the same rows committed twice
        under one number are one file.

    Raises:
        StoreError: If the part is one that a reader would refuse.
    """
    compress = {
        field.name: "NONE" if field.name == "embedding" else "ZSTD" for field in table.schema
    }
    with temporary(folder) as unfinished:
        # Floats of embeddings do not compress: a dictionary or ZSTD costs time and saves nothing.
        pq.write_table(
            table,
            unfinished,
            compression=compress,
            use_dictionary=[name for name in table.column_names if name != "embedding"],
        )
        size = unfinished.stat().st_size
        check_claims(unfinished, pq.read_metadata(unfinished), table.schema, size=size)
        final = folder / f"{number:05d}-{digest(unfinished)[:16]}.parquet"
        publish(unfinished, final)
    return final


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def list_parts(folder: Path) -> list[Path]:
    """The committed parts in order; names that start with a dot are not parts yet."""
    return sorted(
        (folder / name for name in part_names(folder)),
        key=lambda path: (part_number(path), path.name),
    )


def part_names(folder: Path) -> set[str]:
    """The names of the committed parts, in no order; quick, for it is asked often."""
    try:
        if is_remote(folder):
            names = folder.names()
        else:
            with os.scandir(folder) as entries:
                names = {entry.name for entry in entries}
    except (FileNotFoundError, NotADirectoryError):
        return set()
    return {name for name in names if name.endswith(".parquet") and not name.startswith(".")}


def part_number(path: Path) -> int:
    """The number in a part's name.

    Raises:
        StoreError: If the file does not carry the name of a part.
    """
    named = NAME.fullmatch(path.name)
    if named is None:
        raise StoreError(f"{path}: not the name of a part (NNNNN-<hash>.parquet); move it away")
    return int(named[1])


def next_number(folder: Path) -> int:
    """A number above every part that is there now."""
    parts = list_parts(folder)
    return part_number(parts[-1]) + 1 if parts else 0
