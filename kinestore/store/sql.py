"""SQL over a store, run by DuckDB, which can access the store's tables and nothing else.

Shape legend: T frames, D features.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from importlib import import_module
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray

from kinestore.store.errors import StoreError, UsageError
from kinestore.store.schema import embedding_array, view_schema
from kinestore.store.sql_types import readable
from kinestore.store.views import View

_SEALED = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",  # names in a query are not the caller's variables
    "temp_directory": "",  # a result that does not fit into memory is an error
    "memory_limit": "2GiB",
}
_LOCKED = (
    "SET disabled_filesystems = 'LocalFileSystem'",  # or a SELECT may write a file ':memory:'
    "SET lock_configuration = true",
)
_REASON_LENGTH = 300

DEADLINE_S = 600.0
"""Time that a query may take."""

MAX_BYTES, MAX_TEXT_BYTES = 2 << 30, 256 << 20
"""Size of a result; one that becomes text takes ten times as much memory again."""

_BATCH_ROWS = 2048


def run_query(
    query: str, tables: Mapping[str, pa.Table], *, views: Sequence[View], as_text: bool
) -> pa.Table:
    """Run a SELECT over these tables, `captions` and the views, within the limits above.

    Views are read when the query does, and only the columns that it names.

    Raises:
        UsageError: If DuckDB cannot run the query on these tables, or is not installed.
        StoreError: If a part that the query reads cannot be used.
    """
    try:
        duckdb: Any = import_module("duckdb")
    except ImportError:
        raise UsageError("sql: DuckDB is not installed; pip install 'kinestore[sql]'") from None
    faults: list[StoreError] = []
    with duckdb.connect(":memory:", config=_SEALED) as connection:
        for setting in _LOCKED:
            connection.execute(setting)
        for name, table in tables.items():
            connection.register(name, table)
        _add_views(connection, views, faults)
        try:
            query.encode()  # a command line may hold what is no text
            _refuse_unless_select(connection.extract_statements(query), duckdb)
            return _run(connection, query, as_text=as_text)
        except (duckdb.Error, UnicodeEncodeError) as error:
            if faults:
                raise faults[0] from None
            raise UsageError(f"sql: {_reason(error)}") from None


def _run(connection: Any, query: str, *, as_text: bool) -> pa.Table:
    """Run in another thread: DuckDB 2.0 misses about every second Ctrl-C in the main thread."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        running = thread.submit(_fetch, connection, query, as_text=as_text)
        try:
            done, _ = wait([running], timeout=DEADLINE_S)
            if not done:
                raise UsageError(f"sql: took more than {DEADLINE_S:.0f} s; ask for less at a time")
            return running.result()
        finally:
            while not running.done():
                connection.interrupt()
                wait([running], timeout=0.1)


def _fetch(connection: Any, query: str, *, as_text: bool) -> pa.Table:
    most = MAX_TEXT_BYTES if as_text else MAX_BYTES
    answer = readable(connection.sql(query), as_text=as_text).to_arrow_reader(_BATCH_ROWS)
    batches, size = [], 0
    for batch in answer:
        batches.append(batch)
        size += batch.nbytes
        if size > most:
            raise UsageError(
                f"sql: the result is larger than {most >> 20} MiB; select fewer rows or columns"
            )
    return pa.Table.from_batches(batches, answer.schema)


def _refuse_unless_select(statements: Sequence[Any], duckdb: Any) -> None:
    """Refuse other statements: they would change the temporary database, or worse."""
    if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
        raise UsageError("sql: must be one SELECT (or DESCRIBE, SHOW TABLES, SUMMARIZE)")


def _reason(error: Exception) -> str:
    """DuckDB's message without the drawing of the position in the query."""
    sentence = str(error).split("\n\nLINE ")[0]
    return " ".join(sentence.split())[:_REASON_LENGTH]


def _add_views(connection: Any, views: Sequence[View], faults: list[StoreError]) -> None:
    specs = [view.spec for view in views]
    short = Counter(spec.extractor.casefold() for spec in specs)  # SQL's names have no case
    short.update(["clips", "failures", "captions"])
    captions = ["SELECT '' AS clip_id, '' AS view, '' AS caption WHERE false"]
    for view, spec in zip(views, specs, strict=True):
        rows = _Rows(view, faults)
        connection.register(spec.name, rows)
        if short[spec.extractor.casefold()] == 1:
            connection.register(spec.extractor, rows)
        captions.append(
            f"SELECT clip_id, '{spec.name}', caption FROM \"{spec.name}\" WHERE caption IS NOT NULL"
        )  # a view's name holds neither kind of quote
    connection.execute(f"CREATE VIEW captions AS {' UNION ALL '.join(captions)}")


class _Rows(ds.Dataset):  # type: ignore[misc]  # pyarrow has no types
    """A view's rows as DuckDB scans them: each part is read, and checked, when it is reached.

    Args:
        view: The view.
        faults: Receives errors of the store, since DuckDB keeps only their text.
    """

    def __init__(self, view: View, faults: list[StoreError]) -> None:
        self._spec = spec = view.spec
        self._parts = view.parts
        self._faults = faults
        self._stored = view_schema(spec)
        index = self._stored.get_field_index("embedding")
        self._shown = self._stored.set(index, pa.field("embedding", _nested_type(spec.shape)))

    @property
    def schema(self) -> pa.Schema:
        """The view's columns; embeddings are FLOAT[D] or FLOAT[D][T]: DuckDB has no float16."""
        return self._shown

    def scanner(
        self,
        columns: Sequence[str] | None = ("clip_id",),  # older DuckDBs count rows without any
        filter: pc.Expression | None = None,
        **_: object,
    ) -> ds.Scanner:
        """Return the requested columns of the rows that pass the filter."""
        shown = self._shown.names if columns is None else list(columns)
        filtered = str(filter)  # has the names of its columns; matching too many only reads more
        names = [n for n in self._shown.names if n in shown or n in filtered or n == "clip_id"]
        schema = pa.schema([self._shown.field(name) for name in names])
        batches = pa.RecordBatchReader.from_batches(schema, self._batches(schema))
        return ds.Scanner.from_batches(batches, columns=shown, filter=filter, batch_readahead=1)

    def _batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows of each clip's newest part, part by part from the newest to the oldest."""
        seen: set[str] = set()
        try:
            for name in reversed(self._parts.parts()):
                table = self._parts.read_part(name, self._stored, schema.names)
                clips = table.column("clip_id").to_pylist()
                if "embedding" in schema.names:
                    index = table.column_names.index("embedding")
                    nested = _nested(embedding_array(table, self._spec))
                    table = table.set_column(index, schema.field("embedding"), nested)
                if not seen.isdisjoint(clips):
                    table = table.filter(pa.array([clip not in seen for clip in clips]))
                seen.update(clips)
                yield from table.cast(schema).to_batches()
        except StoreError as error:
            self._faults.append(error)
            raise


def _nested_type(shape: Sequence[int]) -> pa.DataType:
    kind = pa.float32()
    for size in reversed(shape):
        kind = pa.list_(kind, size)
    return kind


def _nested(values: NDArray[np.floating]) -> pa.Array:
    """Rows of shape (N, D) or (N, T, D) as fixed-size lists of float32."""
    array = pa.array(values.reshape(-1).astype(np.float32, copy=False))
    for size in reversed(values.shape[1:]):
        array = pa.FixedSizeListArray.from_arrays(array, size)
    return array
