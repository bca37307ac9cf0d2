"""The store: one folder that holds clips, embeddings by view, and failures.

Shape legend: N clips, T frames, D features.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kinestore.store.errors import UsageError
from kinestore.store.filters import Filter, find_by_name
from kinestore.store.frames import StoredFrames, open_frames
from kinestore.store.io.addresses import open_storage
from kinestore.store.load import load_features
from kinestore.store.marker import check_marker, make_marker
from kinestore.store.part_folder import PartFolders
from kinestore.store.records import (
    RESOLVED,
    Clip,
    Embedding,
    Failure,
    Features,
    FramesSpec,
    Snapshot,
    ViewSpec,
)
from kinestore.store.schema import CLIPS, FAILURES, failures_to_table, read_spec
from kinestore.store.snapshot import pin_parts, read_snapshot
from kinestore.store.sql import run_query
from kinestore.store.views import View
from kinestore.store.writer import StoreWriter


class Store:
    """A feature store of format 1.

    Args:
        path: The store's folder; also `file://`, `s3://` or `gs://`.
        snapshot: Read exactly the parts that this snapshot pins, and write none; None reads all
            that are there at the time of reading.

    Attributes:
        storage: Access to its files.
        pinned: The snapshot, or None.

    Raises:
        StoreError: If there is no store, or a newer or broken one. Nothing is changed then.
        UsageError: If there is no such snapshot.
    """

    def __init__(self, path: str | Path, *, snapshot: str | None = None) -> None:
        self.storage = open_storage(path)
        check_marker(self.storage)
        self.pinned = None if snapshot is None else read_snapshot(self.storage, snapshot)
        self._folders = PartFolders(storage=self.storage, snapshot=self.pinned)
        self._writer = StoreWriter(self._folders)

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

    # Content

    def clips(self) -> pa.Table:
        """Return a row per source, ordered by clip_id; a source's newest row stands."""
        table = self._folders.folder("clips").read(CLIPS)
        newest = {uri: row for row, uri in enumerate(table.column("uri").to_pylist())}
        kept = table.take(pa.array(sorted(newest.values()), pa.int64()))
        return kept.sort_by([("clip_id", "ascending"), ("uri", "ascending")])

    def sources(self) -> list[Mapping[str, Any]]:
        """Return clip_id, uri, label, group and split of each source; the newest come last."""
        columns = ["clip_id", "uri", "label", "group", "split"]
        rows = self._folders.folder("clips").read(CLIPS, columns).to_pylist()
        newest = {row["uri"]: number for number, row in enumerate(rows)}
        return [rows[number] for number in sorted(newest.values())]

    def views(self) -> list[View]:
        """Return every view, ordered by name."""
        return [
            View(spec=read_spec(self.storage, folder.name, ViewSpec), parts=folder)
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

        Raises:
            UsageError: If there are none, or more than one.
            StoreError: If a part cannot be used.
        """
        within = self._folders.within("frames")
        folders = {folder.name.removeprefix("frames/"): folder for folder in within}
        found = find_by_name(name, folders, store=self.address, what=("frames", "kind"))
        return open_frames(folders[found])

    def kinds_of_frames(self) -> list[FramesSpec]:
        """Return the specification of each kind of frames, ordered by name."""
        folders = self._folders.within("frames")
        return [read_spec(self.storage, folder.name, FramesSpec) for folder in folders]

    def clips_with(self, spec: ViewSpec | FramesSpec) -> Set[str]:
        """Return the clips that have a row under a specification now.

        Raises:
            StoreError: If a part, or the specification's file, cannot be used.
            UsageError: If they are frames in an object store.
        """
        return self._writer.clips_with(spec)

    def next_number(self) -> int:
        """Return a part number above all that are there."""
        return self._folders.next_number()

    def failures(self) -> list[Failure]:
        """Return the newest failure of each source and view, unless it was resolved since."""
        table = self._folders.folder("failures").read(FAILURES, FAILURES.names)
        newest = {(row["uri"], row["view"]): Failure(**row) for row in table.to_pylist()}
        return [failure for failure in newest.values() if failure.kind != RESOLVED]

    def sql(self, query: str) -> pa.Table:
        """Run a SELECT; needs the optional extra `sql`.

        Args:
            query: Over the tables `clips` and `failures`, as the methods of those names return
                them, `captions` (clip_id, view, caption), and each view under its name, such as
                "slow@0123456789abcdef", and under its extractor's if no other view has that.

        Raises:
            UsageError: If DuckDB is not installed, or cannot run the query on these tables.
            StoreError: If a part that the query reads cannot be used.
        """
        views = [(view.spec, view.parts) for view in self.views()]
        failures = failures_to_table(self.failures())
        return run_query(query, clips=self.clips(), failures=failures, views=views)

    # Additions

    def append_clips(self, clips: Sequence[Clip], *, number: int | None = None) -> int:
        """Commit clips as one part; a row of a source that is there already replaces the old one.

        Returns:
            How many were added: a row that repeats the newest of its source is not.
        """
        return self._writer.append_clips(clips, number=number)

    def append_failures(self, failures: Sequence[Failure], *, number: int | None = None) -> None:
        """Commit failures as one part; of one uri and view, the newest row stands."""
        self._writer.append_failures(failures, number=number)

    def append(
        self,
        spec: ViewSpec,
        clip_ids: Sequence[str],
        embeddings: Sequence[Embedding] | NDArray[np.floating],
        *,
        number: int | None = None,
        made_with: Mapping[str, str] | None = None,
    ) -> int:
        """Commit embeddings as one part of the specification's view.

        Args:
            spec: Everything that the embeddings depend on; a new one makes a new view.
            clip_ids: Clips as in `clips()`, one per embedding.
            embeddings: Each with a vector of shape `spec.shape`; or the vectors alone, shape
                (N, *spec.shape).
            number: The part's; None puts it last.
            made_with: Versions of the software, noted when the view is made.

        Returns:
            How many were added. A clip that has a row keeps it: since the specification has all
            that an embedding depends on, another one would be the same.

        Raises:
            UsageError: If a vector has another shape or is not finite, or a clip comes twice.
        """
        return self._writer.append_embeddings(
            spec, clip_ids, embeddings, number=number, made_with=made_with
        )

    def append_frames(
        self,
        spec: FramesSpec,
        clip_ids: Sequence[str],
        frames: Sequence[NDArray[np.uint8]] | NDArray[np.uint8],
        *,
        number: int | None = None,
        made_with: Mapping[str, str] | None = None,
    ) -> int:
        """Commit clips of frames as one part; see `frames()`.

        Args:
            spec: Everything that the frames depend on; a new one makes a new folder.
            clip_ids: Clips as in `clips()`, length N.
            frames: uint8, shape (N, T, H, W, C), or N arrays of shape (T, H, W, C).
            number: The part's; None puts it last.
            made_with: Versions of the software, noted when the folder is made.

        Returns:
            How many were added. A clip that is there already stays as it is.

        Raises:
            UsageError: If the frames are of another type or shape, or a clip comes twice.
        """
        return self._writer.append_frames(
            spec, clip_ids, frames, number=number, made_with=made_with
        )

    def take_snapshot(
        self, name: str, *, on_progress: Callable[[int, int], None] | None = None
    ) -> Snapshot:
        """Pin the parts that are there now under a name.

        Args:
            name: Letters, digits, '.', '_' and '-'.
            on_progress: Called with the number of parts hashed and the number of all.

        Raises:
            UsageError: If the name is not allowed, or pins other parts already.
            StoreError: If a part has changed since it was written.
        """
        self._writer.refuse_if_pinned()
        parts = [part for folder in self._folders.all() for part in folder.parts()]
        return pin_parts(self.storage, name, parts, on_progress=on_progress)

    # Training

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
        named = [features] if isinstance(features, str) else list(features)
        filters = {"split": split, "label": labels, "group": groups, "clip_id": clips}
        return load_features(
            self.storage, self.view, self.sources(), named, filters=filters, dtype=dtype
        )
