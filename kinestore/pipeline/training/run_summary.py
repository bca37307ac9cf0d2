"""Which clips a training job scores, and what its folds come to, whatever was trained."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kinestore.pipeline.plotting.run_charts import LinePanel
from kinestore.pipeline.runs.predictions import Predictions
from kinestore.pipeline.training.folds import Fold, divide, hold_validation
from kinestore.pipeline.training.head_trainer import EpochRecord, FoldResult
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


def panels(results: list[FoldResult]) -> list[LinePanel]:
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
        LinePanel(title=title, lines=losses),
        LinePanel(title="Accuracy", lines=accuracies, is_fraction=True),
    ]


def _curves(
    results: list[FoldResult], figure: Callable[[EpochRecord], float | None]
) -> NDArray[np.float64]:
    """A figure of each fold and epoch; NaN where a fold had stopped."""
    curves = np.full((len(results), max(len(result.epochs) for result in results)), np.nan)
    for curve, result in zip(curves, results, strict=True):
        curve[: len(result.epochs)] = [figure(epoch) for epoch in result.epochs]
    return curves


def predictions_of(
    features: Features,
    folds: "Sequence[Fold]",
    logits: "Sequence[Tensor]",
    *,
    owners: Sequence[NDArray[np.int64]] | None = None,
) -> Predictions:
    """What the logits say of the test rows of all folds.

    Args:
        features: Labelled rows.
        folds: One or more; no row is tested in two.
        logits: Of each fold's test rows, shape (rows, K).
        owners: The client of each fold's test rows, -1 for none; None where there are no clients.
    """
    rows = np.concatenate([fold.test for fold in folds])
    best = np.concatenate([some.argmax(1).numpy() for some in logits])
    confidence = np.concatenate([some.double().softmax(1).amax(1).numpy() for some in logits])
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
