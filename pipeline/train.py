"""The job that trains a head on stored features and says how good it is.

Shape legend: N rows, D features, K classes.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from heads import (
    Epoch,
    FitSettings,
    Scores,
    Standardiser,
    check_rows,
    create,
    fit,
    moments_of,
    predict,
    score,
    to_features,
    to_labels,
)
from pipeline.charts import Panel
from pipeline.folds import (
    Fold,
    by_left_out_group,
    by_stratified_folds,
    divide_once,
    keep_labelled,
)
from pipeline.runs import Run, open_run
from store import Features, KinestoreError, UsageError

TRAIN_SETTINGS = FitSettings()
"""How `train` trains where nothing else is asked for."""

_COLUMNS = ("fold", "epoch", "train_loss", "train_accuracy", "test_accuracy")

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
    settings: FitSettings = TRAIN_SETTINGS,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Fit a head, score it on clips that it has not seen, and write a run folder.

    At most one of split, cv and folds is given. With none of them the split column decides if it
    has both "train" and "test"; else a fifth of each class is held out. Rows are standardised by
    what the fitted rows tell alone. Clips without a label are left out and counted.

    Args:
        features: What `Store.load` gives, with rows (N, D).
        out: The run folder: new, empty or an earlier run, which is replaced.
        head: One of `heads.names()`.
        split: "column" to insist on the split column.
        cv: "group" to leave one group out at a time.
        folds: Number of stratified folds, 2 or more.
        settings: How to train.
        seed: 0 or more; decides first weights, batches and folds.
        on_progress: Called after each epoch.

    Returns:
        What summary.json holds. `num_train` are the rows that the saved model was fitted on and
        `num_test` the rows scored: with folds, both are all rows, as every row is scored by a model
        that has not seen it while the saved one ("model": "all rows") is fitted on all of them.

    Raises:
        UsageError: If the request or the features do not allow it.
        KinestoreError: If training diverged.
    """
    started = time.perf_counter()
    rows = keep_labelled(features)
    evaluation, divisions = _divide(rows, split=split, cv=cv, folds=folds, seed=seed)
    to_features(rows.features)  # refuse NaN and sequences before anything is written
    config = {
        "job": "train",
        "head": head,
        "features": rows.views,
        "evaluation": evaluation,
        "settings": asdict(settings),
        "seed": seed,
    }
    trainer = _Trainer(features=rows, head=head, settings=settings, seed=seed)
    trainer.check()
    crossed = len(divisions) > 1
    total = settings.epochs * (len(divisions) + crossed)
    progress = _Progress(total, on_progress)
    with open_run(out, config, columns=_COLUMNS) as run:
        results = [_run_fold(trainer, fold, run, progress) for fold in divisions]
        if crossed:
            everything = np.arange(len(rows.labels))
            saved, num_train = trainer.fit(everything, progress.step), len(everything)
        else:
            saved, num_train = results[0].fitted, len(divisions[0].train)
        scores = _score_together(rows, divisions, results)
        summary = {
            **scores.fractions(),
            "num_train": num_train,
            "num_test": sum(len(fold.test) for fold in divisions),
            "num_unlabelled": len(features.labels) - len(rows.labels),
            "num_missing": len(features.missing),
            "num_left_out": 0 if crossed else len(rows.labels) - _num_used(divisions[0]),
            "model": "all rows" if crossed else "train rows",
            "fold_top1": {
                fold.name: result.test_accuracies[-1]
                for fold, result in zip(divisions, results, strict=True)
            },
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


@dataclass(frozen=True, kw_only=True)
class _Fitted:
    """A model and how to prepare its rows."""

    model: nn.Module
    standardiser: Standardiser


@dataclass(frozen=True, kw_only=True)
class _FoldResult:
    """One fold's model, its test logits (rows, K), and each epoch's figures."""

    fitted: _Fitted
    logits: Tensor
    epochs: list[Epoch]
    test_accuracies: list[float]


@dataclass(frozen=True, kw_only=True)
class _Trainer:
    """What all fits of a job share."""

    features: Features
    head: str
    settings: FitSettings
    seed: int

    def new_model(self) -> nn.Module:
        """The head before training, the same each time."""
        return create(
            self.head,
            in_features=self.features.features.shape[1],
            num_classes=len(self.features.classes),
            seed=self.seed,
        )

    def check(self) -> None:
        """Refuse rows that the head cannot learn, before anything is written."""
        first = to_features(self.features.features[:1])
        check_rows(self.new_model(), first, to_labels(self.features.labels[:1]))

    def standardise(self, train: NDArray[np.int64]) -> Standardiser:
        """Measured on these rows alone."""
        return Standardiser.from_moments(moments_of(self.features.features[train]))

    def tensors(self, rows: NDArray[np.int64], standardiser: Standardiser) -> tuple[Tensor, Tensor]:
        """Standardised features and labels of these rows."""
        ready = standardiser.apply(self.features.features[rows])
        return torch.from_numpy(ready), torch.from_numpy(self.features.labels[rows])

    def fit(self, train: NDArray[np.int64], on_epoch: Callable[[Epoch], None]) -> _Fitted:
        """Fit on these rows, with nothing to score."""
        standardiser, model = self.standardise(train), self.new_model()
        self.fit_model(model, self.tensors(train, standardiser), on_epoch)
        return _Fitted(model=model, standardiser=standardiser)

    def fit_model(
        self, model: nn.Module, rows: tuple[Tensor, Tensor], on_epoch: Callable[[Epoch], None]
    ) -> list[Epoch]:
        """Fit a model in place, and refuse one that diverged."""
        epochs = fit(model, *rows, settings=self.settings, seed=self.seed, on_epoch=on_epoch)
        if not math.isfinite(epochs[-1].loss):
            raise KinestoreError(
                f"learning_rate={self.settings.learning_rate}: training diverged, "
                f"loss {epochs[-1].loss}; use a lower one"
            )
        return epochs


class _Progress:
    """Counts epochs over all fits of the job."""

    def __init__(self, total: int, on_progress: OnProgress | None) -> None:
        self._done, self._total, self._tell = 0, total, on_progress

    def step(self, _: Epoch) -> None:
        self._done += 1
        if self._tell is not None:
            self._tell(self._done, self._total)


def _divide(
    rows: Features, *, split: str | None, cv: str | None, folds: int | None, seed: int
) -> tuple[str, list[Fold]]:
    """What the evaluation is called, and its folds."""
    if sum(choice is not None for choice in (split, cv, folds)) > 1:
        raise UsageError(f"split={split!r}, cv={cv!r}, folds={folds}: give one of them at most")
    if split not in (None, "column"):
        raise UsageError(f"split={split!r}: must be 'column'")
    if cv not in (None, "group"):
        raise UsageError(f"cv={cv!r}: must be 'group'; for stratified folds give folds=5")
    if cv == "group":
        return "leave one group out", by_left_out_group(rows)
    if folds is not None:
        stratified = by_stratified_folds(rows, num_folds=folds, seed=seed)
        return f"{folds} stratified folds", stratified
    evaluation, fold = divide_once(rows, split=split, seed=seed)
    return evaluation, [fold]


def _run_fold(trainer: _Trainer, fold: Fold, run: Run, progress: _Progress) -> _FoldResult:
    """Fit on one part, writing a row of metrics after each epoch."""
    standardiser, model = trainer.standardise(fold.train), trainer.new_model()
    test_features, test_labels = trainer.tensors(fold.test, standardiser)
    test_accuracies: list[float] = []

    def on_epoch(epoch: Epoch) -> None:
        right = predict(model, test_features).argmax(1) == test_labels
        test_accuracies.append(float(right.double().mean()))
        run.add(
            {
                "fold": fold.name,
                "epoch": epoch.number,
                "train_loss": epoch.loss,
                "train_accuracy": epoch.accuracy,
                "test_accuracy": test_accuracies[-1],
            }
        )
        progress.step(epoch)

    epochs = trainer.fit_model(model, trainer.tensors(fold.train, standardiser), on_epoch)
    return _FoldResult(
        fitted=_Fitted(model=model, standardiser=standardiser),
        logits=predict(model, test_features),
        epochs=epochs,
        test_accuracies=test_accuracies,
    )


def _score_together(rows: Features, divisions: list[Fold], results: list[_FoldResult]) -> Scores:
    """Scores over the test rows of all folds as one set."""
    labels = np.concatenate([rows.labels[fold.test] for fold in divisions])
    logits = torch.cat([result.logits for result in results])
    return score(logits, torch.from_numpy(labels), len(rows.classes))


def _num_used(fold: Fold) -> int:
    return len(fold.train) + len(fold.test)


def _panels(results: list[_FoldResult]) -> list[Panel]:
    losses = np.array([[epoch.loss for epoch in result.epochs] for result in results])
    fitted = np.array([[epoch.accuracy for epoch in result.epochs] for result in results])
    scored = np.array([result.test_accuracies for result in results])
    return [
        Panel(title="Cross-entropy on fitted clips", lines={"fitted": losses}),
        Panel(title="Accuracy", lines={"fitted": fitted, "unseen": scored}, is_fraction=True),
    ]
