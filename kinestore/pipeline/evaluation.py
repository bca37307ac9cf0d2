"""Which clips a training job scores, and what its folds come to, whatever was trained."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinestore.pipeline.charts import Panel
from kinestore.pipeline.fitting import EpochRecord, FoldResult
from kinestore.pipeline.folds import Fold, divide, hold_validation
from kinestore.store import Features, UsageError


def choose_folds(
    rows: Features,
    *,
    split: str | None,
    cv: str | None,
    folds: int | None,
    validation: float | None,
    patience: int | None,
    seed: int,
) -> tuple[str, list[Fold]]:
    """What the evaluation is called, and its folds, with validation parts where asked for.

    Args:
        rows: Labelled.
        split: As `divide` has it; so cv and folds.
        cv: With "group", validation parts are whole groups.
        folds: Number of stratified folds.
        validation: Share of each fold's fitted rows, above 0 and below 1; None for none but what
            the split column marks.
        patience: Of a training that needs a validation part, or None.
        seed: 0 or more.

    Raises:
        UsageError: If the rows do not allow it, or patience has no validation part.
    """
    evaluation, divisions = divide(rows, split=split, cv=cv, folds=folds, seed=seed)
    if validation is not None:
        divisions = hold_validation(
            rows, divisions, share=validation, whole_groups=cv == "group", seed=seed
        )
    if patience is not None and not len(divisions[0].validation):
        raise UsageError(
            f"patience={patience}: there is no validation part; give --validation 0.2, or mark "
            "clips 'val' in the split column"
        )
    return evaluation, divisions


def counts(features: Features, rows: Features, divisions: list[Fold]) -> dict[str, Any]:
    """How many clips went where."""
    crossed, first = len(divisions) > 1, divisions[0]
    num_used = len(first.train) + len(first.validation) + len(first.test)
    return {
        "num_train": len(rows.labels) if crossed else len(first.train),
        "num_validation": sum(len(fold.validation) for fold in divisions),
        "num_test": sum(len(fold.test) for fold in divisions),
        "num_unlabelled": len(features.labels) - len(rows.labels),
        "num_missing": len(features.missing),
        "num_left_out": 0 if crossed else len(rows.labels) - num_used,
        "model": "all rows" if crossed else "train rows",
    }


def by_fold(
    rows: Features, divisions: list[Fold], results: list[FoldResult]
) -> dict[str, dict[str, Any]]:
    """Each fold's accuracy, and its best epoch where there was one to choose."""
    by_name = {fold.name: result for fold, result in zip(divisions, results, strict=True)}
    return {
        "fold_top1": {
            fold.name: float(
                (by_name[fold.name].logits.argmax(1).numpy() == rows.labels[fold.test]).mean()
            )
            for fold in divisions
        },
        "best_epochs": {
            fold.name: by_name[fold.name].best_epoch for fold in divisions if len(fold.validation)
        },
    }


def panels(results: list[FoldResult]) -> list[Panel]:
    """What curves.png shows: the epochs' figures, a line a part of the rows."""
    losses = {"fitted": _curves(results, lambda epoch: epoch.train_loss)}
    accuracies = {"fitted": _curves(results, lambda epoch: epoch.train_accuracy)}
    title = "Cross-entropy on fitted clips"
    if results[0].epochs[0].validation_loss is not None:
        losses["validation"] = _curves(results, lambda epoch: epoch.validation_loss)
        accuracies["validation"] = _curves(results, lambda epoch: epoch.validation_accuracy)
        title = "Cross-entropy"
    accuracies["unseen"] = _curves(results, lambda epoch: epoch.test_accuracy)
    return [
        Panel(title=title, lines=losses),
        Panel(title="Accuracy", lines=accuracies, is_fraction=True),
    ]


def _curves(
    results: list[FoldResult], figure: Callable[[EpochRecord], float | None]
) -> NDArray[np.float64]:
    """A figure of each fold and epoch; NaN where a fold had stopped."""
    curves = np.full((len(results), max(len(result.epochs) for result in results)), np.nan)
    for curve, result in zip(curves, results, strict=True):
        curve[: len(result.epochs)] = [figure(epoch) for epoch in result.epochs]
    return curves
