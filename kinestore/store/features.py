"""Features as they are loaded for training.

Shape legend: N clips, T frames, D features.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinestore.store.errors import UsageError
from kinestore.store.records import fingerprint_of


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
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
        own_columns: Values of each column of the user's own, by its name; None for an empty one.
        taken_from: Columns that stand in for "label" and "group", see `with_columns`.
        prompts: Texts among which the rows of a view were chosen, by the name of the view.
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
    own_columns: Mapping[str, list[str | None]] = field(default_factory=dict)
    taken_from: Mapping[str, str] = field(default_factory=dict)
    prompts: Mapping[str, list[str]] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return shape, number of classes and views, without the values."""
        shape = ", ".join(map(str, self.features.shape))
        views = ", ".join(self.feature_names)
        return f"Features(({shape}) {self.features.dtype}, {len(self.classes)} classes, {views})"

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
        several = {"label_sets": self.label_sets} if any(self.label_sets) else {}
        return fingerprint_of({"classes": self.classes, "clips": list(map(list, marks)), **several})

    def column(self, name: str) -> list[str | None]:
        """Return the value of each row in "label", "group", "split" or a column of the user's own.

        Raises:
            UsageError: If there is no such column.
        """
        if name == "label":
            return [self.classes[label] if label >= 0 else None for label in self.labels.tolist()]
        known = {"group": self.groups, "split": self.splits, **self.own_columns}
        if name not in known:
            listed = ", ".join(["label", *known])
            raise UsageError(f"column {name!r}: is not in the store, which has {listed}")
        return known[name]

    def with_columns(self, *, label: str | None = None, group: str | None = None) -> "Features":
        """Return the same rows with other columns as their labels and groups; None keeps them.

        Raises:
            UsageError: If there is no such column.
        """
        found = self
        if group not in (None, "group"):
            taken = {**found.taken_from, "group": str(group)}
            found = replace(found, groups=self.column(str(group)), taken_from=taken)
        if label in (None, "label"):
            return found
        names = self.column(str(label))
        classes = sorted({name for name in names if name is not None})
        number = {name: index for index, name in enumerate(classes)}
        return replace(
            found,
            labels=np.array([-1 if n is None else number[n] for n in names], np.int64),
            classes=classes,
            label_sets=[],
            taken_from={**found.taken_from, "label": str(label)},
        )

    def select(self, rows: NDArray[np.int64]) -> "Features":
        """Return only these rows, in this order; classes and views stay."""
        listed = ["clip_ids", "groups", "splits", "uris", *(["label_sets"] * bool(self.label_sets))]
        chosen: dict[str, Any] = {
            name: [getattr(self, name)[row] for row in rows] for name in listed
        }
        chosen["own_columns"] = {
            name: [values[row] for row in rows] for name, values in self.own_columns.items()
        }
        mask = None if self.mask is None else self.mask[rows]
        features, labels = self.features[rows], self.labels[rows]
        return replace(self, features=features, labels=labels, mask=mask, **chosen)
