"""The store: one folder that holds clips, embeddings by view, and failures.

Shape legend: N clips, T frames, D features.
"""

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kinestore.progress import Progress, no_progress
from kinestore.store import schema
from kinestore.store.errors import UsageError
from kinestore.store.features import Features
from kinestore.store.filters import Filter, find_by_name
from kinestore.store.frames import FramesIndex, StoredFrames, check_frames, open_frames
from kinestore.store.io.addresses import open_storage
from kinestore.store.load import load_features, read_sources
from kinestore.store.marker import STORE_MARKER, check_marker, make_marker
from kinestore.store.part_folder import PartFolders
from kinestore.store.parts import commit_part
from kinestore.store.records import (
    RESOLVED,
    Clip,
    Embedding,
    Failure,
    FramesSpec,
    Snapshot,
    ViewSpec,
)
from kinestore.store.row_index import RowIndex, rows_of_clips, rows_of_view
from kinestore.store.snapshot import pin_parts, read_snapshot
from kinestore.store.sql import run_query
from kinestore.store.views import View


class Store:
    """A feature store of format 1.

    Args:
        path: The store's folder; also `file://`, `s3://` or `gs://`.
        snapshot: Read exactly the parts that this snapshot pins, and write none; None reads all
            that are there at the time of reading.
        remote_videos: Read videos at the `s3://` and `gs://` addresses that it names.

    Attributes:
        storage, remote_videos: Access to its files; as given.
        pinned: The snapshot, or None.

    Raises:
        StoreError: If there is no store, or a newer or broken one. Nothing is changed then.
        UsageError: If there is no such snapshot.
    """

    def __init__(
        self, path: str | Path, *, snapshot: str | None = None, remote_videos: bool = False
    ) -> None:
        self.storage, self.remote_videos = open_storage(path), remote_videos
        check_marker(self.storage)
        self.pinned = None if snapshot is None else read_snapshot(self.storage, snapshot)
        self._folders = PartFolders(storage=self.storage, snapshot=self.pinned)
        self._indexes: dict[str, RowIndex] = {}
        self._frames_indexes: dict[str, FramesIndex] = {}

    def __repr__(self) -> str:
        return f"Store({self.address!r})"

    @classmethod
    def create(cls, path: str | Path) -> "Store":
        """Open the store in a folder, or make one if the folder is empty or absent."""
        make_marker(open_storage(path))
        return cls(path)

    @property
    def address(self) -> str:
        """The path or address, as text."""
        return self.storage.address

    @property
    def path(self) -> Path:
        """The folder on this machine; raises UsageError for a store in an object store."""
        if self.storage.local_root is None:
            raise UsageError(f"{self.address}: this needs a store on a local file system")
        return self.storage.local_root

    def clips(self) -> pa.Table:
        """Return a row per source, ordered by clip_id; a source's newest row stands."""
        table = self._folders.folder("clips").read(schema.CLIPS)
        newest = {uri: row for row, uri in enumerate(table.column("uri").to_pylist())}
        kept = table.take(pa.array(sorted(newest.values()), pa.int64()))
        return kept.sort_by([("clip_id", "ascending"), ("uri", "ascending")])

    def sources(self) -> list[Mapping[str, Any]]:
        """Return clip_id, uri, label, group, split and own columns; the newest come last."""
        return read_sources(self._folders.folder("clips"))

    def views(self) -> list[View]:
        """Return every view, ordered by name."""
        return [
            View(spec=schema.read_spec(self.storage, folder.name, ViewSpec), parts=folder)
            for folder in self._folders.within("views")
        ]

    def view(self, name: str) -> View:
        """Return the view of an extractor, or of an `<extractor>@<fingerprint>` or its beginning.

        Raises:
            UsageError: If there is none, or more than one.
        """
        views = {view.name: view for view in self.views()}
        return views[find_by_name(name, views, store=self.address, what=("feature", "view"))]

    def frames(self, name: str) -> StoredFrames:
        """Return the frames of a kind, or of a `<kind>@<fingerprint>` or its beginning.

        Raises as `view` does, and StoreError if a part cannot be used.
        """
        folders = {folder.base_name: folder for folder in self._folders.within("frames")}
        found = find_by_name(name, folders, store=self.address, what=("frames", "kind"))
        return open_frames(folders[found])

    def kinds_of_frames(self) -> list[FramesSpec]:
        """Return the specification of each kind of frames, ordered by name."""
        folders = self._folders.within("frames")
        return [schema.read_spec(self.storage, folder.name, FramesSpec) for folder in folders]

    def clips_with(self, spec: ViewSpec | FramesSpec) -> Set[str]:
        """Return the clips that have a row under a specification now.

        Raises:
            StoreError: If a part, or the specification's file, cannot be used.
            UsageError: If they are frames in an object store.
        """
        folder = schema.spec_folder(spec)
        if self.storage.kind(schema.spec_file(folder)) is None:  # parts count once it is back
            return frozenset()
        if isinstance(spec, FramesSpec):
            schema.read_spec(self.storage, folder, FramesSpec)
            return self._frames_index(spec).look_up()
        schema.read_spec(self.storage, folder, ViewSpec)
        return self._embeddings_index(spec).look_up().keys()

    def next_number(self) -> int:
        """Return a part number above all that are there."""
        return self._folders.next_number()

    def failures(self) -> list[Failure]:
        """Return the newest failure of each source and view, unless it was resolved since."""
        table = self._folders.folder("failures").read(schema.FAILURES, schema.FAILURES.names)
        newest = {(row["uri"], row["view"]): Failure(**row) for row in table.to_pylist()}
        return [failure for failure in newest.values() if failure.kind != RESOLVED]

    def sql(self, query: str, *, as_text: bool = False) -> pa.Table:
        """Run a SELECT; needs the optional extra `sql`.

        The tables are `clips` and `failures`, as the methods of those names return them, `captions`
        (clip_id, view, caption), and each view under its name, such as "slow@0123456789abcdef",
        and under its extractor's if no other view has that. With `as_text`, values that Python
        cannot hold, such as times, are text.

        Raises:
            UsageError: If DuckDB is not installed, or cannot run the query within its limits.
            StoreError: If a part that the query reads cannot be used.
        """
        failures = schema.failures_to_table(self.failures())
        tables = {"clips": self.clips(), "failures": failures}
        return run_query(query, tables, views=self.views(), as_text=as_text)

    def append_clips(self, clips: Sequence[Clip], *, number: int | None = None) -> int:
        """Commit clips as one part, and return how many rows are new.

        A row replaces older rows of its source; one that repeats the newest is not added.
        """
        self._folders.refuse_if_pinned()
        table = schema.clips_to_table(clips)
        index = self._index("clips", schema.CLIPS, None, rows_of_clips)
        with self.storage.locked(STORE_MARKER):
            return index.commit(table, number=number)

    def append_failures(self, failures: Sequence[Failure], *, number: int | None = None) -> None:
        """Commit failures as one part; of one uri and view, the newest row stands."""
        self._folders.refuse_if_pinned()
        commit_part(self.storage, "failures", schema.failures_to_table(failures), number=number)

    def append(
        self,
        spec: ViewSpec,
        clip_ids: Sequence[str],
        embeddings: Sequence[Embedding] | NDArray[np.floating],
        *,
        number: int | None = None,
        made_with: Mapping[str, str] | None = None,
    ) -> int:
        """Commit embeddings as one part of the specification's view, and return how many are new.

        A clip that has a row keeps it: since the specification has all that an embedding depends
        on, another one would be the same.

        Args:
            spec: Everything that the embeddings depend on; a new one makes a new view.
            clip_ids: Clips as in `clips()`, one per embedding.
            embeddings: Each with a vector of shape `spec.shape`; or the vectors alone, shape
                (N, *spec.shape).
            number: The part's; None puts it last.
            made_with: Versions of the software, noted when the view is made.

        Raises:
            UsageError: If a vector has another shape or is not finite, or a clip comes twice.
        """
        self._folders.refuse_if_pinned()
        table = schema.embeddings_to_table(spec, clip_ids, embeddings)
        marker = schema.write_spec(self.storage, spec, made_with=made_with)
        index = self._embeddings_index(spec)
        with self.storage.locked(marker):  # two jobs may have computed the same clip
            return index.commit(table, number=number)

    def append_frames(
        self,
        spec: FramesSpec,
        clip_ids: Sequence[str],
        frames: Sequence[NDArray[np.uint8]] | NDArray[np.uint8],
        *,
        number: int | None = None,
        made_with: Mapping[str, str] | None = None,
    ) -> int:
        """Commit clips of frames as one part, and return how many are new; see `append`.

        Args:
            spec: Everything that the frames depend on; a new one makes a new folder.
            clip_ids: Clips as in `clips()`, length N.
            frames: uint8, shape (N, T, H, W, C), or N arrays of shape (T, H, W, C).
            number: The part's; None puts it last.
            made_with: Versions of the software, noted when the folder is made.

        Raises:
            UsageError: If the frames are of another type or shape, a clip comes twice, or the
                store is in an object store.
        """
        self._folders.refuse_if_pinned()
        index = self._frames_index(spec)
        checked = check_frames(spec, clip_ids, frames)
        marker = schema.write_spec(self.storage, spec, made_with=made_with)
        return index.commit(checked, number=number, marker=marker)

    def take_snapshot(self, name: str, *, progress: Progress = no_progress) -> Snapshot:
        """Pin the parts that are there now under a name; see `pin_parts`."""
        self._folders.refuse_if_pinned()
        parts = [part for folder in self._folders.all() for part in folder.parts()]
        return pin_parts(self.storage, name, parts, progress=progress)

    def load(
        self,
        features: Sequence[str] | str,
        *,
        split: str | None = None,
        labels: Filter = None,
        groups: Filter = None,
        clips: Filter = None,
        dtype: str = "float32",
    ) -> Features:
        """Join views by clip, and pool sequences, into one array.

        Args:
            features: Views as `VIEW` or `VIEW:POOL`, see `store.pooling`; vectors are put side
                by side in this order.
            split: Keep only the clips of that split.
            labels: Keep only the clips of one of these labels; `classes` are these alone then.
            groups: Keep only the clips of one of these groups.
            clips: Keep only the clips of one of these clip_ids.
            dtype: "float32", or "float16" for half the memory, as float16 views are stored.

        Returns:
            Clips that pass all filters and that every view has, ordered by clip_id. If several
            sources have the same bytes, the newest gives label, group, split and uri; if a
            source's bytes have changed, its newest count.

        Raises:
            UsageError: If a view is unknown or ambiguous, if no clip has a split, label, group or
                clip_id that is named, or nothing is left.
        """
        named = [features] if isinstance(features, str) else features
        filters = {"split": split, "label": labels, "group": groups, "clip_id": clips}
        return load_features(
            self.storage, self.view, self.sources(), named, filters=filters, dtype=dtype
        )

    def _index(self, folder: str, *arguments: Any) -> RowIndex:
        index = RowIndex(self._folders.folder(folder), *arguments)
        return self._indexes.setdefault(folder, index)

    def _embeddings_index(self, spec: ViewSpec) -> RowIndex:
        folder, columns = schema.spec_folder(spec), ["clip_id"]
        return self._index(folder, schema.view_schema(spec), columns, rows_of_view)

    def _frames_index(self, spec: FramesSpec) -> FramesIndex:
        index = FramesIndex(self._folders.folder(schema.spec_folder(spec)), spec)
        return self._frames_indexes.setdefault(spec.name, index)
