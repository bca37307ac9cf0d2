"""Several labels of a clip: the targets of training, and how predictions are scored.

Shape legend: N clips, n of them, K classes.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from torch import Tensor

from kinestore.heads import TrainingConfig
from kinestore.store import Features, UsageError


def has_several(rows: Features) -> bool:
    """Return whether a clip has several labels, so that all are learned as yes or no."""
    return any(rows.label_sets)


def check_several(config: TrainingConfig) -> None:
    """Refuse settings that are for one label of a clip.

    Raises:
        UsageError: Names the setting.
    """
    for name, value in {
        "class_weights": config.class_weights,
        "label_smoothing": config.label_smoothing,
    }.items():
        if value:
            raise UsageError(
                f"{name}={value!r}: is for clips with one label, and some have several; leave it "
                "out"
            )


def targets_of(rows: Features) -> NDArray[np.float32]:
    """Return 1 for each label of a clip, float32, shape (N, K)."""
    targets = np.zeros((len(rows.labels), len(rows.classes)), np.float32)
    single = np.flatnonzero(rows.labels >= 0)
    targets[single, rows.labels[single]] = 1
    number = {name: place for place, name in enumerate(rows.classes)}
    for row, labels in enumerate(rows.label_sets):
        targets[row, [number[label] for label in labels]] = 1
    return targets


def class_counts(rows: Features, numbers: NDArray[np.int64]) -> Counter[int]:
    """Return the clips of each class that has one, by the number of the class."""
    labels = rows.labels[numbers]
    counts = Counter[int](labels[labels >= 0].tolist())
    if rows.label_sets:
        number = {name: place for place, name in enumerate(rows.classes)}
        for row in numbers.tolist():
            counts.update(number[label] for label in rows.label_sets[row])
    return counts


def highest_labels(logits: Tensor, targets: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the label of each clip that has its highest logit, int64, shape (n,).

    By it accuracies are counted: a clip is right if its best class is one of its labels.
    """
    own = logits.double().masked_fill(torch.from_numpy(targets == 0), -torch.inf)
    found: NDArray[np.int64] = own.argmax(1).numpy()
    return found


def as_scored(
    rows: Features, tests: Sequence[NDArray[np.int64]], logits: Sequence[Tensor]
) -> Features:
    """Return the rows, the test clips with the label alone by which accuracies are counted.

    Args:
        rows: All rows.
        tests: Numbers of the test clips of each fold.
        logits: Their logits.
    """
    if not has_several(rows):
        return rows
    labels, targets = rows.labels.copy(), targets_of(rows)
    for numbers, some in zip(tests, logits, strict=True):
        labels[numbers] = highest_labels(some, targets[numbers])
    return replace(rows, labels=labels)


def mean_average_precision(logits: Tensor, targets: NDArray[np.float32]) -> float:
    """Return the mean of the classes' average precision, over classes that have a clip.

    Args:
        logits: Shape (n, K).
        targets: 1 for each label of a clip, shape (n, K).
    """
    found = np.flatnonzero(targets.any(0))
    scores = np.nan_to_num(logits.double().numpy())[:, found]
    return float(average_precision_score(targets[:, found], scores, average="macro"))


def probabilities_of(logits: Tensor, *, several: bool) -> Tensor:
    """Return float64 probabilities: of each class alone, or with the sum 1 over the classes."""
    return logits.double().sigmoid() if several else logits.double().softmax(1)
