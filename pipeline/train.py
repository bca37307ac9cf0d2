"""The job that trains a head on stored features and says how good it is.

Shape legend: N rows, D features, K classes.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heads import Epoch, FitSettings, to_features
from pipeline.charts import Panel
from pipeline.choices import read_head
from pipeline.fitting import EpochRecord, Fitted, FoldResult, Trainer
from pipeline.folds import Fold, divide, hold_validation, keep_labelled, score_folds
from pipeline.runs import Run, open_run
from store import Features, UsageError

TRAIN_SETTINGS = FitSettings()
"""How `train` trains where nothing else is asked for."""

_COLUMNS = tuple(field.name for field in fields(EpochRecord))

OnProgress = Callable[[int, int], None]
"""Called with the epochs or rounds done, and how many there are in all."""


def train(
    features: Features,
    *,
    out: str | Path,
    head: str = "mlp",
    split: str | None = None,
    cv: str | None = None,
    folds: int | None = None,
    validation: float | None = None,
    patience: int | None = None,
    class_weights: str | None = None,
    settings: FitSettings = TRAIN_SETTINGS,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Fit a head, score it on clips that it has not seen, and write a run folder.

    At most one of split, cv and folds is given. With none of them the split column decides if it
    has both "train" and "test"; else a fifth of each class is held out. Rows are standardised by
    what the fitted rows tell alone. Clips without a label are left out and counted.

    With a validation part, the weights kept are those of the epoch with the lowest validation
    loss, the earliest of equals. There is one where `validation` is given, or where the split
    column is used and marks clips "val" or "validation".

    Args:
        features: What `Store.load` gives, with rows (N, D), or (N, T, D) for a temporal head.
        out: The run folder: new, empty or an earlier run, which is replaced.
        head: One of `heads.names()`, with settings as `pipeline.choices` reads them.
        split: "column" to insist on the split column.
        cv: "group" to leave one group out at a time.
        folds: Number of stratified folds, 2 or more.
        validation: Share of each fold's fitted rows to hold for validation, above 0 and below 1:
            drawn by class, or whole groups with `cv`.
        patience: Stop after so many epochs without a lower validation loss, 1 or more.
        class_weights: "balanced" to let each class count the same in the loss of fitted rows.
        settings: How to train.
        seed: 0 or more; decides first weights, batches, folds and the validation part.
        on_progress: Called after each epoch.

    Returns:
        What summary.json holds. `num_train` are the rows that the saved model was fitted on and
        `num_test` the rows scored: with folds, both are all rows, as every row is scored by a model
        that has not seen it while the saved one ("model": "all rows") is fitted on all of them, for
        the folds' mean best epoch. `num_validation` adds up over the folds.

    Raises:
        UsageError: If the request or the features do not allow it.
        KinestoreError: If training diverged.
    """
    started = time.perf_counter()
    rows = keep_labelled(features)
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
    to_features(rows.features)  # refuse NaN before anything is written
    trainer = Trainer(
        features=rows,
        head=read_head(head),
        settings=settings,
        patience=patience,
        class_weights=class_weights,
        seed=seed,
    )
    trainer.check()
    config = {
        "job": "train",
        "head": head,
        "features": rows.views,
        "evaluation": evaluation,
        "validation": validation,
        "patience": patience,
        "class_weights": class_weights,
        "settings": asdict(settings),
        "seed": seed,
    }
    crossed = len(divisions) > 1
    progress = _Progress(settings.epochs, len(divisions) + crossed, on_progress)
    with open_run(out, config, columns=_COLUMNS) as run:
        results = [_run_fold(trainer, fold, run, progress) for fold in divisions]
        saved = _fit_all(trainer, results, progress) if crossed else results[0].fitted
        scores = score_folds(rows, divisions, [result.logits for result in results])
        summary = {
            **scores.fractions(),
            **_counts(features, rows, divisions),
            **_by_fold(divisions, results),
            "classes": rows.classes,
            **{key: value for key, value in config.items() if key != "job"},
            "seconds": round(time.perf_counter() - started, 3),
        }
        run.finish(
            model=saved.model,
            standardiser=saved.standardiser,
            scores=scores,
            classes=rows.classes,
            panels=_panels(results),
            x_label="epoch",
            summary=summary,
        )
    return summary


class _Progress:
    """Counts epochs over all fits of the job."""

    def __init__(self, epochs: int, fits: int, on_progress: OnProgress | None) -> None:
        self._epochs, self._total, self._tell = epochs, epochs * fits, on_progress
        self._done = 0

    def step(self, _: Epoch | None = None) -> None:
        """One more epoch."""
        self._advance(1)

    def end_fit(self) -> None:
        """Pass over the epochs that a fit did not need."""
        missing = -self._done % self._epochs
        if missing:
            self._advance(missing)

    def _advance(self, num_epochs: int) -> None:
        self._done += num_epochs
        if self._tell is not None:
            self._tell(self._done, self._total)


def _run_fold(trainer: Trainer, fold: Fold, run: Run, progress: _Progress) -> FoldResult:
    """Fit on one part, writing a row of metrics after each epoch."""

    def on_epoch(record: EpochRecord) -> None:
        run.add(asdict(record))
        progress.step()

    result = trainer.run_fold(fold, on_epoch)
    progress.end_fit()
    return result


def _fit_all(trainer: Trainer, results: list[FoldResult], progress: _Progress) -> Fitted:
    """The model of all rows: it has nothing to choose its epoch by but what the folds chose."""
    num_epochs = round(float(np.mean([result.best_epoch for result in results])))
    fitted = trainer.fit_all(num_epochs=num_epochs, on_epoch=progress.step)
    progress.end_fit()
    return fitted


def _counts(features: Features, rows: Features, divisions: list[Fold]) -> dict[str, Any]:
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


def _by_fold(divisions: list[Fold], results: list[FoldResult]) -> dict[str, dict[str, Any]]:
    """Each fold's accuracy, and its best epoch where there was one to choose."""
    by_name = {fold.name: result for fold, result in zip(divisions, results, strict=True)}
    return {
        "fold_top1": {
            name: result.epochs[result.best_epoch - 1].test_accuracy
            for name, result in by_name.items()
        },
        "best_epochs": {
            fold.name: by_name[fold.name].best_epoch for fold in divisions if len(fold.validation)
        },
    }


def _panels(results: list[FoldResult]) -> list[Panel]:
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
