"""Immutable parts: files that are named by their place and their bytes."""

import hashlib
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from kinestore.store.errors import StoreError
from kinestore.store.io.atomic import flush, publish, temporary
from kinestore.store.io.paths import is_remote
from kinestore.store.io.validated_read import check_claims

PARQUET = ".parquet"
HDF5 = ".h5"

NAME = re.compile(r"([0-9]{5,})-([0-9a-f]{16})\.(parquet|h5)")


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
    others = [name for name in table.column_names if name != "embedding"]
    with temporary(folder) as unfinished:
        # Floats of embeddings do not compress, and nobody asks for their least: a dictionary, ZSTD
        # or statistics cost time and save nothing.
        pq.write_table(
            table,
            unfinished,
            compression={**dict.fromkeys(others, "ZSTD"), "embedding": "NONE"},
            use_dictionary=others,
            write_statistics=others,
        )
        size = unfinished.stat().st_size
        check_claims(unfinished, pq.read_metadata(unfinished), table.schema, size=size)
        return seal(unfinished, folder, number=number, suffix=PARQUET)


def seal(unfinished: Path, folder: Path, *, number: int, suffix: str) -> Path:
    """Give a temporary file the name of a part, which its bytes are a part of."""
    with ThreadPoolExecutor(1) as pool:
        flushed = pool.submit(flush, unfinished)  # the disk writes while the processor hashes
        final = folder / f"{number:05d}-{digest(unfinished)[:16]}{suffix}"
        flushed.result()
    publish(unfinished, final)
    return final


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def list_parts(folder: Path, suffix: str = PARQUET) -> list[Path]:
    """The committed parts in order; names that start with a dot are not parts yet."""
    return sorted(
        (folder / name for name in part_names(folder, suffix)),
        key=lambda path: (part_number(path), path.name),
    )


def part_names(folder: Path, suffix: str = PARQUET) -> set[str]:
    """The names of the committed parts, in no order; quick, for it is asked often."""
    try:
        if is_remote(folder):
            names = folder.names()
        else:
            with os.scandir(folder) as entries:
                names = {entry.name for entry in entries}
    except (FileNotFoundError, NotADirectoryError):
        return set()
    return {name for name in names if name.endswith(suffix) and not name.startswith(".")}


def part_number(path: Path) -> int:
    """The number in a part's name.

    Raises:
        StoreError: If the file does not carry the name of a part.
    """
    named = NAME.fullmatch(path.name)
    if named is None:
        wanted = f"NNNNN-<hash>{path.suffix}"
        raise StoreError(f"{path}: not the name of a part ({wanted}); move it away")
    return int(named[1])


def next_number(folder: Path, suffix: str = PARQUET) -> int:
    """A number above every part that is there now."""
    parts = list_parts(folder, suffix)
    return part_number(parts[-1]) + 1 if parts else 0
