"""Statistics of a run's predictions: by class, by pair of classes, and clip by clip.

Shape legend: N test clips, K classes.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import precision_recall_fscore_support

from kinestore.pipeline.runs.predictions import ClipCount, Predictions


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """Figures of one class.

    Attributes:
        name: Its name.
        num_clips: Test clips with this label.
        precision: NaN where no clip is predicted as it.
        recall: NaN where no clip has this label.
        f1: Harmonic mean of both; NaN where no clip has this label or is predicted as it.
        confused_with: The other class that its clips are most often predicted as, the first by name
            of equals; None where there is none.
        num_confused: Number of these clips.
    """

    name: str
    num_clips: int
    precision: float
    recall: float
    f1: float
    confused_with: str | None
    num_confused: int


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A misclassified clip."""

    clip_id: str
    label: str
    predicted: str
    confidence: float
    fold: str
    client: int | None


def confusion(predictions: Predictions) -> Counter[tuple[str, str]]:
    """Count test clips by label and prediction."""
    return Counter(zip(predictions.labels, predictions.predicted, strict=True))


def by_class(predictions: Predictions, classes: list[str]) -> list[ClassRow]:
    """Return a row for each of K classes, in their order."""
    number = {name: place for place, name in enumerate(classes)}
    figures = precision_recall_fscore_support(
        [number[name] for name in predictions.labels],
        [number[name] for name in predictions.predicted],
        labels=np.arange(len(classes)),
        zero_division=np.nan,
    )
    sizes = Counter(predictions.labels)
    confused: dict[str, tuple[str | None, int]] = {}
    for label, predicted, num_clips in confusions(predictions):
        confused.setdefault(label, (predicted, num_clips))
    rows = []
    for name, precision, recall, f1 in zip(classes, *figures[:3], strict=True):
        confused_with, num_confused = confused.get(name, (None, 0))
        rows.append(
            ClassRow(
                name=name,
                num_clips=sizes[name],
                precision=float(precision),
                recall=float(recall),
                f1=float(f1),
                confused_with=confused_with,
                num_confused=num_confused,
            )
        )
    return rows


def confusions(predictions: Predictions) -> list[tuple[str, str, int]]:
    """Return label, wrong prediction and number of clips, the most frequent first."""
    counts = confusion(predictions)
    wrong = [(*pair, number) for pair, number in counts.items() if pair[0] != pair[1]]
    return sorted(wrong, key=lambda item: (-item[2], item[0], item[1]))


def mistakes(predictions: Predictions) -> list[Mistake]:
    """Return every misclassified clip, the most confident first."""
    rows = zip(
        predictions.clip_ids,
        predictions.labels,
        predictions.predicted,
        predictions.confidence.tolist(),
        predictions.folds,
        predictions.clients,
        strict=True,
    )
    found = [
        Mistake(
            clip_id=clip_id,
            label=label,
            predicted=predicted,
            confidence=confidence,
            fold=fold,
            client=client,
        )
        for clip_id, label, predicted, confidence, fold, client in rows
        if label != predicted
    ]
    return sorted(found, key=lambda one: (-one.confidence, one.clip_id))


def mean_top1(parts: Iterable[ClipCount]) -> float | None:
    """Return the plain mean over the parts that have a clip."""
    known = [part.top1 for part in parts if part.top1 is not None]
    return float(np.mean(known)) if known else None
