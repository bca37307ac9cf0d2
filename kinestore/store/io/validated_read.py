"""Reading untrusted files: their claims are checked before memory is allocated."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kinestore.store.errors import AccessError, StoreError
from kinestore.store.io.storage import Storage

SMALL_BYTES = 1 << 20
"""Size in memory that any part may reach, and length that any description may have."""

MAX_GROWTH = 256
"""Times its file's size that a part may take in memory besides; real ones stay below 50."""

BLOCK_VALUES = 1 << 16
"""Values that are checked together."""


MAX_ATTEMPT = 1_000_000
"""Attempts of a failed input: one more would be this again."""

_MOST = {"attempt": MAX_ATTEMPT, **dict.fromkeys(("num_frames", "fps", "duration_s"), 2**53)}
"""By column, the largest number that a job writes; none is below 0."""


def read_json(storage: Storage, name: str, *, max_bytes: int = SMALL_BYTES) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        FileNotFoundError: If there is no file.
        StoreError: If it is too long or not a JSON object.
    """
    where = storage.address_of(name)
    try:
        size = storage.size(name)
        if size > max_bytes:
            raise StoreError(f"{where}: cannot be read ({size} bytes, more than {max_bytes})")
        with storage.open(name) as handle:
            text = handle.read(max_bytes).decode()
        described = json.loads(text, object_pairs_hook=_without_repeats)
    except (FileNotFoundError, AccessError):
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{where}: cannot be read ({error})") from error
    if not isinstance(described, dict):
        raise StoreError(f"{where}: cannot be read (not a JSON object)")
    return described


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two readers may take different ones of a key's values."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def read_part(
    storage: Storage, name: str, schema: pa.Schema, columns: list[str] | None = None
) -> pa.Table:
    """Read a Parquet part, or some of its columns.

    Args:
        storage: Where the part lies.
        name: Its name there.
        schema: Columns that it must have, with their types; others must be text.
        columns: Columns to read, if they are there; None reads all, also those not in the schema.

    Raises:
        StoreError: If it is not such a part, in one sentence without a remedy.
    """
    where = storage.address_of(name)
    try:
        size = storage.size(name)
        with pq.ParquetFile(storage.parquet_source(name)) as part:
            _check_columns(where, part.schema_arrow, schema)
            check_claims(where, part.metadata, schema, size=size)
            there = part.schema_arrow.names
            wanted = [name for name in columns or there if name in there]
            source = storage.parquet_source(name)
            check_text(where, source, part.metadata, part.schema_arrow, wanted, size=size)
            table = part.read(columns=wanted, use_threads=False)
        table.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise StoreError(f"{where}: cannot be read ({reason})") from error
    _check_rows(where, table, schema)
    return table


def check_claims(where: str, metadata: pq.FileMetaData, schema: pa.Schema, *, size: int) -> None:
    """Raise StoreError if the footer claims more than a file of this size in bytes can hold.

    The footer's columns are left alone: pyarrow 26 ends the process on a hostile one
    (`ColumnChunkMetaData` throws through Cython).
    """
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    rows = max([metadata.num_rows, *(group.num_rows for group in groups)])
    decoded = max(rows * _row_bytes(schema), sum(abs(group.total_byte_size) for group in groups))
    if decoded > _max_bytes(size):
        raise StoreError(
            f"{where}: claims {rows} rows and {decoded} bytes, too much for a file of {size} bytes"
        )


def _row_bytes(schema: pa.Schema) -> int:
    """The least that a row takes in memory."""
    total = 0
    for kind in schema.types:
        storage = kind.storage_type if isinstance(kind, pa.FixedShapeTensorType) else kind
        if pa.types.is_fixed_size_list(storage):
            total += storage.list_size * storage.value_type.bit_width // 8
        else:
            total += 4
    return total


def _max_bytes(size: int) -> int:
    return SMALL_BYTES + MAX_GROWTH * size


def _check_columns(where: str, found: pa.Schema, schema: pa.Schema) -> None:
    for field in schema:
        index = found.get_field_index(field.name)
        if index < 0 or found.field(index).type != field.type:
            has = "is missing" if index < 0 else f"is {found.field(index).type}"
            raise StoreError(f"{where}: column {field.name!r} {has}, not {field.type}")
    if len(set(found.names)) < len(found.names):
        raise StoreError(f"{where}: has a column twice")
    for field in found:
        if field.name not in schema.names and field.type != pa.string():
            raise StoreError(f"{where}: column {field.name!r} is {field.type}, not string")


def _text_may_grow(metadata: pq.FileMetaData, *, most: int) -> bool:
    """Whether the longest text that the file can hold, in every row, would be too much."""
    groups = range(metadata.num_row_groups)
    longest = sum(metadata.row_group(number).total_byte_size for number in groups)
    return bool(metadata.num_rows * longest > most)


def check_text(
    where: str,
    source: Any,
    metadata: pq.FileMetaData,
    schema: pa.Schema,
    wanted: list[str],
    *,
    size: int,
) -> None:
    """Raise StoreError if the text of these columns grows too much for a file of this size."""
    columns, most = [n for n in wanted if schema.field(n).type == pa.string()], _max_bytes(size)
    if not columns or not _text_may_grow(metadata, most=most):
        return
    # Measured while it is dictionary-coded: one long text may stand in every row.
    with pq.ParquetFile(source, metadata=metadata, read_dictionary=columns) as part:
        coded = part.read(columns=columns, use_threads=False)
    grown = 0
    for chunk in (chunk for column in coded.columns for chunk in column.chunks):
        lengths = pc.binary_length(chunk.dictionary).take(chunk.indices)
        grown += pc.sum(lengths).as_py() or 0
    if grown > most:
        raise StoreError(f"{where}: its text grows to {grown} bytes, too much for its size")


def _check_rows(where: str, table: pa.Table, schema: pa.Schema) -> None:
    for field in schema:
        nulls = table.column(field.name).null_count if field.name in table.column_names else 0
        if nulls and not field.nullable:
            raise StoreError(f"{where}: column {field.name!r} lacks {nulls} values")
    for name in _MOST.keys() & set(schema.names) & set(table.column_names):
        column = table.column(name).cast(pa.float64(), safe=False)
        fits = pc.and_(pc.greater_equal(column, 0), pc.less_equal(column, _MOST[name]))
        if not pc.all(fits, min_count=0).as_py():
            raise StoreError(f"{where}: column {name!r} is not between 0 and {_MOST[name]}")
    if "embedding" not in schema.names:
        return
    if "clip_id" in table.column_names:
        repeated = len(table) - pc.count_distinct(table.column("clip_id")).as_py()
        if repeated:
            raise StoreError(f"{where}: has {repeated} rows of a clip that it has already")
    if "embedding" in table.column_names:
        _check_finite(where, table.column("embedding"))


def _check_finite(where: str, embeddings: pa.ChunkedArray) -> None:
    for chunk in embeddings.chunks:
        storage = chunk.storage if isinstance(chunk.type, pa.FixedShapeTensorType) else chunk
        values = storage.flatten()
        if values.null_count or first_not_finite(values.to_numpy()) is not None:
            raise StoreError(f"{where}: has embeddings with values that are not finite")


def first_not_finite(rows: NDArray[np.floating]) -> int | None:
    """Return the first row with NaN or infinity; block by block, as fresh memory is slow."""
    size = max(1, BLOCK_VALUES * len(rows) // max(1, rows.size))
    for begin in range(0, len(rows), size):
        finite = np.isfinite(rows[begin : begin + size])
        if not finite.all():
            return begin + int(finite.reshape(len(finite), -1).all(axis=1).argmin())
    return None
