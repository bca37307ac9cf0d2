"""The job that trains a head on stored features and says how good it is.

Shape legend: N rows, D features, K classes.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from kinestore.heads import Epoch, FitSettings, to_features
from kinestore.pipeline.runs.writer import Run, open_run, versions
from kinestore.pipeline.training.folds import Fold, keep_labelled, score_folds
from kinestore.pipeline.training.head_trainer import EpochRecord, Fitted, FoldResult, Trainer
from kinestore.pipeline.training.model_spec import read_head
from kinestore.pipeline.training.run_summary import (
    by_fold,
    choose_folds,
    counts,
    panels,
    predictions_of,
)
from kinestore.store import Features

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
    evaluation, divisions = choose_folds(
        rows,
        split=split,
        cv=cv,
        folds=folds,
        validation=validation,
        patience=patience,
        seed=seed,
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
        logits = [result.logits for result in results]
        scores = score_folds(rows, divisions, logits)
        summary = {
            **scores.fractions(),
            **counts(features, rows, divisions),
            **by_fold(rows, divisions, results),
            "classes": rows.classes,
            **{key: value for key, value in config.items() if key != "job"},
            "versions": versions(),
            "seconds": round(time.perf_counter() - started, 3),
        }
        run.finish(
            model=saved.model,
            standardiser=saved.standardiser,
            scores=scores,
            predictions=predictions_of(rows, divisions, logits),
            classes=rows.classes,
            panels=panels(results),
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
