"""Accuracy and F1 of predictions."""

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from torch import Tensor

from kinestore.store import UsageError


class Fractions(TypedDict):
    """The figures of `Scores` that are fractions."""

    top1: float
    top5: float
    macro_f1: float
    macro_precision: float
    macro_recall: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """Fractions from 0 to 1 over the scored rows.

    The macro figures are unweighted means over the classes that occur among the labels or the
    predictions; such a class counts 0 where its ratio has no denominator.

    Attributes:
        top1: Rows whose highest logit is their class.
        top5: Rows whose class is among the five highest logits (all of them with fewer classes).
        macro_f1: Mean F1.
        macro_precision: Mean precision.
        macro_recall: Mean recall.
        confusion: Counts, int64, shape (K, K): rows are labels, columns predictions.
    """

    top1: float
    top5: float
    macro_f1: float
    macro_precision: float
    macro_recall: float
    confusion: NDArray[np.int64]

    def fractions(self) -> "Fractions":
        """Return all but the confusion matrix, by name."""
        return {
            "top1": self.top1,
            "top5": self.top5,
            "macro_f1": self.macro_f1,
            "macro_precision": self.macro_precision,
            "macro_recall": self.macro_recall,
        }


def among_best(logits: Tensor, labels: Tensor, count: int) -> NDArray[np.bool_]:
    """Return whether each row's label is among its `count` highest logits: bool, shape (N,)."""
    best = torch.topk(logits, min(count, logits.shape[1]), dim=1).indices
    found: NDArray[np.bool_] = (best == labels[:, None]).any(1).numpy()
    return found


def score(logits: Tensor, labels: Tensor, num_classes: int) -> Scores:
    """Compare logits (N, K) with labels int64 (N,) from 0 to K - 1, N 1 or more."""
    if len(labels) == 0 or tuple(logits.shape) != (len(labels), num_classes):
        raise UsageError(
            f"logits: shape {tuple(logits.shape)} for {len(labels)} labels and "
            f"num_classes={num_classes}; must be (labels, num_classes) with a label or more"
        )
    truth, predicted = labels.numpy(), logits.argmax(1).numpy()
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, predicted, average="macro", zero_division=0
    )
    return Scores(
        top1=float((truth == predicted).mean()),
        top5=float(among_best(logits, labels, 5).mean()),
        macro_f1=float(f1),
        macro_precision=float(precision),
        macro_recall=float(recall),
        confusion=confusion_matrix(truth, predicted, labels=range(num_classes)).astype(np.int64),
    )
