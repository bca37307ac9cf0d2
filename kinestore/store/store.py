"""The store: one folder that holds clips, embeddings by view, and failures.

Shape legend: N clips, T frames, D features.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kinestore.store import parts, schema
from kinestore.store.errors import StoreError, UsageError
from kinestore.store.features import describe_clips
from kinestore.store.filters import Filter, choose, describe, select_rows
from kinestore.store.frames import Frames, look_up, open_frames
from kinestore.store.frames import append as append_frames
from kinestore.store.io.atomic import is_occupied, locked, write_text_once
from kinestore.store.io.paths import as_path
from kinestore.store.io.validated_read import read_json
from kinestore.store.join import Column
from kinestore.store.join_cache import load_rows
from kinestore.store.part_folder import PartFolder
from kinestore.store.pooling import split_feature
from kinestore.store.records import (
    MADE_GOOD,
    Clip,
    Embedding,
    Failure,
    Features,
    FramesSpec,
    Snapshot,
    ViewSpec,
)
from kinestore.store.row_index import KnownRows, rows_of_clips, rows_of_view
from kinestore.store.snapshot import read as read_snapshot
from kinestore.store.snapshot import take
from kinestore.store.sql import answer
from kinestore.store.views import View

MARKER = "kinestore.json"
"""Makes a folder a store."""


class Store:
    """A feature store of format 1 on disk.

    Args:
        path: The store's folder; also `file://`, `s3://` or `gs://`.
        snapshot: Read exactly the parts that this snapshot pins, and write none; None reads all
            that are there at the time of reading.

    Raises:
        StoreError: If there is no store, or a newer or broken one. Nothing is changed then.
        UsageError: If there is no such snapshot.
    """

    def __init__(self, path: str | Path, *, snapshot: str | None = None) -> None:
        self.path = as_path(path)
        marker = self.path / MARKER
        try:
            found = read_json(marker).get("format")
        except FileNotFoundError:
            raise StoreError(
                f"{self.path}: no store here; make one with `kinestore extract VIDEOS --store "
                f"{self.path}`"
            ) from None
        if type(found) is not int:
            raise StoreError(f"{marker}: cannot be read (format={found!r} is not a number)")
        if found != schema.FORMAT:
            raise StoreError(
                f"{self.path}: store format {found}, but this version reads format "
                f"{schema.FORMAT}; upgrade kinestore"
            )
        self.pinned = None if snapshot is None else read_snapshot(self.path, snapshot)
        self._known_rows: dict[str, KnownRows] = {}
        self._known_frames: dict[str, dict[str, list[str]]] = {}

    @classmethod
    def create(cls, path: str | Path) -> "Store":
        """Open the store in a folder, or make one where the folder is empty or absent."""
        folder = as_path(path)
        marker = folder / MARKER
        if not marker.exists():
            # Looked for again: another job may be making the same store.
            if is_occupied(folder) and not marker.exists():
                raise UsageError(f"{folder}: is there already and is not a store; name another")
            write_text_once(marker, json.dumps({"format": schema.FORMAT}))
        return cls(folder)

    # What is there

    def clips(self) -> pa.Table:
        """A row per source, the newest where a source was extracted again; ordered by clip_id."""
        table = self._folder("clips").read(schema.CLIPS)
        newest = {uri: row for row, uri in enumerate(table.column("uri").to_pylist())}
        kept = table.take(pa.array(sorted(newest.values()), pa.int64()))
        return kept.sort_by([("clip_id", "ascending"), ("uri", "ascending")])

    def sources(self) -> list[Mapping[str, Any]]:
        """clip_id, uri, label, group and split of each source; the newest come last."""
        columns = ["clip_id", "uri", "label", "group", "split"]
        rows = self._folder("clips").read(schema.CLIPS, columns).to_pylist()
        newest = {row["uri"]: number for number, row in enumerate(rows)}
        return [rows[number] for number in sorted(newest.values())]

    def views(self) -> list[View]:
        """Every view, ordered by name."""
        found = [self._folder(name) for name in self._folders("views", "view.json")]
        return [
            View(spec=schema.read_spec(folder.path / "view.json", ViewSpec), parts=folder)
            for folder in found
        ]

    def view(self, name: str) -> View:
        """The view of that extractor, or of that `<extractor>@<fingerprint>` (or its beginning).

        Raises:
            UsageError: If there is none, or more than one.
        """
        views = {view.name: view for view in self.views()}
        return views[choose(name, views, of=self.path, what=("feature", "view"))]

    def frames(self, name: str) -> Frames:
        """The clips kept under that kind, or under that `<kind>@<fingerprint>` (or its beginning).

        Raises:
            UsageError: If there are none, or more than one.
            StoreError: If a part cannot be used.
        """
        folders = {folder.path.name: folder for folder in self._frames()}
        return open_frames(folders[choose(name, folders, of=self.path, what=("frames", "kind"))])

    def kinds_of_frames(self) -> list[FramesSpec]:
        """The specification of each kind of frames, ordered by name."""
        return [schema.read_spec(f.path / "frames.json", FramesSpec) for f in self._frames()]

    def clips_with(self, spec: ViewSpec | FramesSpec) -> Set[str]:
        """The clips that have a row under a specification, as of now.

        Raises:
            StoreError: If a part, or what describes them, cannot be used.
            UsageError: If they are frames in an object store.
        """
        of_frames = isinstance(spec, FramesSpec)
        marker = "frames/{}/frames.json" if of_frames else "views/{}/view.json"
        described = self.path / marker.format(spec.name)
        if not described.exists():  # what lies there counts once it is described again
            return frozenset()
        if isinstance(spec, ViewSpec):
            schema.read_spec(described, ViewSpec)
            return self._known_embeddings(spec).look_up().keys()
        schema.read_spec(described, FramesSpec)
        known = self._known_frames.setdefault(spec.name, {})
        return look_up(self._folder(f"frames/{spec.name}"), spec, known=known)

    def next_number(self) -> int:
        """A part number above all that are there."""
        kinds = ["clips", "failures", *(f"views/{view.name}" for view in self.views())]
        folders = [*map(self._folder, kinds), *self._frames()]
        return max(parts.next_number(folder.path, folder.suffix) for folder in folders)

    def failures(self) -> list[Failure]:
        """The newest failure of each source and view that was not made good since."""
        table = self._folder("failures").read(schema.FAILURES, schema.FAILURES.names)
        newest = {(row["uri"], row["view"]): Failure(**row) for row in table.to_pylist()}
        return [failure for failure in newest.values() if failure.kind != MADE_GOOD]

    def sql(self, query: str) -> pa.Table:
        """What a SELECT comes to; wants the optional extra `sql`.

        Args:
            query: Over the tables `clips` and `failures`, as the methods of those names give them,
                `captions` (clip_id, view, caption), and each view under its name, such as
                "slow@0123456789abcdef", and its extractor's where no other view has that.

        Raises:
            UsageError: If DuckDB is not installed, or cannot answer: it reaches these tables alone.
            StoreError: If a part that the query reads cannot be used.
        """
        views = [(view.spec, view.parts) for view in self.views()]
        failures = schema.failures_table(self.failures())
        return answer(query, clips=self.clips(), failures=failures, views=views)

    # What is added

    def append_clips(self, clips: Sequence[Clip], *, number: int | None = None) -> int:
        """Commit clips as one part; a source that is there already is superseded.

        Returns:
            How many were added: a row that says what the newest of its source says is not.
        """
        self._refuse_if_pinned()
        table = schema.clips_table(clips)
        known = self._known("clips", schema.CLIPS, None, rows_of_clips)
        with locked(self.path / MARKER):
            return _commit(known, table, number)

    def append_failures(self, failures: Sequence[Failure], *, number: int | None = None) -> None:
        """Commit failures as one part; of one uri and view, the newest row stands."""
        self._refuse_if_pinned()
        where = self.path / "failures"
        place = parts.next_number(where) if number is None else number
        parts.commit(where, schema.failures_table(failures), number=place)

    def append(
        self,
        spec: ViewSpec,
        clip_ids: Sequence[str],
        embeddings: Sequence[Embedding] | NDArray[np.floating],
        *,
        number: int | None = None,
        made_with: Mapping[str, str] | None = None,
    ) -> int:
        """Commit embeddings as one part of the view that the specification names.

        Args:
            spec: What the embeddings depend on; a new one makes a new view.
            clip_ids: Clips as in `clips()`, one an embedding.
            embeddings: Each with a vector of shape `spec.shape`; or the vectors alone, shape
                (N, *spec.shape).
            number: The part's place; None puts it last.
            made_with: Versions of the software, noted when the view is made.

        Returns:
            How many were added. A clip that has a row keeps it: all that an embedding depends on
            is in its specification, so another one would be the same.

        Raises:
            UsageError: If a vector has another shape or is not finite, or a clip comes twice.
        """
        self._refuse_if_pinned()
        table = schema.view_table(spec, clip_ids, embeddings)
        marker = self.path / "views" / spec.name / "view.json"
        if not marker.exists():
            described = {"fingerprint": spec.fingerprint, **spec.to_json()}
            described["made_with"] = dict(made_with or {})
            write_text_once(marker, json.dumps(described, indent=2, sort_keys=True) + "\n")
        known = self._known_embeddings(spec)
        with locked(marker):  # two jobs may have computed the same clip
            return _commit(known, table, number)

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
            spec: What the frames depend on; a new one makes a new folder.
            clip_ids: Clips as in `clips()`, length N.
            frames: uint8, shape (N, T, H, W, C), or N arrays of shape (T, H, W, C).
            number: The part's place; None puts it last.
            made_with: Versions of the software, noted when the folder is made.

        Returns:
            How many were added. A clip that is there already stays as it is.

        Raises:
            UsageError: If the frames are of another type or shape, or a clip comes twice.
        """
        self._refuse_if_pinned()
        known = self._known_frames.setdefault(spec.name, {})
        folder = self._folder(f"frames/{spec.name}")
        return append_frames(
            folder, spec, clip_ids, frames, known=known, number=number, made_with=made_with
        )

    def take_snapshot(
        self, name: str, *, on_progress: Callable[[int, int], None] | None = None
    ) -> Snapshot:
        """Pin the parts that are there now under a name.

        Args:
            name: Letters, digits, '.', '_' and '-'.
            on_progress: Told the parts hashed and the parts in all.

        Raises:
            UsageError: If the name cannot be one, or is that of another set of parts.
            StoreError: If a part has changed since it was written.
        """
        self._refuse_if_pinned()
        views = [view.parts for view in self.views()]
        folders = [self._folder("failures"), *views, *self._frames(), self._folder("clips")]
        paths = [path for folder in folders for path in folder.paths()]
        return take(self.path, name, paths, on_progress=on_progress)

    # What is read for training

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
            labels: Keep only the clips of one of these labels; they alone are `classes` then.
            groups: Keep only the clips of one of these groups.
            clips: Keep only the clips of one of these clip_ids.
            dtype: "float32", or "float16" for half the memory, as float16 views are kept.

        Returns:
            Clips that pass all filters and that every view has, ordered by clip_id. Where several
            sources have the same bytes, the newest gives label, group, split and uri; where a
            source's bytes have changed, its newest stand.

        Raises:
            UsageError: If a view is unknown or ambiguous, if no clip has a split, label, group or
                clip_id that is named, or nothing is left.
        """
        named = [features] if isinstance(features, str) else list(features)
        if not named:
            raise UsageError("features: name at least one view")
        if dtype not in ("float32", "float16"):
            raise UsageError(f"dtype={dtype!r}: must be 'float32' or 'float16'")
        filters = {"split": split, "label": labels, "group": groups, "clip_id": clips}
        rows = {row["clip_id"]: row for row in self.sources()}
        rows = select_rows(rows, filters, wanted=", ".join(named))
        columns = [self._column(feature) for feature in named]
        complete, values = load_rows(self.path, columns, rows, dtype=dtype)
        if not complete:
            raise UsageError(
                f"{self.path}: no clip{describe(filters)} has all of {', '.join(named)}"
            )
        return describe_clips(
            values,
            complete,
            rows=rows,
            views=[column.view.name for column in columns],
            widths=[column.shape[-1] for column in columns],
        )

    def _column(self, feature: str) -> Column:
        name, pool = split_feature(feature)
        return Column(view=self.view(name), pool=pool)

    def _known(
        self,
        folder: str,
        expected: pa.Schema,
        columns: list[str] | None,
        rows: Callable[[pa.Table], Iterable[tuple[str, int]]],
    ) -> KnownRows:
        if folder not in self._known_rows:
            self._known_rows[folder] = KnownRows(self._folder(folder), expected, columns, rows)
        return self._known_rows[folder]

    def _known_embeddings(self, spec: ViewSpec) -> KnownRows:
        expected = schema.view_schema(spec)
        return self._known(f"views/{spec.name}", expected, ["clip_id"], rows_of_view)

    def _refuse_if_pinned(self) -> None:
        if self.pinned is not None:
            raise UsageError(
                f"{self.path} at snapshot {self.pinned.name!r}: is not written to; open the store "
                "without the snapshot"
            )

    def _folder(self, name: str) -> PartFolder:
        suffix = parts.HDF5 if name.startswith("frames/") else parts.PARQUET
        return PartFolder(store=self.path, name=name, snapshot=self.pinned, suffix=suffix)

    def _frames(self) -> list[PartFolder]:
        return [self._folder(name) for name in self._folders("frames", "frames.json")]

    def _folders(self, within: str, marker: str) -> list[str]:
        """Those within a folder that are described; of a snapshot, those that it pins."""
        if self.pinned is None:
            found = {path.parent.name for path in self.path.glob(f"{within}/*/{marker}")}
            return sorted(f"{within}/{name}" for name in found)
        folders = {part.rpartition("/")[0] for part in self.pinned.parts}
        return sorted(folder for folder in folders if folder.startswith(f"{within}/"))


def _commit(known: KnownRows, table: pa.Table, number: int | None) -> int:
    """Commit what is new in a part, and count it in; gives the rows that were."""
    new = known.without(table)
    if len(new):
        place = known.next_number if number is None else number
        known.note(parts.commit(known.folder.path, new, number=place), new)
    return len(new)
