"""Immutable parts: a file is either there in whole, under its final name, or not at all."""

import contextlib
import hashlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from store.errors import StoreError

TEMPORARY_PREFIX = ".part-"


@contextlib.contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """A name in the folder that no reader looks at, removed if it is still there at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _publish(temporary: Path, final: Path) -> None:
    """Flush the file, give it its final name and flush the folder: kill -9 leaves all or none."""
    with temporary.open("rb") as handle:
        os.fsync(handle.fileno())
    temporary.replace(final)
    descriptor = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a small text file atomically."""
    with _temporary(path.parent) as temporary:
        temporary.write_text(text, encoding="utf-8")
        _publish(temporary, path)


def commit(folder: Path, table: pa.Table, *, number: int) -> Path:
    """Write a table as the part `NNNNN-<hash>.parquet`, atomically.

    Args:
        folder: Where the parts of this kind live.
        table: At least one row.
        number: Place in the order of parts: of two rows that contradict, the later part wins.

    Returns:
        The part's path. The hash is that of the file's bytes, so the same rows committed twice
        under one number are one file.
    """
    compress = {
        field.name: "NONE" if field.name == "embedding" else "ZSTD" for field in table.schema
    }
    with _temporary(folder) as temporary:
        # Floats of embeddings do not compress: a dictionary or ZSTD costs time and saves nothing.
        pq.write_table(
            table,
            temporary,
            compression=compress,
            use_dictionary=[name for name in table.column_names if name != "embedding"],
        )
        with temporary.open("rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()[:16]
        final = folder / f"{number:05d}-{digest}.parquet"
        _publish(temporary, final)
    return final


def list_parts(folder: Path) -> list[Path]:
    """The committed parts in order; names that start with a dot are not parts yet."""
    if not folder.is_dir():
        return []
    return sorted(
        (path for path in folder.glob("*.parquet") if not path.name.startswith(".")),
        key=lambda path: (part_number(path), path.name),
    )


def part_number(path: Path) -> int:
    """The number in a part's name.

    Raises:
        StoreError: If the file does not carry the name of a part.
    """
    number, _, digest = path.stem.partition("-")
    if not number.isdecimal() or not digest:
        raise StoreError(f"{path}: not the name of a part (NNNNN-<hash>.parquet); move it away")
    return int(number)


def next_number(folder: Path) -> int:
    """A number above every part that is there now."""
    parts = list_parts(folder)
    return part_number(parts[-1]) + 1 if parts else 0


def read_parts(folder: Path, schema: pa.Schema, columns: list[str] | None = None) -> pa.Table:
    """All parts of a folder as one table, oldest first.

    Args:
        folder: Where the parts live; none is an empty table.
        schema: Columns that each part must have, with their types; more columns may follow.
        columns: Which of the columns to read; None reads all, also those not in the schema.

    Raises:
        StoreError: If a part cannot be read or its schema is another.
    """
    tables = [_read_part(path, schema, columns) for path in list_parts(folder)]
    if not tables:
        return schema.empty_table().select(columns or schema.names)
    return pa.concat_tables(tables, promote_options="default")


def _read_part(path: Path, schema: pa.Schema, columns: list[str] | None) -> pa.Table:
    remedy = "delete it and run the same extract again"
    try:
        with pq.ParquetFile(path) as part:
            found = part.schema_arrow
            for field in schema:
                index = found.get_field_index(field.name)
                if index < 0 or found.field(index).type != field.type:
                    has = "is missing" if index < 0 else f"is {found.field(index).type}"
                    raise StoreError(
                        f"{path}: column {field.name!r} {has}, not {field.type}; {remedy}"
                    )
            return part.read(columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"{path}: cannot be read ({error}); {remedy}") from error
