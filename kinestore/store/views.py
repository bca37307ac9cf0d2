"""One extractor's embeddings under one specification.

Shape legend: N rows, T steps of a sequence, D features.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinestore.store.part_folder import PartFolder
from kinestore.store.records import ViewSpec
from kinestore.store.schema import embedding_array, mask_array, view_schema


@dataclass(frozen=True, kw_only=True)
class View:
    """The embeddings by one extractor, in immutable parts."""

    spec: ViewSpec
    parts: PartFolder

    @property
    def name(self) -> str:
        """The view's folder name, `<extractor>@<fingerprint>`."""
        return self.spec.name

    def clip_ids(self) -> set[str]:
        """Return the clips that have a row."""
        tables = self.parts.tables(view_schema(self.spec), ["clip_id"])
        return {clip for table in tables for clip in table.column("clip_id").to_pylist()}

    def blocks(self) -> Iterator[tuple[list[str], NDArray[np.floating]]]:
        """Yield the clips and embeddings of each part as stored: shape (N, *spec.shape)."""
        for clips, values, _ in self.masked_blocks():
            yield clips, values

    def masked_blocks(
        self,
    ) -> Iterator[tuple[list[str], NDArray[np.floating], NDArray[np.bool_] | None]]:
        """Yield the same with the masks of their sequences, (N, T); None if it has no masks."""
        columns = ["clip_id", "embedding", *(["mask"] if self.spec.masked else [])]
        for table in self.parts.tables(view_schema(self.spec), columns):
            mask = mask_array(table, self.spec) if self.spec.masked else None
            yield table.column("clip_id").to_pylist(), embedding_array(table, self.spec), mask

    def masks(self) -> Iterator[tuple[list[str], NDArray[np.bool_]]]:
        """Yield the clips and masks of each part of a masked view: bool, shape (N, T)."""
        for table in self.parts.tables(view_schema(self.spec), ["clip_id", "mask"]):
            yield table.column("clip_id").to_pylist(), mask_array(table, self.spec)

    def captions(self) -> Iterator[tuple[str, str, int | None]]:
        """Yield clip_id, caption and first frame of each row that has a caption."""
        wanted = ["clip_id", "frame_index", "caption"]
        for table in self.parts.tables(view_schema(self.spec), wanted):
            for row in table.to_pylist():
                if row["caption"] is not None:
                    yield row["clip_id"], row["caption"], next(iter(row["frame_index"]), None)
