"""Counts of what a store holds."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinestore.store.records import FramesSpec
from kinestore.store.store import Store
from kinestore.store.views import View


@dataclass(frozen=True, kw_only=True)
class StoreStatus:
    """Counts of what a store holds.

    Attributes:
        store: Its path or address.
        num_clips: Clips, distinct by content.
        num_sources: Paths of clips.
        labels: Number of clips by label.
        num_failures: Inputs that failed.
        views: Of each view `extractor`, `fingerprint`, `shape`, `dim`, `dtype`, `rows` and
            `settings`.
        frames: Of each kind of frames `kind`, `fingerprint`, `shape`, `clips` and their `bytes`,
            both None in an object store, from which frames are not read.
    """

    store: str
    num_clips: int
    num_sources: int
    labels: Mapping[str, int]
    num_failures: int
    views: tuple[Mapping[str, Any], ...]
    frames: tuple[Mapping[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        counts = {"clips": self.num_clips, "sources": self.num_sources, "labels": self.labels}
        described = {"views": list(self.views), "frames": list(self.frames)}
        return {"store": self.store, **counts, "failures": self.num_failures, **described}


def status(path: str | Path) -> StoreStatus:
    """Count clips, rows of each view, and failures.

    Raises:
        StoreError: If the store cannot be used.
    """
    store = Store(path)
    clips = store.clips().select(["clip_id", "label"])
    label_of = dict(zip(*(column.to_pylist() for column in clips.columns), strict=True))
    labels = Counter(label for label in label_of.values() if label is not None)
    return StoreStatus(
        store=store.address,
        num_clips=len(label_of),
        num_sources=len(clips),
        labels=dict(sorted(labels.items())),
        num_failures=len(store.failures()),
        views=tuple(map(_describe_view, store.views())),
        frames=tuple(_describe_frames(store, spec) for spec in store.kinds_of_frames()),
    )


def _describe_view(view: View) -> dict[str, Any]:
    described = {name: getattr(view.spec, name) for name in ("extractor", "fingerprint", "dtype")}
    shape = list(view.spec.shape)
    return {
        **described,
        "shape": shape,
        "dim": shape[-1],
        "rows": len(view.clip_ids()),
        "settings": dict(view.spec.settings),
    }


def _describe_frames(store: Store, spec: FramesSpec) -> dict[str, Any]:
    num_clips = None if store.storage.local_root is None else len(store.clips_with(spec))
    size_bytes = None if num_clips is None else num_clips * math.prod(spec.shape)
    described = {"kind": spec.kind, "fingerprint": spec.fingerprint, "shape": list(spec.shape)}
    return {**described, "clips": num_clips, "bytes": size_bytes}
