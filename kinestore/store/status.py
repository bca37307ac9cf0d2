"""What a store holds, in numbers."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

from kinestore.store import FramesSpec, Store
from kinestore.store.io.paths import is_remote


def status(path: str | Path) -> dict[str, Any]:
    """Count clips, rows of each view and failures, as JSON values.

    Returns:
        `clips` (distinct by content), `sources`, `labels` (clips a label), `failures`, and `views`:
        of each `extractor`, `fingerprint`, `shape`, `dim`, `dtype` and `rows`; and `frames`: of
        each `kind`, `fingerprint`, `shape`, `clips` and their `bytes`, both null in an object
        store, from which frames are not read.

    Raises:
        StoreError: If the store cannot be used.
    """
    store = Store(path)
    clips = store.clips()
    label_of = dict(
        zip(clips.column("clip_id").to_pylist(), clips.column("label").to_pylist(), strict=True)
    )
    labels = Counter(label for label in label_of.values() if label is not None)
    return {
        "store": str(store.path),
        "clips": len(label_of),
        "sources": len(clips),
        "labels": dict(sorted(labels.items())),
        "failures": len(store.failures()),
        "views": [
            {
                "extractor": view.spec.extractor,
                "fingerprint": view.spec.fingerprint,
                "shape": list(view.spec.shape),
                "dim": view.spec.shape[-1],
                "dtype": view.spec.dtype,
                "rows": len(view.clip_ids()),
            }
            for view in store.views()
        ],
        "frames": [_frames(store, spec) for spec in store.kinds_of_frames()],
    }


def _frames(store: Store, spec: FramesSpec) -> dict[str, Any]:
    clips = None if is_remote(store.path) else len(store.clips_with(spec))
    return {
        "kind": spec.kind,
        "fingerprint": spec.fingerprint,
        "shape": list(spec.shape),
        "clips": clips,
        "bytes": None if clips is None else clips * math.prod(spec.shape),
    }
