"""The clips of a source as rows that can be divided and scored like embeddings."""

import numpy as np

from pipeline.nets.sources import Source
from store import Features, Store


def rows_of(store: Store, source: Source) -> Features:
    """A row for each clip of the store that the source has, without features.

    Of several sources with the same bytes, the newest gives label, group, split and uri, as in
    `Store.load`.
    """
    newest = {row["clip_id"]: row for row in store.sources()}
    clip_ids = sorted(newest.keys() & set(source.clip_ids))
    kept = [newest[clip] for clip in clip_ids]
    classes = sorted({row["label"] for row in kept if row["label"] is not None})
    number = {label: index for index, label in enumerate(classes)}
    return Features(
        features=np.zeros((len(kept), 0), np.float32),
        labels=np.array([number.get(row["label"], -1) for row in kept], np.int64),
        clip_ids=clip_ids,
        groups=[row["group"] for row in kept],
        splits=[row["split"] for row in kept],
        uris=[row["uri"] for row in kept],
        classes=classes,
        views=[source.name],
        missing=sorted(newest.keys() - set(clip_ids)),
        widths=[],
    )
