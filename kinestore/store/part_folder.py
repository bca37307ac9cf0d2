"""The folders of a store that hold parts: all parts, or those of a snapshot."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

from kinestore.store.errors import StoreError, UsageError, advise
from kinestore.store.io.storage import Storage
from kinestore.store.io.validated_read import read_part
from kinestore.store.parts import HDF5, PARQUET, list_parts, sort_parts
from kinestore.store.parts import next_number as next_in_folder
from kinestore.store.records import Snapshot
from kinestore.store.schema import SPEC_FILES
from kinestore.store.snapshot import part_fault


@dataclass(frozen=True, kw_only=True)
class PartFolder:
    """One folder with parts of one kind.

    Attributes:
        storage: The store's.
        name: "clips", "failures", "views/<extractor>@<fingerprint>" or
            "frames/<kind>@<fingerprint>".
        snapshot: Names the parts to read; None reads all that are there.
    """

    storage: Storage
    name: str
    snapshot: Snapshot | None = None

    @property
    def base_name(self) -> str:
        """The last component of its name."""
        return self.name.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The end of its parts' names."""
        return HDF5 if self.name.startswith("frames/") else PARQUET

    def parts(self) -> list[str]:
        """List the full names of its parts, oldest first.

        Raises:
            StoreError: If a part of the snapshot does not have the bytes that it had.
        """
        if self.snapshot is None:
            return list_parts(self.storage, self.name, self.suffix)
        pinned = self.snapshot.parts_of(self.name)
        for name, hash_ in pinned.items():
            if fault := part_fault(self.storage, name, hash_):
                raise StoreError(
                    f"{self.storage.address_of(name)}: {fault} since snapshot "
                    f"{self.snapshot.name!r} was taken; put it back from a copy, or take another "
                    "snapshot"
                )
        return sort_parts(self.storage, set(pinned))

    def tables(self, schema: pa.Schema, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """Read the parts one by one, oldest first.

        Args:
            schema: Columns that each part must have, with their types; text may follow.
            columns: Columns to read; None reads all, also those not in the schema.

        Raises:
            StoreError: If a part cannot be used; it names the part and the remedy.
        """
        return self.read_parts(self.parts(), schema, columns)

    def read_parts(
        self, names: Sequence[str], schema: pa.Schema, columns: list[str] | None = None
    ) -> Iterator[pa.Table]:
        """Read some of `parts()` one by one; arguments and errors are those of `tables`."""

        def read(name: str) -> pa.Table:
            return self.read_part(name, schema, columns)

        return _read_ahead(read, names, num_concurrent=self.storage.num_concurrent_reads)

    def read_part(self, name: str, schema: pa.Schema, columns: list[str] | None = None) -> pa.Table:
        """Read one of `parts()`; arguments and errors are those of `tables`."""
        try:
            return read_part(self.storage, name, schema, columns)
        except StoreError as error:
            remedy = (
                f"`kinestore verify {self.storage.address} --repair` will delete it, and the same "
                "extract fills its rows again"
            )
            raise StoreError(advise(error, remedy)) from error

    def read(self, schema: pa.Schema, columns: list[str] | None = None) -> pa.Table:
        """Read all parts as one table, oldest first; without parts it is empty."""
        tables = list(self.tables(schema, columns))
        if not tables:
            wanted = columns or schema.names
            return schema.empty_table().select([n for n in wanted if n in schema.names])
        return pa.concat_tables(tables, promote_options="default")


@dataclass(frozen=True, kw_only=True)
class PartFolders:
    """All folders with parts of a store, or of a snapshot of it."""

    storage: Storage
    snapshot: Snapshot | None = None

    def folder(self, name: str) -> PartFolder:
        """Return one folder, which may be absent."""
        return PartFolder(storage=self.storage, name=name, snapshot=self.snapshot)

    def within(self, kind: str) -> list[PartFolder]:
        """List the folders within "views" or "frames" that are described, or pinned, by name."""
        if self.snapshot is not None:
            folders = {part.rpartition("/")[0] for part in self.snapshot.parts}
            names = {folder for folder in folders if folder.startswith(f"{kind}/")}
        else:
            inside = (f"{kind}/{name}" for name in self.storage.names(kind))
            names = {n for n in inside if self.storage.kind(f"{n}/{SPEC_FILES[kind]}")}
        return [self.folder(name) for name in sorted(names)]

    def all(self) -> list[PartFolder]:
        """List every folder; "clips" comes last, as a job commits clips before embeddings."""
        described = [*self.within("views"), *self.within("frames")]
        return [self.folder("failures"), *described, self.folder("clips")]

    def refuse_if_pinned(self) -> None:
        """Raise UsageError for a snapshot, which is not written to."""
        if self.snapshot is not None:
            raise UsageError(
                f"{self.storage.address} at snapshot {self.snapshot.name!r}: is not written to; "
                "open the store without the snapshot"
            )

    def next_number(self) -> int:
        """Return a part number above all that are there."""
        return max(next_in_folder(self.storage, f.name, f.suffix) for f in self.all())


def _read_ahead(
    read: Callable[[str], pa.Table], names: Sequence[str], *, num_concurrent: int
) -> Iterator[pa.Table]:
    """Read files in order, with so many under way at a time."""
    if num_concurrent == 1:
        yield from map(read, names)
        return
    coming: deque[Future[pa.Table]] = deque()
    with ThreadPoolExecutor(num_concurrent) as pool:
        for name in names:
            coming.append(pool.submit(read, name))
            if len(coming) == num_concurrent:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
