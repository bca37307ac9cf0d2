"""Labels, groups, splits and paths of clips, beside their embeddings.

Shape legend: N clips, D features.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinestore.store.records import Features


def describe_clips(
    values: NDArray[np.floating],
    clip_ids: Sequence[str],
    *,
    rows: Mapping[str, Mapping[str, Any]],
    views: Sequence[str],
    widths: Sequence[int],
) -> Features:
    """Give each row of values its label, group, split and uri.

    Args:
        values: Shape (N, D) or (N, T, D).
        clip_ids: Clip of each row.
        rows: Label, group, split and uri by clip_id; clips without a row of values are `missing`.
        views: Views that the values come from.
        widths: Number of features of each view.
    """
    kept = [rows[clip] for clip in clip_ids]
    classes = sorted({row["label"] for row in kept if row["label"] is not None})
    number = {label: index for index, label in enumerate(classes)}
    return Features(
        features=values,
        labels=np.array([number.get(row["label"], -1) for row in kept], dtype=np.int64),
        clip_ids=list(clip_ids),
        groups=[row["group"] for row in kept],
        splits=[row["split"] for row in kept],
        uris=[row["uri"] for row in kept],
        classes=classes,
        views=list(views),
        missing=sorted(set(rows).difference(clip_ids)),
        widths=list(widths),
    )
