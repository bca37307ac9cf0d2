"""Fits a head on the rows of one fold, and keeps its best epoch.

Shape legend: N rows, K classes.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn

from kinestore.heads import (
    Epoch,
    FitSettings,
    Standardiser,
    check_rows,
    fit,
    moments_of,
    predict,
    to_features,
    to_labels,
)
from kinestore.pipeline.training.folds import Fold
from kinestore.pipeline.training.model_spec import HeadChoice
from kinestore.store import Features, KinestoreError, UsageError

CLASS_WEIGHTS = ("balanced",)
"""How rows can be weighted by class."""


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """A row of metrics.csv; accuracies are fractions.

    Attributes:
        fold: Its name.
        epoch: 1 for the first.
        train_loss: Mean cross-entropy over the fitted rows, as `heads.Epoch` has it.
        train_accuracy: Of the fitted rows, likewise.
        validation_loss: Mean cross-entropy after the epoch, or None without a validation part.
        validation_accuracy: After the epoch, or None.
        test_accuracy: After the epoch.
    """

    fold: str
    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    test_accuracy: float


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A model and how to prepare its rows."""

    model: nn.Module
    standardiser: Standardiser


@dataclass(frozen=True, kw_only=True)
class FoldResult:
    """What fitting on one fold gave.

    Attributes:
        fitted: The model as it was after the best epoch.
        best_epoch: The one with the lowest validation loss; the last without a validation part.
        epochs: One record for each epoch that was trained.
        logits: Of the test rows by that model, shape (N, K).
    """

    fitted: Fitted
    best_epoch: int
    epochs: list[EpochRecord]
    logits: Tensor


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """What all fits of a job share.

    Attributes:
        features: Labelled rows.
        head: What to train.
        settings: How; its epochs are 1 or more, and the most that there will be.
        patience: Epochs without a lower validation loss after which training stops; None for never.
        class_weights: "balanced" to weigh a row by `balanced_weights`, or None.
        seed: 0 or more.
    """

    features: Features
    head: HeadChoice
    settings: FitSettings
    patience: int | None
    class_weights: str | None
    seed: int

    def __post_init__(self) -> None:
        if self.settings.epochs < 1:
            raise UsageError(f"epochs={self.settings.epochs}: must be 1 or more")
        if self.patience is not None and self.patience < 1:
            raise UsageError(f"patience={self.patience}: must be 1 or more")
        if self.class_weights not in (None, *CLASS_WEIGHTS):
            raise UsageError(f"class_weights={self.class_weights!r}: must be 'balanced'")

    def check(self) -> None:
        """Refuse rows that the head cannot learn, before anything is written."""
        first = to_features(self.features.features[:1])
        check_rows(self._new_model(), first, to_labels(self.features.labels[:1]))

    def run_fold(self, fold: Fold, on_epoch: Callable[[EpochRecord], None]) -> FoldResult:
        """Fit on one part and score another; the test rows decide nothing."""
        standardiser, model = self._standardise(fold.train), self._new_model()
        test_features, test_labels = self._tensors(fold.test, standardiser)
        validation = self._tensors(fold.validation, standardiser)
        best = _BestEpoch(model, patience=self.patience) if len(fold.validation) else None
        epochs: list[EpochRecord] = []

        def after(epoch: Epoch) -> bool:
            loss, accuracy = (None, None) if best is None else _evaluate(model, *validation)
            epochs.append(
                EpochRecord(
                    fold=fold.name,
                    epoch=epoch.number,
                    train_loss=epoch.loss,
                    train_accuracy=epoch.accuracy,
                    validation_loss=loss,
                    validation_accuracy=accuracy,
                    test_accuracy=_accuracy(predict(model, test_features), test_labels),
                )
            )
            on_epoch(epochs[-1])
            return best is not None and loss is not None and best.ends(epoch.number, loss)

        self._fit(model, fold.train, standardiser, self.settings, after)
        if best is not None:
            best.restore()
        return FoldResult(
            fitted=Fitted(model=model, standardiser=standardiser),
            best_epoch=len(epochs) if best is None else best.number,
            epochs=epochs,
            logits=predict(model, test_features),
        )

    def fit_all(self, *, num_epochs: int, on_epoch: Callable[[Epoch], None]) -> Fitted:
        """Fit on every row, with nothing to score or to choose by."""
        everything = np.arange(len(self.features.labels))
        standardiser, model = self._standardise(everything), self._new_model()
        settings = replace(self.settings, epochs=num_epochs)
        self._fit(model, everything, standardiser, settings, on_epoch)
        return Fitted(model=model, standardiser=standardiser)

    def _new_model(self) -> nn.Module:
        """The head before training, the same each time."""
        return self.head.create(self.features, seed=self.seed)

    def _standardise(self, train: NDArray[np.int64]) -> Standardiser:
        """Measured on these rows alone."""
        return Standardiser.from_moments(moments_of(self.features.features[train]))

    def _tensors(
        self, rows: NDArray[np.int64], standardiser: Standardiser
    ) -> tuple[Tensor, Tensor]:
        """Standardised features and labels of these rows."""
        ready = standardiser.apply(self.features.features[rows])
        return torch.from_numpy(ready), torch.from_numpy(self.features.labels[rows])

    def _fit(
        self,
        model: nn.Module,
        train: NDArray[np.int64],
        standardiser: Standardiser,
        settings: FitSettings,
        on_epoch: Callable[[Epoch], bool | None],
    ) -> None:
        """Fit a model in place, and refuse one that diverged."""
        weights = None
        if self.class_weights == "balanced":
            labels, num_classes = self.features.labels[train], len(self.features.classes)
            weights = balanced_weights(labels, num_classes=num_classes)
        epochs = fit(
            model,
            *self._tensors(train, standardiser),
            settings=settings,
            seed=self.seed,
            class_weights=weights,
            on_epoch=on_epoch,
        )
        if not math.isfinite(epochs[-1].loss):
            raise KinestoreError(
                f"learning_rate={settings.learning_rate}: training diverged, "
                f"loss {epochs[-1].loss}; use a lower one"
            )


def balanced_weights(labels: NDArray[np.int64], *, num_classes: int) -> Tensor:
    """Weights that let every class count the same: n / (C n_c) for n_c of n rows in class c.

    Args:
        labels: Of the fitted rows, shape (N,), from 0 to num_classes - 1.
        num_classes: K.

    Returns:
        float32, shape (K,). C counts the classes that have a row; the others get 0.
    """
    present = np.unique(labels)
    weights = np.zeros(num_classes, np.float32)
    weights[present] = compute_class_weight("balanced", classes=present, y=labels)
    return torch.from_numpy(weights)


class _BestEpoch:
    """Follows the validation loss of a model in training, and keeps its best weights.

    Attributes:
        number: The epoch with the lowest loss so far, the earliest of equals; 0 before any.
    """

    def __init__(self, model: nn.Module, *, patience: int | None) -> None:
        self.number = 0
        self._model, self._patience = model, patience
        self._lowest = math.inf
        self._weights: dict[str, Tensor] = {}

    def ends(self, epoch: int, loss: float) -> bool:
        """Take in an epoch; whether it is the last that patience allows."""
        if loss < self._lowest:
            self.number, self._lowest = epoch, loss
            self._weights = copy.deepcopy(self._model.state_dict())
        return self._patience is not None and epoch - self.number >= self._patience

    def restore(self) -> None:
        """Put the best epoch's weights back into the model."""
        if not self.number:
            raise KinestoreError(
                "validation: the loss was NaN or infinite in every epoch; use a lower "
                "learning_rate, or look for clips with extreme features"
            )
        self._model.load_state_dict(self._weights)


def _evaluate(model: nn.Module, features: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean cross-entropy, whatever the class weights, and accuracy."""
    logits = predict(model, features)
    return nn.functional.cross_entropy(logits, labels).item(), _accuracy(logits, labels)


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return float((logits.argmax(1) == labels).double().mean())
