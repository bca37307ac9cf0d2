"""Additions to a store: each row once, whoever else is writing."""

from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinestore.store.errors import UsageError
from kinestore.store.frames import ClipsByPart, append_frames, look_up_clips
from kinestore.store.marker import STORE_MARKER
from kinestore.store.part_folder import PartFolders
from kinestore.store.parts import commit_part, next_number
from kinestore.store.records import Clip, Embedding, Failure, FramesSpec, ViewSpec
from kinestore.store.row_index import RowIndex, rows_of_clips, rows_of_view
from kinestore.store.schema import (
    CLIPS,
    clips_to_table,
    embeddings_to_table,
    failures_to_table,
    read_spec,
    spec_file,
    spec_folder,
    view_schema,
    write_spec,
)


class StoreWriter:
    """Adds rows to a store, and remembers which rows its parts have.

    The methods are those of `Store`, which documents them.
    """

    def __init__(self, folders: PartFolders) -> None:
        self._folders = folders
        self._storage = folders.storage
        self._indexes: dict[str, RowIndex] = {}
        self._clips_of_frames: dict[str, ClipsByPart] = {}

    def clips_with(self, spec: ViewSpec | FramesSpec) -> Set[str]:
        """Return the clips that have a row under a specification now."""
        folder = spec_folder(spec)
        if self._storage.kind(spec_file(folder)) is None:  # parts count once it is there again
            return frozenset()
        if isinstance(spec, ViewSpec):
            read_spec(self._storage, folder, ViewSpec)
            return self._embeddings(spec).look_up().keys()
        read_spec(self._storage, folder, FramesSpec)
        known = self._clips_of_frames.setdefault(folder, {})
        return look_up_clips(self._folders.folder(folder), spec, known=known)

    def append_clips(self, clips: Sequence[Clip], *, number: int | None) -> int:
        """Commit clips as one part."""
        self.refuse_if_pinned()
        table = clips_to_table(clips)
        index = self._index("clips", CLIPS, None, rows_of_clips)
        with self._storage.locked(STORE_MARKER):
            return index.commit(table, number=number)

    def append_failures(self, failures: Sequence[Failure], *, number: int | None) -> None:
        """Commit failures as one part."""
        self.refuse_if_pinned()
        place = next_number(self._storage, "failures") if number is None else number
        commit_part(self._storage, "failures", failures_to_table(failures), number=place)

    def append_embeddings(
        self,
        spec: ViewSpec,
        clip_ids: Sequence[str],
        embeddings: Sequence[Embedding] | NDArray[np.floating],
        *,
        number: int | None,
        made_with: Mapping[str, str] | None,
    ) -> int:
        """Commit embeddings as one part of the specification's view."""
        self.refuse_if_pinned()
        table = embeddings_to_table(spec, clip_ids, embeddings)
        marker = write_spec(self._storage, spec, made_with=made_with)
        index = self._embeddings(spec)
        with self._storage.locked(marker):  # two jobs may have computed the same clip
            return index.commit(table, number=number)

    def append_frames(
        self,
        spec: FramesSpec,
        clip_ids: Sequence[str],
        frames: Sequence[NDArray[np.uint8]] | NDArray[np.uint8],
        *,
        number: int | None,
        made_with: Mapping[str, str] | None,
    ) -> int:
        """Commit clips of frames as one part."""
        self.refuse_if_pinned()
        folder = self._folders.folder(spec_folder(spec))
        known = self._clips_of_frames.setdefault(folder.name, {})
        return append_frames(
            folder, spec, clip_ids, frames, known=known, number=number, made_with=made_with
        )

    def _index(self, folder: str, *arguments: Any) -> RowIndex:
        if folder not in self._indexes:
            self._indexes[folder] = RowIndex(self._folders.folder(folder), *arguments)
        return self._indexes[folder]

    def _embeddings(self, spec: ViewSpec) -> RowIndex:
        return self._index(spec_folder(spec), view_schema(spec), ["clip_id"], rows_of_view)

    def refuse_if_pinned(self) -> None:
        """Raise UsageError for a store that was opened at a snapshot."""
        if (pinned := self._folders.snapshot) is not None:
            raise UsageError(
                f"{self._storage.address} at snapshot {pinned.name!r}: is not written to; open the "
                "store without the snapshot"
            )
