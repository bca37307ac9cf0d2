"""Reading files that nobody vouches for: a claim is checked before memory is given to it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kinestore.store.errors import StoreError
from kinestore.store.io.paths import for_arrow, is_remote

SMALL_BYTES = 1 << 20
"""What any part may grow to in memory, and any description may be long."""

MAX_GROWTH = 256
"""How many times the size of its file a part may grow to in memory besides; real ones stay
below 50."""


BLOCK_VALUES = 1 << 16
"""How many values are looked at together."""


def read_json(path: Path, *, most_bytes: int = SMALL_BYTES) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        FileNotFoundError: If there is no file.
        StoreError: If it is too long or not a JSON object.
    """
    try:
        size = _size_bytes(path)
        if size > most_bytes:
            raise StoreError(f"{path}: cannot be read ({size} bytes, more than {most_bytes})")
        described = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path}: cannot be read ({error})") from error
    if not isinstance(described, dict):
        raise StoreError(f"{path}: cannot be read (not a JSON object)")
    return described


def read_part(path: Path, schema: pa.Schema, columns: list[str] | None = None) -> pa.Table:
    """Read a part, or as much of it as is asked for.

    Args:
        path: The part.
        schema: Columns that it must have, with their types; others must be text.
        columns: Which of the schema's columns to read; None reads all, also the others.

    Raises:
        StoreError: If it is not such a part, in one sentence without a remedy.
    """
    try:
        size = _size_bytes(path)
        with pq.ParquetFile(for_arrow(path)) as part:
            _check_columns(path, part.schema_arrow, schema)
            check_claims(path, part.metadata, schema, size=size)
            wanted = columns or part.schema_arrow.names
            text = [n for n in wanted if part.schema_arrow.field(n).type == pa.string()]
            if text and _text_may_grow(part.metadata, most=_most_bytes(size)):
                _check_text(path, part.metadata, text, most=_most_bytes(size))
            table = part.read(columns=wanted, use_threads=False)
        table.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise StoreError(f"{path}: cannot be read ({reason})") from error
    _check_rows(path, table, schema)
    return table


def check_claims(path: Path, metadata: pq.FileMetaData, schema: pa.Schema, *, size: int) -> None:
    """See to it that the footer claims no more than a file of this size in bytes can hold.

    The footer's columns are left alone: pyarrow 26 ends the process on a hostile one
    (`ColumnChunkMetaData` throws through Cython).

    Raises:
        StoreError: If it does.
    """
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    rows = max([metadata.num_rows, *(group.num_rows for group in groups)])
    decoded = max(rows * _row_bytes(schema), sum(abs(group.total_byte_size) for group in groups))
    if decoded > _most_bytes(size):
        raise StoreError(
            f"{path}: claims {rows} rows and {decoded} bytes, too much for a file of {size} bytes"
        )


def _row_bytes(schema: pa.Schema) -> int:
    """What a row takes in memory at least."""
    total = 0
    for kind in schema.types:
        storage = kind.storage_type if isinstance(kind, pa.FixedShapeTensorType) else kind
        if pa.types.is_fixed_size_list(storage):
            total += storage.list_size * storage.value_type.bit_width // 8
        else:
            total += 4
    return total


def _most_bytes(size: int) -> int:
    return SMALL_BYTES + MAX_GROWTH * size


def _size_bytes(path: Path) -> int:
    """The size of a regular file; opening a pipe would wait, and a device has no end."""
    if is_remote(path):
        return path.stat().st_size
    if path.exists() and not path.is_file():
        raise StoreError(f"{path}: cannot be read (not a regular file)")
    return path.stat().st_size


def _check_columns(path: Path, found: pa.Schema, schema: pa.Schema) -> None:
    for field in schema:
        index = found.get_field_index(field.name)
        if index < 0 or found.field(index).type != field.type:
            has = "is missing" if index < 0 else f"is {found.field(index).type}"
            raise StoreError(f"{path}: column {field.name!r} {has}, not {field.type}")
    if len(set(found.names)) < len(found.names):
        raise StoreError(f"{path}: has a column twice")
    for field in found:
        if field.name not in schema.names and field.type != pa.string():
            raise StoreError(f"{path}: column {field.name!r} is {field.type}, not string")


def _text_may_grow(metadata: pq.FileMetaData, *, most: int) -> bool:
    """Whether repeating the longest text that there can be in each row would come to too much."""
    groups = range(metadata.num_row_groups)
    longest = sum(metadata.row_group(number).total_byte_size for number in groups)
    return bool(metadata.num_rows * longest > most)


def _check_text(path: Path, metadata: pq.FileMetaData, columns: list[str], *, most: int) -> None:
    """Measure text while it is still coded: a long one may be there once and stand in each row."""
    source = for_arrow(path)
    with pq.ParquetFile(source, metadata=metadata, read_dictionary=columns) as part:
        coded = part.read(columns=columns, use_threads=False)
    grown = 0
    for chunk in (chunk for column in coded.columns for chunk in column.chunks):
        lengths = pc.binary_length(chunk.dictionary).take(chunk.indices)
        grown += pc.sum(lengths).as_py() or 0
    if grown > most:
        raise StoreError(f"{path}: its text grows to {grown} bytes, too much for its size")


def _check_rows(path: Path, table: pa.Table, schema: pa.Schema) -> None:
    for field in schema:
        nulls = table.column(field.name).null_count if field.name in table.column_names else 0
        if nulls and not field.nullable:
            raise StoreError(f"{path}: column {field.name!r} lacks {nulls} values")
    if "embedding" not in schema.names:
        return
    if "clip_id" in table.column_names:
        repeated = len(table) - pc.count_distinct(table.column("clip_id")).as_py()
        if repeated:
            raise StoreError(f"{path}: has {repeated} rows of a clip that it has already")
    if "embedding" in table.column_names:
        _check_finite(path, table.column("embedding"))


def _check_finite(path: Path, embeddings: pa.ChunkedArray) -> None:
    for chunk in embeddings.chunks:
        storage = chunk.storage if isinstance(chunk.type, pa.FixedShapeTensorType) else chunk
        values = storage.flatten()
        if values.null_count or first_not_finite(values.to_numpy()) is not None:
            raise StoreError(f"{path}: has embeddings with values that are not finite")


def first_not_finite(rows: NDArray[np.floating]) -> int | None:
    """The first row with NaN or infinity; block by block, for fresh memory is slow to come by."""
    size = max(1, BLOCK_VALUES * len(rows) // max(1, rows.size))
    for begin in range(0, len(rows), size):
        finite = np.isfinite(rows[begin : begin + size])
        if not finite.all():
            return begin + int(finite.reshape(len(finite), -1).all(axis=1).argmin())
    return None
