"""Features as they are loaded for training.

Shape legend: N clips, T frames, D features.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinestore.store.records import fingerprint_of


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """Embeddings joined by clip, ready to train on; rows are ordered by clip_id.

    Attributes:
        features: float32, or float16 if requested; shape (N, D), or (N, T, D) for a whole
            sequence.
        labels: Index into `classes`, int64, shape (N,); -1 where a clip has no label.
        clip_ids: Identity of each row, length N.
        groups: Group of each row, or None, length N.
        splits: Split of each row, or None, length N.
        uris: Newest path of each row's clip, length N.
        classes: Sorted class names.
        views: The views that were joined, `<extractor>@<fingerprint>`, in order.
        missing: clip_ids left out because a view lacks them.
        widths: Features that each of `views` gives, in order; together D.
        pools: Pooling over time of each of `views`; "" where a view holds vectors.
        label_sets: All labels of each row whose clip has several, and () for the others, length N;
            such a row's label is -1, and all its labels are among `classes`. Empty if no clip has.
        mask: True where a step of a sequence has a frame, bool, shape (N, T); None if all have.
    """

    features: NDArray[Any]
    labels: NDArray[np.int64]
    clip_ids: list[str]
    groups: list[str | None]
    splits: list[str | None]
    uris: list[str]
    classes: list[str]
    views: list[str]
    missing: list[str]
    widths: list[int] = field(default_factory=list)
    pools: list[str] = field(default_factory=list)
    mask: NDArray[np.bool_] | None = None
    label_sets: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def feature_names(self) -> list[str]:
        """Names by which `Store.load` gives the same columns: VIEW, or VIEW:POOL."""
        pools = self.pools or [""] * len(self.views)
        named = zip(self.views, pools, strict=True)
        return [f"{view}:{pool}" if pool else view for view, pool in named]

    @property
    def fingerprint(self) -> str:
        """16 hex digits of these clips, their order, labels, groups and splits; not of features."""
        marks = zip(self.clip_ids, self.labels.tolist(), self.groups, self.splits, strict=True)
        return fingerprint_of({"classes": self.classes, "clips": list(map(list, marks))})

    def select(self, rows: NDArray[np.int64]) -> "Features":
        """Return only these rows, in this order; classes and views stay."""
        listed = ["clip_ids", "groups", "splits", "uris", *(["label_sets"] * bool(self.label_sets))]
        chosen: dict[str, Any] = {
            name: [getattr(self, name)[row] for row in rows] for name in listed
        }
        mask = None if self.mask is None else self.mask[rows]
        features, labels = self.features[rows], self.labels[rows]
        return replace(self, features=features, labels=labels, mask=mask, **chosen)
