"""Figures of a training job's folds, for its summary, its predictions and its curves."""

from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kinestore.pipeline.plotting.run_charts import LinePanel
from kinestore.pipeline.runs.best_and_last import BestAndLast, FoldCurve, summarize_curves
from kinestore.pipeline.runs.predictions import Predictions
from kinestore.pipeline.training.data import TrainingData
from kinestore.pipeline.training.fit_state import EpochRecord
from kinestore.pipeline.training.fold import Fold
from kinestore.pipeline.training.fold_trainer import TrainedFold
from kinestore.pipeline.training.label_sets import class_counts, has_several, probabilities_of
from kinestore.store import Features


class Counts(TypedDict):
    """Clips by what became of them, and what the saved model was trained on."""

    num_train: int
    num_validation: int
    num_test: int
    num_unlabeled: int
    num_missing: int
    num_left_out: int
    model: str


def counts(data: TrainingData, folds: Sequence[Fold]) -> Counts:
    """Count the clips of each part."""
    rows, crossed, first = data.rows, len(folds) > 1, folds[0]
    num_used = len(first.train) + len(first.validation) + len(first.test)
    return {
        "num_train": len(rows.labels) if crossed else len(first.train),
        "num_validation": sum(len(fold.validation) for fold in folds),
        "num_test": sum(len(fold.test) for fold in folds),
        "num_unlabeled": data.num_unlabeled,
        "num_missing": len(rows.missing),
        "num_left_out": 0 if crossed else len(rows.labels) - num_used,
        "model": "all rows" if crossed else "train rows",
    }


def seen_clips(rows: Features, folds: Sequence[Fold]) -> tuple[list[str], list[str]]:
    """Return the clips that the saved model was trained on, and those that chose its epoch."""
    if len(folds) > 1:
        return rows.clip_ids, []
    (fold,) = folds
    train, validation = (
        [rows.clip_ids[row] for row in part] for part in (fold.train, fold.validation)
    )
    return train, validation


def fold_top1(rows: Features, folds: Sequence[Fold], logits: Sequence[Tensor]) -> dict[str, float]:
    """Return the accuracy of each fold, by its name, from the logits of its test clips."""
    return {
        fold.name: float((some.argmax(1).numpy() == rows.labels[fold.test]).mean())
        for fold, some in zip(folds, logits, strict=True)
    }


def best_and_last_epochs(
    folds: Sequence[Fold], results: Sequence[TrainedFold]
) -> BestAndLast | None:
    """Return the accuracies of the last epoch, the chosen one, and the best on the test clips."""
    return summarize_curves(
        [
            FoldCurve(
                name=fold.name,
                num_test=len(fold.test),
                top1=[epoch.test_accuracy for epoch in result.epochs],
                top5=[epoch.test_top5 for epoch in result.epochs],
                chosen=result.best_epoch if len(fold.validation) else None,
            )
            for fold, result in zip(folds, results, strict=True)
        ],
        unit="epoch",
    )


def best_epochs(folds: Sequence[Fold], results: Sequence[TrainedFold]) -> dict[str, int]:
    """Return the best epoch of each fold that has a validation part to choose it by."""
    pairs = zip(folds, results, strict=True)
    return {fold.name: result.best_epoch for fold, result in pairs if len(fold.validation)}


def untrained_classes(rows: Features, folds: Sequence[Fold]) -> list[str] | None:
    """Name the classes that a fold tests or validates on without a training clip of them.

    Args:
        rows: Clips with labels.
        folds: The folds that were tested, with the clips that they really trained on.

    Returns:
        One sentence for each; None where there is no such class.
    """
    found = []
    for fold in folds:
        trained = class_counts(rows, fold.train)
        for part, numbers in {"test": fold.test, "validation": fold.validation}.items():
            for label, num_clips in sorted(class_counts(rows, numbers).items()):
                if label not in trained:
                    where = f" in fold {fold.name}" if len(folds) > 1 else ""
                    found.append(
                        f"{rows.classes[label]}: {num_clips} {part} clips{where}, and none to "
                        "train on"
                    )
    return found or None


def epoch_panels(results: Sequence[TrainedFold]) -> list[LinePanel]:
    """Return the panels of curves.png: loss and accuracy by epoch, a line for each part."""
    losses = {"training": _curves(results, lambda epoch: epoch.train_loss)}
    accuracies = {"training": _curves(results, lambda epoch: epoch.train_accuracy)}
    title = "Cross-entropy on training clips"
    if results[0].epochs[0].validation_loss is not None:
        losses["validation"] = _curves(results, lambda epoch: epoch.validation_loss)
        accuracies["validation"] = _curves(results, lambda epoch: epoch.validation_accuracy)
        title = "Cross-entropy"
    accuracies["test"] = _curves(results, lambda epoch: epoch.test_accuracy)
    return [
        LinePanel(title=title, lines=losses),
        LinePanel(title="Accuracy", lines=accuracies, is_fraction=True),
    ]


def _curves(
    results: Sequence[TrainedFold], figure: Callable[[EpochRecord], float | None]
) -> NDArray[np.float64]:
    """Return a figure by fold and epoch; NaN where a fold had stopped."""
    curves = np.full((len(results), max(len(result.epochs) for result in results)), np.nan)
    for curve, result in zip(curves, results, strict=True):
        curve[: len(result.epochs)] = [figure(epoch) for epoch in result.epochs]
    return curves


def predictions_of(
    features: Features,
    folds: Sequence[Fold],
    logits: Sequence[Tensor],
    *,
    owners: Sequence[NDArray[np.int64]] | None = None,
) -> Predictions:
    """Return what the logits predict for the test clips of all folds.

    Args:
        features: Clips with labels.
        folds: One or more; no clip is tested in two.
        logits: Logits of each fold's test clips, shape (clips, K).
        owners: The client of each fold's test clips, -1 for none; None where there are no clients.
    """
    rows = np.concatenate([fold.test for fold in folds])
    best = np.concatenate([some.argmax(1).numpy() for some in logits])
    several = has_several(features)
    confidence = np.concatenate(
        [probabilities_of(some, several=several).amax(1).numpy() for some in logits]
    )
    names = [fold.name for fold in folds for _ in fold.test]
    held = np.full(len(rows), -1) if owners is None else np.concatenate(owners)
    order = sorted(range(len(rows)), key=lambda place: features.clip_ids[rows[place]])
    return Predictions(
        clip_ids=[features.clip_ids[rows[place]] for place in order],
        labels=[features.classes[features.labels[rows[place]]] for place in order],
        predicted=[features.classes[best[place]] for place in order],
        confidence=np.nan_to_num(confidence)[order].astype(np.float32),
        folds=[names[place] for place in order],
        clients=[None if held[place] < 0 else int(held[place]) for place in order],
    )
