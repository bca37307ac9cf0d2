"""One extractor's embeddings under one specification.

Shape legend: N rows, D features.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinestore.store import schema
from kinestore.store.part_folder import PartFolder
from kinestore.store.records import ViewSpec


@dataclass(frozen=True, kw_only=True)
class View:
    """What an extractor said of each clip, in immutable parts."""

    spec: ViewSpec
    parts: PartFolder

    @property
    def folder(self) -> Path:
        """Where its parts lie."""
        return self.parts.path

    @property
    def name(self) -> str:
        """The view's folder name, `<extractor>@<fingerprint>`."""
        return self.spec.name

    def clip_ids(self) -> set[str]:
        """The clips that have a row."""
        tables = self.parts.tables(schema.view_schema(self.spec), ["clip_id"])
        return {clip for table in tables for clip in table.column("clip_id").to_pylist()}

    def blocks(self) -> Iterator[tuple[list[str], NDArray[np.floating]]]:
        """Part by part, the clips and their embeddings as kept: shape (N, *spec.shape)."""
        for table in self.parts.tables(schema.view_schema(self.spec), ["clip_id", "embedding"]):
            yield table.column("clip_id").to_pylist(), schema.embedding_array(table, self.spec)

    def captions(self) -> Iterator[tuple[str, str, int | None]]:
        """Of each clip with a caption, its clip_id, the caption and the first frame it is of."""
        wanted = ["clip_id", "frame_index", "caption"]
        for table in self.parts.tables(schema.view_schema(self.spec), wanted):
            for row in table.to_pylist():
                if row["caption"] is not None:
                    yield row["clip_id"], row["caption"], next(iter(row["frame_index"]), None)
