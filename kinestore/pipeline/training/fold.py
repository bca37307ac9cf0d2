"""One division of rows into training, validation and test rows, and what is odd about several."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinestore.pipeline.runs.reader import is_run
from kinestore.pipeline.runs.training_clips import TRAINING_CLIPS, read_training_clips
from kinestore.pipeline.training.label_sets import class_counts
from kinestore.pipeline.video.segment import split_uri
from kinestore.store import Features
from kinestore.store.io.addresses import local_path


@dataclass(frozen=True, kw_only=True, eq=False)
class Fold:
    """One division of the rows.

    Attributes:
        name: The group or number of the fold, or "test" if there is only one.
        train: Training rows, int64.
        test: Test rows, int64; no row of `train`.
        validation: Validation rows, int64, which choose the best epoch; no row of the others. May
            be empty.
    """

    name: str
    train: NDArray[np.int64]
    test: NDArray[np.int64]
    validation: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


def notes_on_folds(features: Features, folds: Sequence[Fold]) -> Iterator[str]:
    """Yield sentences on folds whose scores may mislead."""
    yield from _untrained(features, folds)
    yield from _divided_files(features, folds)


def _untrained(features: Features, folds: Sequence[Fold]) -> Iterator[str]:
    """Yield a sentence on classes that are tested and have no clip to train on."""
    lost: dict[int, None] = {}
    for fold in folds:
        only = set(class_counts(features, fold.test)) - set(class_counts(features, fold.train))
        lost.update(dict.fromkeys(sorted(only)))
    if lost:
        names = ", ".join(repr(features.classes[label]) for label in list(lost)[:10])
        yield (
            f"classes that are tested in a fold in which no clip trains them: {len(lost)} "
            f"({names}); give each class more clips, or leave it out"
        )


def _divided_files(features: Features, folds: Sequence[Fold]) -> Iterator[str]:
    """Yield a sentence on videos of which some segments are trained and others tested."""
    files, divided = [split_uri(uri)[0] for uri in features.uris], dict[str, None]()
    for fold in folds:
        trained = {files[row] for row in fold.train}
        divided.update((files[row], None) for row in fold.test if files[row] in trained)
    if divided:
        yield (
            f"videos of which some segments are training clips and others test clips of a fold: "
            f"{len(divided)}, such as {next(iter(divided))}; segments of one video are alike, and "
            "may share frames: give each video a group, and leave groups out"
        )


def notes_on_start(
    weights: str | Path | None, rows: Features, folds: Sequence[Fold]
) -> Iterator[str]:
    """Yield a sentence where weights are those of a run that was trained on clips now tested."""
    if weights is None:
        return
    path = local_path(weights)
    run = path if path.is_dir() else path.parent
    if not (is_run(run) and (run / TRAINING_CLIPS).is_file()):
        return
    seen = read_training_clips(run)
    tested = {rows.clip_ids[row] for fold in folds for row in (*fold.test, *fold.validation)}
    if known := len(seen & tested):
        yield (
            f"weights {path}: its run was trained on {known} of the {len(tested)} clips that are "
            "tested or choose the epoch here, so that accuracies may be too high; start from a run "
            "without them"
        )
