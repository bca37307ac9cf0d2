"""Division of rows into training, validation and test rows."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinestore.federated.partition import iid
from kinestore.heads import Scores, score
from kinestore.heads.support.seeds import derive_seed
from kinestore.pipeline.notes import tell
from kinestore.pipeline.training.config import EvaluationConfig
from kinestore.pipeline.training.fold import Fold, notes_on_folds
from kinestore.pipeline.training.label_sets import class_counts
from kinestore.pipeline.training.split_column import SplitColumn, all_alike, read_split_column
from kinestore.store import Features, UsageError

_HOLD_OUT_PARTS = 5
"""One part in five is held out: 80:20."""


def keep_labeled(features: Features, *, least_classes: int = 2, several: bool = False) -> Features:
    """Return the rows that have a label, or several where that is allowed.

    Raises:
        UsageError: If a clip has several labels, or fewer classes than `least_classes` have a clip.
    """
    if not several:
        refuse_several_labels(features)
    labeled = features.labels >= 0
    if features.label_sets:
        labeled |= np.array([bool(labels) for labels in features.label_sets])
    kept = np.flatnonzero(labeled)
    num_classes = len(class_counts(features, kept))
    if num_classes < least_classes:
        raise UsageError(
            f"classes={num_classes} among {len(kept)} labeled clips: must be {least_classes} or "
            "more; extract with class folders or a file of labels"
        )
    return features.select(kept)


def refuse_several_labels(features: Features) -> None:
    """Raise UsageError if a clip has several labels."""
    several = [row for row, labels in enumerate(features.label_sets) if labels]
    if several:
        first = several[0]
        listed = ", ".join(map(repr, features.label_sets[first][:5]))
        raise UsageError(
            f"labels: {len(several)} of {len(features.labels)} clips have several, such as "
            f"{features.uris[first]} ({listed}), and this takes one, as only a head that is "
            "trained centrally learns several; give each one label in the manifest and extract "
            "again, which computes nothing twice"
        )


def choose_folds(
    features: Features, evaluation: EvaluationConfig, *, seed: int
) -> tuple[str, list[Fold]]:
    """Return a description of the evaluation, and its folds with their validation parts.

    Args:
        features: Clips with labels.
        evaluation: Which clips are tested, and which choose the best epoch.
        seed: 0 or more; draws hold-out, folds and validation parts.

    Raises:
        UsageError: If the clips do not allow it, or patience has no validation part.
    """
    features = evaluation.choose_columns(features)
    described, folds = _divide(features, evaluation, seed=seed)
    tell(notes_on_folds(features, folds))
    if evaluation.validation is not None:
        folds = hold_validation(
            features,
            folds,
            share=evaluation.validation,
            whole_groups=evaluation.cv is not None,
            seed=seed,
        )
    if evaluation.patience is not None and not len(folds[0].validation):
        raise UsageError(
            f"patience={evaluation.patience}: there is no validation part; give validation=0.2, or "
            "mark clips 'val' in the split column"
        )
    return described, folds


def _divide(
    features: Features, evaluation: EvaluationConfig, *, seed: int
) -> tuple[str, list[Fold]]:
    if (group := evaluation.cv) is not None:
        return f"leave one {group} out", by_left_out_group(features, column=group)
    if evaluation.folds is not None:
        folds = by_stratified_folds(features, num_folds=evaluation.folds, seed=seed)
        return f"{evaluation.folds} stratified folds", folds
    if (share := evaluation.random_share) is not None:
        folds = [by_random_share(features, share=share, seed=seed)]
        return f"random division, {share:g} of the clips tested", folds
    if (marks := evaluation.split_column) or not all_alike(features.splits):
        column, fold = by_split_column(features, name=marks, tested=evaluation.test_split)
        tell(column.notes())
        return column.description, [fold]
    if mark := features.splits[0]:
        tell([f"split column: all clips are marked {mark!r}; a fifth of each class is tested"])
    return "stratified hold-out", [by_hold_out(features, seed=seed)]


def by_split_column(
    features: Features, *, name: str | None = None, tested: str | None = None
) -> tuple[SplitColumn, Fold]:
    """Train on rows marked as training clips, test on those marked as test clips.

    Raises:
        UsageError: If the marks do not say which rows these are.
    """
    column = read_split_column(features.splits, name=name or "split", tested=tested)
    return column, Fold(
        name="test",
        train=_where(features, lambda row: features.splits[row] in column.train),
        test=_where(features, lambda row: features.splits[row] in column.test),
        validation=_where(features, lambda row: features.splits[row] in column.validation),
    )


def by_hold_out(features: Features, *, seed: int) -> Fold:
    """Hold out a fifth of each class, drawn by the seed."""
    if len(features.labels) < _HOLD_OUT_PARTS:
        raise UsageError(
            f"clips={len(features.labels)}: must be {_HOLD_OUT_PARTS} or more to hold out a fifth; "
            "extract more, or mark a split column"
        )
    first = by_stratified_folds(features, num_folds=_HOLD_OUT_PARTS, seed=seed)[0]
    return replace(first, name="test")


def by_random_share(features: Features, *, share: float, seed: int) -> Fold:
    """Hold out a share of the rows, of each class alike, drawn by the seed.

    Args:
        features: Labeled rows.
        share: Fraction of the rows, above 0 and below 1.
        seed: 0 or more.
    """
    count = len(features.labels)
    num_held = min(max(1, round(share * count)), count - 1)
    rng = np.random.default_rng(derive_seed("split", seed))
    shuffled = rng.permutation(count)
    by_class = shuffled[np.argsort(features.labels[shuffled], kind="stable")]
    places = (np.arange(num_held) * count + rng.integers(count)) // num_held
    test = np.sort(by_class[places])
    return Fold(name="test", train=np.setdiff1d(np.arange(count), test), test=test)


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


def by_left_out_group(features: Features, *, column: str = "group") -> list[Fold]:
    """Score each group by a model that saw only the others; folds in the groups' sorted order."""
    check_groups(features, column=column)
    names = sorted({group for group in features.groups if group is not None})
    if len(names) < 2:
        raise UsageError(f"{column}s={len(names)}: must be 2 or more to leave one out; use folds")
    return [_leave_out(features, name) for name in names]


def hold_validation(
    features: Features, folds: list[Fold], *, share: float, whole_groups: bool, seed: int
) -> list[Fold]:
    """Move some training rows of each fold to its validation set; test rows stay as they are.

    Args:
        features: Labeled rows.
        folds: Folds without a validation part.
        share: Fraction of the training rows, above 0 and below 1.
        whole_groups: Take as many groups as come nearest to the share, at least one; else rows are
            drawn by class, and one row of each class always stays a training row.
        seed: 0 or more; draws the rows or groups.

    Raises:
        UsageError: If the share is out of range, or the rows do not allow it.
    """
    draw = _draw_groups if whole_groups else _draw_by_class
    held = []
    for number, fold in enumerate(folds):
        if len(fold.validation):
            raise UsageError(
                f"validation={share}: the split column marks {len(fold.validation)} clips for "
                "validation already; leave out validation"
            )
        rng = np.random.default_rng(derive_seed("validation", seed, number))
        part = draw(features, fold, share, rng)
        held.append(replace(fold, train=np.setdiff1d(fold.train, part), validation=part))
    return held


def _draw_by_class(
    features: Features, fold: Fold, share: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Rows of each class in proportion, but for one of each class."""
    shuffled = rng.permutation(fold.train)
    by_class = shuffled[np.argsort(features.labels[shuffled], kind="stable")]
    _, firsts = np.unique(features.labels[by_class], return_index=True)
    free = np.delete(by_class, firsts)
    if not len(free):
        raise UsageError(
            f"validation={share}: fold {fold.name!r} has only one training clip of each "
            "class; leave out validation"
        )
    num_held = min(max(1, round(share * len(fold.train))), len(free))
    # Steps of equal length through the classes, in integers: no float rounds past the end.
    places = (np.arange(num_held) * len(free) + rng.integers(len(free))) // num_held
    return np.sort(free[places])


def _draw_groups(
    features: Features, fold: Fold, share: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Rows of the first groups of a random order, never of all."""
    sizes = Counter(str(features.groups[row]) for row in fold.train)
    if len(sizes) < 2:
        raise UsageError(
            f"validation={share}: fold {fold.name!r} has only one training group; "
            "leave out validation"
        )
    ordered = sorted(sizes)
    names = [ordered[place] for place in rng.permutation(len(ordered))]
    totals = np.cumsum([sizes[name] for name in names[:-1]])
    num_held = int(np.abs(totals - share * len(fold.train)).argmin()) + 1
    held = set(names[:num_held])
    return np.array([row for row in fold.train if features.groups[row] in held], dtype=np.int64)


def check_groups(features: Features, *, column: str = "group") -> None:
    """Refuse a row without a group, by the name of its clip."""
    for uri, group in zip(features.uris, features.groups, strict=True):
        if group is None:
            raise UsageError(f"{column}=None for {uri}: give every clip a {column} in the manifest")


def _leave_out(features: Features, name: str) -> Fold:
    train = _where(features, lambda row: features.groups[row] != name)
    test = _where(features, lambda row: features.groups[row] == name)
    return Fold(name=name, train=train, test=test)


def _where(features: Features, wanted: Callable[[int], bool]) -> NDArray[np.int64]:
    return np.array([row for row in range(len(features.labels)) if wanted(row)], dtype=np.int64)


def score_folds(features: Features, folds: Sequence[Fold], logits: Sequence[Tensor]) -> Scores:
    """Scores over the test rows of all folds as one set.

    Args:
        features: Labeled rows.
        folds: One or more.
        logits: Of each fold's test rows, shape (rows, K).
    """
    labels = np.concatenate([features.labels[fold.test] for fold in folds])
    return score(torch.cat(list(logits)), torch.from_numpy(labels), len(features.classes))
