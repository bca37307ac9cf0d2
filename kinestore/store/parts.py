"""Immutable parts: files that are named by their number and the hash of their bytes."""

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from kinestore.store.errors import StoreError
from kinestore.store.io.atomic import flush
from kinestore.store.io.storage import Storage
from kinestore.store.io.validated_read import check_claims, check_text

PARQUET = ".parquet"
HDF5 = ".h5"

PART_NAME = re.compile(r"([0-9]{5,9})-([0-9a-f]{16})\.(parquet|h5)")
"""Name of a part's file; a part's full name begins with its folder within the store."""

MAX_NUMBER = 999_999_999
ROOM = 1_000_000
"""Numbers that a job may take: a part above MAX_NUMBER - ROOM leaves no room for others."""


def commit_part(storage: Storage, folder: str, table: pa.Table, *, number: int | None) -> str:
    """Write a table as the part `NNNNN-<hash>.parquet`, atomically.

    Args:
        storage: The store's.
        folder: Folder of this kind of part.
        table: At least one row.
        number: Position among the parts: of two contradicting rows, the later part's stands. None
            puts it last.

    Returns:
        The part's full name. The hash is that of the file's bytes, so the same rows committed
        twice under one number are one file.

    Raises:
        StoreError: If a reader would refuse the part: a text may unfold to too much.
    """
    others = [name for name in table.column_names if name != "embedding"]
    with storage.temporary(folder) as unfinished:
        # Embeddings do not compress and are not searched: a dictionary, ZSTD or statistics cost
        # time and save nothing.
        pq.write_table(
            table,
            unfinished,
            compression={**dict.fromkeys(others, "ZSTD"), "embedding": "NONE"},
            use_dictionary=others,
            write_statistics=others,
        )
        size, metadata = unfinished.stat().st_size, pq.read_metadata(unfinished)
        where = str(unfinished)
        try:
            check_text(where, unfinished, metadata, table.schema, table.column_names, size=size)
        except StoreError:  # it compresses so well that a reader would take it for an attack
            pq.write_table(table, unfinished, compression="NONE", use_dictionary=False)
            size, metadata = unfinished.stat().st_size, pq.read_metadata(unfinished)
        check_claims(where, metadata, table.schema, size=size)
        place = next_number(storage, folder) if number is None else number
        name = part_name(storage, folder, place, flush_and_hash(unfinished), PARQUET)
        storage.publish(unfinished, name)
        return name


def part_name(storage: Storage, folder: str, number: int, hash_: str, suffix: str) -> str:
    """Return the full name of a new part; raise StoreError if a part has taken the last number."""
    if number > MAX_NUMBER:
        raise StoreError(
            f"{storage.address_of(folder)}: part number {number} is above {MAX_NUMBER}; `kinestore "
            f"verify {storage.address} --repair` will delete the part that leaves no room"
        )
    return f"{folder}/{number:05d}-{hash_[:16]}{suffix}"


def flush_and_hash(path: Path) -> str:
    """Return the SHA-256 of a local file, while the disk writes it."""
    with ThreadPoolExecutor(1) as pool:
        flushed = pool.submit(flush, path)
        hashed = digest(path)
        flushed.result()
    return hashed


def digest(path: Path) -> str:
    """Return the SHA-256 of a local file, 64 hex digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def part_digest(storage: Storage, name: str) -> str:
    """Return the SHA-256 of a part, 64 hex digits."""
    with storage.open(name) as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def list_parts(storage: Storage, folder: str, suffix: str = PARQUET) -> list[str]:
    """List the committed parts in order."""
    return sort_parts(storage, part_names(storage, folder, suffix))


def part_names(storage: Storage, folder: str, suffix: str = PARQUET) -> set[str]:
    """List the committed parts in no order; names that start with a dot are not parts yet."""
    names = storage.names(folder)
    return {f"{folder}/{n}" for n in names if n.endswith(suffix) and not n.startswith(".")}


def sort_parts(storage: Storage, names: set[str]) -> list[str]:
    """Sort parts of one folder by number; errors as of `part_number`."""
    return sorted(names, key=lambda name: (part_number(storage, name), name))


def part_number(storage: Storage, name: str) -> int:
    """Return the number in a part's name.

    Raises:
        StoreError: If the file does not have the name of a part.
    """
    base = name.rpartition("/")[2]
    named = PART_NAME.fullmatch(base)
    if named is None:
        wanted = f"NNNNN-<hash>{base[base.rfind('.') :]}"
        where = storage.address_of(name)
        raise StoreError(f"{where}: not the name of a part ({wanted}); move it away")
    return int(named[1])


def next_number(storage: Storage, folder: str, suffix: str = PARQUET) -> int:
    """Return a number above every part that is there now."""
    parts = list_parts(storage, folder, suffix)
    return part_number(storage, parts[-1]) + 1 if parts else 0
