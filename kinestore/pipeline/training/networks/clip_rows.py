"""The clips of a source as rows that can be divided and scored like embeddings."""

import numpy as np

from kinestore.pipeline.training.networks.data.clip_source import Source
from kinestore.store import Features, Store
from kinestore.store.load import describe_clips


def rows_of(store: Store, source: Source) -> Features:
    """A row for each clip of the store that the source has, without features.

    Of several sources with the same bytes, the newest gives label, group, split and uri, as in
    `Store.load`.
    """
    newest = {row["clip_id"]: row for row in store.sources()}
    clip_ids = sorted(newest.keys() & set(source.clip_ids))
    nothing = np.zeros((len(clip_ids), 0), np.float32)
    return describe_clips(nothing, clip_ids, rows=newest, views=[source.name], widths=[])
