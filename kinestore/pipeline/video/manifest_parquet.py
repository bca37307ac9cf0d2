"""Read the rows of Parquet manifests, within bounds."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kinestore.pipeline.video.labels import folded
from kinestore.pipeline.video.manifest_labels import LABELS
from kinestore.pipeline.video.manifest_text import Table
from kinestore.store import UsageError
from kinestore.store.io.storage import Storage
from kinestore.store.io.validated_read import MAX_GROWTH, SMALL_BYTES, check_claims

MAX_MANIFEST_ROWS = 50_000_000
MAX_COLUMNS = 1000
BATCH_ROWS = 4096
VALUE_BYTES = 16
"""The least that a value counts for, of what the manifest may take in memory."""


def read_parquet(manifest: Storage) -> Table:
    """Read a manifest of text, numbers, dates or times.

    Raises:
        UsageError: If it has other columns, or claims more than a file of its size can hold.
        StoreError: If its footer claims more than that.
    """
    with pq.ParquetFile(manifest.parquet_source()) as file:
        _check(manifest, file)
        schema = file.schema_arrow
        paths = [file.schema.column(number).path for number in range(len(file.schema))]
    columns = [LABELS if _is_label_list(column) else column.name for column in schema]
    return Table(columns=columns, rows=_rows(manifest, paths), notes=[])


def _check(manifest: Storage, file: pq.ParquetFile) -> None:
    schema, num_rows = file.schema_arrow, file.metadata.num_rows
    if num_rows > MAX_MANIFEST_ROWS or len(schema) > MAX_COLUMNS:
        size = f"{num_rows} rows and {len(schema)} columns"
        raise UsageError(f"{manifest.address}: {size} are more than a manifest")
    for column in schema:
        if not _is_plain(column.type) and not _is_label_list(column):
            raise UsageError(
                f"{manifest.address}: column {column.name!r} is of type {column.type}; a "
                "manifest's columns are text, numbers, dates or times: leave it out"
            )
    check_claims(manifest.address, file.metadata, pa.schema([]), size=manifest.size())


def _is_plain(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return not (pa.types.is_nested(kind) or isinstance(kind, pa.BaseExtensionType))


def _is_label_list(column: pa.Field) -> bool:
    """Return whether a column holds lists of labels."""
    kind = column.type
    of_lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return of_lists and folded(column.name) in ("label", LABELS) and _is_text(kind.value_type)


def _rows(manifest: Storage, paths: list[str]) -> Iterator[tuple[int, list[str | None]]]:
    most, taken, number = SMALL_BYTES + MAX_GROWTH * manifest.size(), 0, 0
    # Text stays dictionary-coded until its size is known: one long text may stand in every row.
    with pq.ParquetFile(manifest.parquet_source(), read_dictionary=paths) as file:
        for batch in file.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
            batch.validate(full=True)
            taken += sum(map(_size, batch.columns))
            if taken > most:
                raise UsageError(
                    f"{manifest.address}: its text grows to {taken} bytes, too much for its size"
                )
            for row in zip(*map(_texts, batch.columns), strict=True):
                number += 1
                yield number, list(row)


def _size(column: pa.Array) -> int:
    total = VALUE_BYTES * len(column)
    if _is_list(column.type):
        return total + _size(column.flatten())
    if pa.types.is_dictionary(column.type) and _is_text(column.type.value_type):
        lengths = pc.binary_length(column.dictionary).take(column.indices)
        total += pc.sum(lengths).as_py() or 0
    elif _is_text(column.type):
        total += column.nbytes
    return total


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )


def _texts(column: pa.Array) -> list[str | None]:
    """The values as text, lists as JSON; bytes are those of a path."""
    if _is_list(column.type):
        return [_json(values) for values in column.to_pylist()]
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        values = column.to_pylist()
    except (ValueError, OverflowError):  # a time that Python's types do not hold
        values = column.cast(pa.string()).to_pylist()
    return [None if value is None else _text(value) for value in values]


def _json(values: list[Any] | None) -> str | None:
    if values is None:
        return None
    texts = [_text(value) for value in values if value is not None]
    return json.dumps(texts, ensure_ascii=False)


def _text(value: Any) -> str:
    return os.fsdecode(value) if isinstance(value, bytes) else str(value)
