"""Fits a net on the clips of one fold, epoch by epoch, and keeps its best one.

Shape legend: N clips, K classes.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kinestore.heads import Epoch
from kinestore.pipeline.training.folds import Fold
from kinestore.pipeline.training.head_trainer import (
    CLASS_WEIGHTS,
    EpochRecord,
    Fitted,
    FoldResult,
    balanced_weights,
)
from kinestore.pipeline.training.networks.fit_checkpoint import Course, read_course, write_course
from kinestore.pipeline.training.networks.sgd import Training
from kinestore.pipeline.training.networks.task import CENTRE, COLOURS, NetTask
from kinestore.store import UsageError


@dataclass(frozen=True, kw_only=True)
class NetTrainer:
    """What all fits of a job share.

    Attributes:
        task: The net and the clips; the epochs of its settings are the most that there will be.
        patience: Epochs without a lower validation loss after which training stops; None for never.
        class_weights: "balanced" to weigh a clip by `balanced_weights`, or None.
        seed: 0 or more.
    """

    task: NetTask
    patience: int | None
    class_weights: str | None
    seed: int

    def __post_init__(self) -> None:
        if self.patience is not None and self.patience < 1:
            raise UsageError(f"patience={self.patience}: must be 1 or more")
        if self.class_weights not in (None, *CLASS_WEIGHTS):
            raise UsageError(f"class_weights={self.class_weights!r}: must be 'balanced'")

    def run_fold(
        self,
        fold: Fold,
        *,
        checkpoint: Path,
        resume: bool,
        num_epochs: int,
        on_epoch: Callable[[EpochRecord, float | None], None],
    ) -> FoldResult:
        """Fit on one part and score another; the test clips decide nothing.

        Args:
            fold: Its test part may be empty: its accuracy is NaN then.
            checkpoint: Where the state after each epoch is kept.
            resume: Go on from there, if it exists.
            num_epochs: Stop after so many, at the learning rates of all that the settings have.
            on_epoch: Called after each epoch with the seconds that its steps took, None for those
                of the checkpoint.

        Raises:
            KinestoreError: If it diverges.
        """
        task = self.task
        net = task.new_net()
        training = Training(
            net,
            task.examples,
            settings=task.settings,
            seed=self.seed,
            processes=task.processes,
            class_weights=self._weights_of(fold.train),
        )
        course = self._resumed(training, checkpoint) if resume else Course()
        for record in course.records:
            on_epoch(record, None)
        patience = self.patience if len(fold.validation) else None
        while not course.is_over(epochs=num_epochs, patience=patience):
            started = time.perf_counter()
            epoch = training.epoch(len(course.records) + 1, fold.train)
            seconds = time.perf_counter() - started
            course.add(self._record(net, fold, epoch), net.state_dict())
            if task.processes.is_first:
                write_course(checkpoint, course, training.state())
            on_epoch(course.records[-1], seconds)
        if len(fold.validation):
            course.check_best()
            net.load_state_dict(course.best)
        logits = task.predict(net, fold.test, task.looks)
        return FoldResult(
            fitted=Fitted(model=net.cpu(), standardiser=COLOURS),
            best_epoch=course.best_epoch or len(course.records),
            epochs=course.records,
            logits=logits,
        )

    def _record(self, net: nn.Module, fold: Fold, epoch: Epoch) -> EpochRecord:
        """Look at what an epoch gave."""
        loss, accuracy = None, None
        if len(fold.validation):
            logits = self.task.predict(net, fold.validation, CENTRE)
            labels = torch.from_numpy(self.task.examples.labels[fold.validation])
            loss = nn.functional.cross_entropy(logits, labels).item()
            accuracy = self._accuracy(logits, fold.validation)
        logits = self.task.predict(net, fold.test, CENTRE)
        return EpochRecord(
            fold=fold.name,
            epoch=epoch.number,
            train_loss=epoch.loss,
            train_accuracy=epoch.accuracy,
            validation_loss=loss,
            validation_accuracy=accuracy,
            test_accuracy=self._accuracy(logits, fold.test),
        )

    def _resumed(self, training: Training, checkpoint: Path) -> Course:
        """Where an earlier run was, put back into the training."""
        if not checkpoint.exists():
            return Course()
        course, tensors = read_course(checkpoint)
        try:
            training.restore(tensors)
        except (RuntimeError, KeyError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UsageError(
                f"{checkpoint}: is of another net ({reason}); run without --resume"
            ) from error
        return course

    def _weights_of(self, train: NDArray[np.int64]) -> Tensor | None:
        if self.class_weights is None:
            return None
        return balanced_weights(
            self.task.examples.labels[train], num_classes=len(self.task.rows.classes)
        )

    def _accuracy(self, logits: Tensor, rows: NDArray[np.int64]) -> float:
        labels = torch.from_numpy(self.task.examples.labels[rows])
        return float((logits.argmax(1) == labels).double().mean())
