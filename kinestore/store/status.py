"""Counts of what a store holds."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinestore.store.records import FramesSpec, ViewSpec
from kinestore.store.store import Store


@dataclass(frozen=True, kw_only=True)
class StoreStatus:
    """Counts of what a store holds.

    Attributes:
        store: Its path or address.
        num_clips: Clips, distinct by content.
        num_sources: Paths of clips.
        labels: Number of clips by label.
        num_failures: Inputs that failed.
        views: Each view, with its number of rows.
        frames: Each kind of frames, with its number of clips; None in an object store, from which
            frames are not read.
    """

    store: str
    num_clips: int
    num_sources: int
    labels: Mapping[str, int]
    num_failures: int
    views: tuple[tuple[ViewSpec, int], ...]
    frames: tuple[tuple[FramesSpec, int | None], ...]

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON values; `bytes` are those of a kind's frames."""
        return {
            "store": self.store,
            "clips": self.num_clips,
            "sources": self.num_sources,
            "labels": dict(self.labels),
            "failures": self.num_failures,
            "views": [
                {
                    "extractor": spec.extractor,
                    "fingerprint": spec.fingerprint,
                    "shape": list(spec.shape),
                    "dim": spec.shape[-1],
                    "dtype": spec.dtype,
                    "rows": num_rows,
                }
                for spec, num_rows in self.views
            ],
            "frames": [
                {
                    "kind": spec.kind,
                    "fingerprint": spec.fingerprint,
                    "shape": list(spec.shape),
                    "clips": num_clips,
                    "bytes": None if num_clips is None else num_clips * math.prod(spec.shape),
                }
                for spec, num_clips in self.frames
            ],
        }


def status(path: str | Path) -> StoreStatus:
    """Count clips, rows of each view, and failures.

    Raises:
        StoreError: If the store cannot be used.
    """
    store = Store(path)
    clips = store.clips().select(["clip_id", "label"])
    label_of = dict(zip(*(column.to_pylist() for column in clips.columns), strict=True))
    labels = Counter(label for label in label_of.values() if label is not None)
    is_local = store.storage.local_root is not None
    return StoreStatus(
        store=store.address,
        num_clips=len(label_of),
        num_sources=len(clips),
        labels=dict(sorted(labels.items())),
        num_failures=len(store.failures()),
        views=tuple((view.spec, len(view.clip_ids())) for view in store.views()),
        frames=tuple(
            (spec, len(store.clips_with(spec)) if is_local else None)
            for spec in store.kinds_of_frames()
        ),
    )
