"""What a run's predictions come to: by class, by pair of classes, and clip by clip.

Shape legend: N scored clips, K classes.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import precision_recall_fscore_support

from kinestore.pipeline.runs.predictions import Part, Predictions


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """One class.

    Attributes:
        name: Its name.
        num_clips: Scored clips that are of it.
        precision: Of the clips taken for it, the share that is of it; NaN where there is none.
        recall: Of its clips, the share taken for it; NaN where there is none.
        f1: Their harmonic mean; NaN where it has no clip and none was taken for it.
        taken_for: The other class that its clips are most often taken for, the first by name of
            equals; None where there is none.
        num_taken: How many are.
    """

    name: str
    num_clips: int
    precision: float
    recall: float
    f1: float
    taken_for: str | None
    num_taken: int


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A clip that was taken for another class."""

    clip_id: str
    label: str
    predicted: str
    confidence: float
    fold: str
    client: int | None


def confusion(told: Predictions) -> Counter[tuple[str, str]]:
    """Scored clips by class and prediction."""
    return Counter(zip(told.labels, told.predicted, strict=True))


def by_class(told: Predictions, classes: list[str]) -> list[ClassRow]:
    """A row for each of K classes, in their order."""
    number = {name: place for place, name in enumerate(classes)}
    precision, recall, f1, _ = precision_recall_fscore_support(
        [number[name] for name in told.labels],
        [number[name] for name in told.predicted],
        labels=np.arange(len(classes)),
        zero_division=np.nan,
    )
    sizes = Counter(told.labels)
    taken: dict[str, tuple[str, int]] = {}
    for label, predicted, num_clips in confusions(told):
        taken.setdefault(label, (predicted, num_clips))
    return [
        ClassRow(
            name=name,
            num_clips=sizes[name],
            precision=float(precision[place]),
            recall=float(recall[place]),
            f1=float(f1[place]),
            taken_for=taken[name][0] if name in taken else None,
            num_taken=taken[name][1] if name in taken else 0,
        )
        for place, name in enumerate(classes)
    ]


def confusions(told: Predictions) -> list[tuple[str, str, int]]:
    """Class, other class that it was taken for, and how often; the most frequent first."""
    wrong = [(*pair, number) for pair, number in confusion(told).items() if pair[0] != pair[1]]
    return sorted(wrong, key=lambda item: (-item[2], item[0], item[1]))


def mistakes(told: Predictions) -> list[Mistake]:
    """Every clip that was taken for another class, the most confident first."""
    columns = (told.labels, told.predicted, told.confidence.tolist(), told.folds, told.clients)
    found = [
        Mistake(
            clip_id=clip_id,
            label=label,
            predicted=predicted,
            confidence=confidence,
            fold=fold,
            client=client,
        )
        for clip_id, label, predicted, confidence, fold, client in zip(
            told.clip_ids, *columns, strict=True
        )
        if label != predicted
    ]
    return sorted(found, key=lambda one: (-one.confidence, one.clip_id))


def mean_top1(parts: Iterable[Part]) -> float | None:
    """The plain mean over the parts that have a clip."""
    known = [part.top1 for part in parts if part.top1 is not None]
    return float(np.mean(known)) if known else None
