"""Which rows to fit on and which to score."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from federated.partition import iid
from store import Features, UsageError

_HOLD_OUT_PARTS = 5
"""One part in five is held out: 80:20."""


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One division of the rows.

    Attributes:
        name: The group or number of the fold, or "test" where there is only one.
        train: Rows to fit on, int64.
        test: Rows to score, int64; no row of `train`.
    """

    name: str
    train: NDArray[np.int64]
    test: NDArray[np.int64]


def keep_labelled(features: Features) -> Features:
    """The rows that have a label; refused where fewer than two classes remain."""
    kept = np.flatnonzero(features.labels >= 0)
    num_classes = len(np.unique(features.labels[kept]))
    if num_classes < 2:
        raise UsageError(
            f"classes={num_classes} among {len(kept)} labelled clips: must be 2 or more; "
            "extract with class folders or --labels"
        )
    return features.select(kept)


def divide_once(features: Features, *, split: str | None, seed: int) -> tuple[str, Fold]:
    """What the evaluation is called, and its one fold.

    Args:
        features: Labelled rows.
        split: "column" to insist on the split column; None to use it if it has both "train" and
            "test", and to hold a fifth of each class out otherwise.
        seed: 0 or more; draws the hold-out.
    """
    if split == "column" or {"train", "test"} <= set(features.splits):
        return "split column", by_split_column(features)
    return "stratified hold-out", by_hold_out(features, seed=seed)


def by_split_column(features: Features) -> Fold:
    """Fit on rows marked "train", score those marked "test"; other rows are left out."""
    sizes = Counter(features.splits)
    for part in ("train", "test"):
        if not sizes[part]:
            raise UsageError(
                f"split='column': no labelled clip is marked {part!r}; "
                "give the manifest a split column, or leave --split away"
            )
    return Fold(
        name="test",
        train=_where(features, lambda row: features.splits[row] == "train"),
        test=_where(features, lambda row: features.splits[row] == "test"),
    )


def by_hold_out(features: Features, *, seed: int) -> Fold:
    """Hold out a fifth of each class, drawn by the seed."""
    if len(features.labels) < _HOLD_OUT_PARTS:
        raise UsageError(
            f"clips={len(features.labels)}: must be {_HOLD_OUT_PARTS} or more to hold a fifth out; "
            "extract more, or mark a split column"
        )
    first = by_stratified_folds(features, num_folds=_HOLD_OUT_PARTS, seed=seed)[0]
    return replace(first, name="test")


def by_stratified_folds(features: Features, *, num_folds: int, seed: int) -> list[Fold]:
    """Every row is scored once, with each class spread evenly over the folds."""
    if not 2 <= num_folds <= len(features.labels):
        raise UsageError(
            f"folds={num_folds}: must be from 2 to {len(features.labels)}, the number of clips"
        )
    parts = iid(features.labels, num_folds, seed=seed)
    everything = np.arange(len(features.labels))
    return [
        Fold(name=str(number), train=np.setdiff1d(everything, part), test=part)
        for number, part in enumerate(parts, start=1)
    ]


def by_left_out_group(features: Features) -> list[Fold]:
    """Score each group by a model that saw only the others; folds in the groups' sorted order."""
    check_groups(features)
    names = sorted({group for group in features.groups if group is not None})
    if len(names) < 2:
        raise UsageError(f"groups={len(names)}: must be 2 or more to leave one out; use --folds")
    return [_leave_out(features, name) for name in names]


def check_groups(features: Features) -> None:
    """Refuse a row without a group, by the name of its clip."""
    for uri, group in zip(features.uris, features.groups, strict=True):
        if group is None:
            raise UsageError(f"group=None for {uri}: give every clip a group in the manifest")


def _leave_out(features: Features, name: str) -> Fold:
    return Fold(
        name=name,
        train=_where(features, lambda row: features.groups[row] != name),
        test=_where(features, lambda row: features.groups[row] == name),
    )


def _where(features: Features, wanted: Callable[[int], bool]) -> NDArray[np.int64]:
    return np.array([row for row in range(len(features.labels)) if wanted(row)], dtype=np.int64)
