"""Trains a model on the training clips of each fold, epoch by epoch, and keeps the best epoch.

Shape legend: N clips, K classes.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn

from kinestore.heads import Epoch, Standardizer, TrainingConfig, among_best
from kinestore.heads.training.loop import Training, binary_losses
from kinestore.heads.training.processes import Processes
from kinestore.pipeline.runs.writer import Run
from kinestore.pipeline.training.data import PreparedData, TrainingData
from kinestore.pipeline.training.fit_state import (
    EpochRecord,
    FitState,
    read_fit,
    write_fit,
)
from kinestore.pipeline.training.fold import Fold
from kinestore.pipeline.training.label_sets import has_several, highest_labels, targets_of
from kinestore.progress import Progress
from kinestore.store import UsageError

CHECKPOINT_SECONDS = 2.0
"""A checkpoint is written after an epoch once so many seconds have passed since the last."""


@dataclass(frozen=True, kw_only=True)
class ScaledModel:
    """A model and the scaling of its input."""

    model: nn.Module
    standardizer: Standardizer


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedFold:
    """The result of training on one fold.

    Attributes:
        trained: The model as it was after the best epoch.
        best_epoch: The one with the lowest validation loss; the last without a validation part.
        epochs: One record for each epoch that was trained.
        logits: Logits of the test clips by that model, shape (N, K).
    """

    trained: ScaledModel
    best_epoch: int
    epochs: list[EpochRecord]
    logits: Tensor


class FoldTrainer:
    """Trains every fold of a job and, after several, on all clips; writes metrics.

    Args:
        data: The clips and the model.
        config: How to train; its epochs are the most that there will be.
        patience: Epochs without a lower validation loss after which training stops; None for never.
        seed: 0 or more.
        processes: The processes that train together.
        out: The run folder, which holds the checkpoints.
        run: The same, open for writing in the process that writes; None in others.
        resume: Whether to continue from checkpoints.
    """

    def __init__(
        self,
        data: TrainingData,
        *,
        config: TrainingConfig,
        patience: int | None,
        seed: int,
        processes: Processes,
        out: Path,
        run: Run | None,
        resume: bool,
    ) -> None:
        self._data, self._config, self._patience = data, config, patience
        self._seed, self._processes = seed, processes
        self._out, self._run, self._resume = out, run, resume
        self._targets = targets_of(data.rows) if has_several(data.rows) else None
        self._done = self._num_clips = 0
        self._seconds = 0.0

    @property
    def clips_per_s(self) -> float | None:
        """Training clips a second so far, or None where nothing was trained."""
        return self._num_clips / self._seconds if self._num_clips else None

    def train_all(
        self, folds: Sequence[Fold], progress: Progress | None
    ) -> tuple[list[TrainedFold], ScaledModel]:
        """Train on every fold; return the folds' results and the model to save.

        After several folds that is a model of all clips, trained for the folds' mean best epoch.
        """
        crossed = len(folds) > 1
        total = self._config.epochs * (len(folds) + crossed)

        def advance(num_epochs: int, note: str = "") -> None:
            self._done += num_epochs
            if num_epochs and progress is not None:
                progress("training", self._done, total, note)

        scored = [
            self._train_fold(fold, number, self._config.epochs, advance)
            for number, fold in enumerate(folds)
        ]
        if not crossed:
            return scored, scored[0].trained
        everything = np.arange(len(self._data.rows.labels))
        whole = Fold(name="all rows", train=everything, test=everything[:0])
        mean_best = round(float(np.mean([result.best_epoch for result in scored])))
        return scored, self._train_fold(whole, len(folds), mean_best, advance).trained

    def _train_fold(
        self, fold: Fold, number: int, num_epochs: int, advance: Callable[..., None]
    ) -> TrainedFold:
        """Train on one part and test another; the test clips decide nothing.

        Where training resumes, the learning rates stay those of all epochs of the config.
        """
        ready, model = self._data.prepare([fold.train]), self._data.new_model()
        (samples,) = ready.clients
        training = Training(
            model,
            samples,
            config=self._config,
            seed=self._seed,
            processes=self._processes,
            class_weights=self._class_weights(fold.train),
        )
        checkpoint = self._out / f"checkpoint-{number}.safetensors"
        fit = self._resumed(training, checkpoint)
        for record in fit.records:
            self._write(fold, record)
            advance(1)
        patience, written = (self._patience if len(fold.validation) else None), time.monotonic()
        num_written = len(fit.records)
        while not fit.is_over(epochs=num_epochs, patience=patience):
            started = time.perf_counter()
            epoch = training.epoch(len(fit.records) + 1, np.arange(len(samples)))
            seconds = time.perf_counter() - started
            fit.add(self._record(model, fold, epoch, ready), model.state_dict())
            if self._run is not None and time.monotonic() - written >= CHECKPOINT_SECONDS:
                write_fit(checkpoint, fit, training.state())
                written, num_written = time.monotonic(), len(fit.records)
            self._write(fold, fit.records[-1])
            self._num_clips += len(samples)
            self._seconds += seconds
            advance(1, f"{len(samples) / seconds:.3g} clips/s")
        if self._run is not None and num_written < len(fit.records):
            write_fit(checkpoint, fit, training.state())
        advance(self._config.epochs - len(fit.records))
        if len(fold.validation):
            fit.check_best()
            model.load_state_dict(fit.best)
        logits = ready.predict_final(model, fold.test) if len(fold.test) else torch.empty(0)
        return TrainedFold(
            trained=ScaledModel(model=model.cpu(), standardizer=ready.standardizer),
            best_epoch=fit.best_epoch or len(fit.records),
            epochs=fit.records,
            logits=logits,
        )

    def _write(self, fold: Fold, record: EpochRecord) -> None:
        if self._run is not None and len(fold.test):
            self._run.add(asdict(record))

    def _record(
        self, model: nn.Module, fold: Fold, epoch: Epoch, ready: PreparedData
    ) -> EpochRecord:
        """Score the model after an epoch."""
        loss = accuracy = None
        if len(fold.validation):
            logits = ready.predict(model, fold.validation)
            loss = self._loss(logits, fold.validation)
            accuracy = self._accuracy(logits, fold.validation)
        tested = tested_top5 = float("nan")
        if len(fold.test):
            logits = ready.predict(model, fold.test)
            tested = self._accuracy(logits, fold.test)
            labels = self._labels(logits, fold.test)
            tested_top5 = float(among_best(logits, labels, 5).mean())
        return EpochRecord(
            fold=fold.name,
            epoch=epoch.number,
            train_loss=epoch.loss,
            train_accuracy=epoch.accuracy,
            validation_loss=loss,
            validation_accuracy=accuracy,
            test_accuracy=tested,
            train_top5=epoch.top5,
            test_top5=tested_top5,
        )

    def _accuracy(self, logits: Tensor, rows: NDArray[np.int64]) -> float:
        return float((logits.argmax(1) == self._labels(logits, rows)).double().mean())

    def _loss(self, logits: Tensor, numbers: NDArray[np.int64]) -> float:
        if self._targets is not None:
            return binary_losses(logits, torch.from_numpy(self._targets[numbers])).mean().item()
        labels = torch.from_numpy(self._data.rows.labels[numbers])
        return nn.functional.cross_entropy(logits, labels).item()

    def _labels(self, logits: Tensor, numbers: NDArray[np.int64]) -> Tensor:
        """Return the labels of clips; of several the one with the highest logit."""
        if self._targets is not None:
            return torch.from_numpy(highest_labels(logits, self._targets[numbers]))
        return torch.from_numpy(self._data.rows.labels[numbers])

    def _resumed(self, training: Training, checkpoint: Path) -> FitState:
        """Restore an earlier run's state into the training, if there is one."""
        if not self._resume or not os.path.lexists(checkpoint):
            return FitState()
        fit, tensors = read_fit(checkpoint)
        try:
            training.restore(tensors)
        except (RuntimeError, KeyError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UsageError(
                f"{checkpoint}: is of another network ({reason}); run without resume"
            ) from error
        return fit

    def _class_weights(self, train: NDArray[np.int64]) -> Tensor | None:
        rows = self._data.rows
        return chosen_class_weights(self._config, rows.labels[train], num_classes=len(rows.classes))


def chosen_class_weights(
    config: TrainingConfig, labels: NDArray[np.int64], *, num_classes: int
) -> Tensor | None:
    """Return the weights that the settings ask for, from the training clips; None for none."""
    return (
        None if config.class_weights is None else balanced_weights(labels, num_classes=num_classes)
    )


def balanced_weights(labels: NDArray[np.int64], *, num_classes: int) -> Tensor:
    """Return weights that let every class count the same: n / (C n_c) for n_c of n clips.

    Args:
        labels: Labels of the training clips, shape (N,), from 0 to num_classes - 1.
        num_classes: K.

    Returns:
        float32, shape (K,). C counts the classes that have a clip; the others get 0.
    """
    present = np.unique(labels)
    weights = np.zeros(num_classes, np.float32)
    weights[present] = compute_class_weight("balanced", classes=present, y=labels)
    return torch.from_numpy(weights)
