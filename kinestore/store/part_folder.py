"""The parts of one kind: of the store as it is, or of a snapshot."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from kinestore.store import parts
from kinestore.store.errors import StoreError
from kinestore.store.io.paths import is_remote
from kinestore.store.io.validated_read import read_part
from kinestore.store.records import Snapshot
from kinestore.store.snapshot import fault_of

AT_ONCE = 8
"""Parts of an object store that are on their way at the same time."""


@dataclass(frozen=True, kw_only=True)
class PartFolder:
    """Where the parts of one kind lie.

    Attributes:
        store: The store's folder.
        name: Within it: "clips", "failures", "views/<extractor>@<fingerprint>" or
            "frames/<kind>@<fingerprint>".
        snapshot: Which parts to read; None reads all that are there.
        suffix: What the parts' names end in.
    """

    store: Path
    name: str
    snapshot: Snapshot | None = None
    suffix: str = parts.PARQUET

    @property
    def path(self) -> Path:
        """The folder itself."""
        return self.store / self.name

    def paths(self) -> list[Path]:
        """The parts, oldest first; those that a snapshot pins have the bytes that they had."""
        return self._pinned() if self.snapshot else parts.list_parts(self.path, self.suffix)

    def tables(self, schema: pa.Schema, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """The parts one by one, oldest first.

        Args:
            schema: Columns that each part must have, with their types; text may follow.
            columns: Which of the columns to read; None reads all, also those not in the schema.

        Raises:
            StoreError: If a part cannot be used; it names the part and the remedy.
        """
        return self.read_parts(self.paths(), schema, columns)

    def read_parts(
        self, paths: Sequence[Path], schema: pa.Schema, columns: list[str] | None = None
    ) -> Iterator[pa.Table]:
        """Some of `paths()` one by one; arguments and errors are those of `tables`."""
        return ahead(lambda path: self.read_part(path, schema, columns), paths)

    def read_part(
        self, path: Path, schema: pa.Schema, columns: list[str] | None = None
    ) -> pa.Table:
        """One of `paths()`; arguments and errors are those of `tables`."""
        try:
            return read_part(path, schema, columns)
        except StoreError as error:
            raise StoreError(
                f"{error}; `kinestore verify {self.store} --repair` will delete it, and the "
                "same extract fills its rows again"
            ) from error

    def read(self, schema: pa.Schema, columns: list[str] | None = None) -> pa.Table:
        """All parts as one table, oldest first; none is an empty table."""
        tables = list(self.tables(schema, columns))
        if not tables:
            return schema.empty_table().select(columns or schema.names)
        return pa.concat_tables(tables, promote_options="default")

    def _pinned(self) -> list[Path]:
        """The snapshot's parts of this folder, each seen to be there with the bytes it had."""
        if self.snapshot is None:
            return []
        found = []
        for name, pinned in self.snapshot.parts_of(self.name).items():
            path = self.path / name
            broken = fault_of(path, pinned)
            if broken:
                raise StoreError(
                    f"{path}: {broken} since snapshot {self.snapshot.name!r} was taken; put it "
                    "back from a copy, or take another snapshot"
                )
            found.append(path)
        return sorted(found, key=lambda path: (parts.part_number(path), path.name))


def ahead(read: Callable[[Path], pa.Table], paths: Sequence[Path]) -> Iterator[pa.Table]:
    """Read files in order; of an object store, whose answers take long to come, some ahead."""
    if not paths or not is_remote(paths[0]):
        yield from map(read, paths)
        return
    coming: deque[Future[pa.Table]] = deque()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for path in paths:
            coming.append(pool.submit(read, path))
            if len(coming) == AT_ONCE:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
