"""The result of testing trained models on clips.

Shape legend: N clips, K classes.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinestore.heads import Scores
from kinestore.pipeline.models.calibration import Calibration


@dataclass(frozen=True, kw_only=True)
class ClassFigures:
    """Figures of one class.

    Attributes:
        name: The class.
        num_clips: Clips of this class.
        precision: Fraction of the clips predicted as this class that are of it; 0 where none is.
        recall: Fraction of its clips that are predicted as this class; 0 without a clip.
        f1: Harmonic mean of both; 0 where both are 0.
    """

    name: str
    num_clips: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Clips that were not tested.

    Attributes:
        num_of_other_splits: Clips that the split column does not mark for testing.
        num_seen: Clips that a model was trained or chosen on.
        num_unlabeled: Clips without a label.
        other_classes: Number of clips of each class that the models do not know.
    """

    num_of_other_splits: int
    num_seen: int
    num_unlabeled: int
    other_classes: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class TestedClips:
    """Each tested clip, in the order of clip_ids.

    Attributes:
        clip_ids: Identity of each clip, length N.
        uris: Path of each clip's video, length N.
        groups: Group of each clip, or None, length N.
        labels: Number of each clip's class, int64, shape (N,).
        predicted: Number of the most probable class, int64, shape (N,).
        probabilities: Probability of each class, the mean over the models, float64, shape (N, K).
        clients: Client whose own model predicted each clip, int64, shape (N,); -1 for none.
    """

    clip_ids: list[str]
    uris: list[str]
    groups: list[str | None]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    clients: NDArray[np.int64]

    @property
    def confidence(self) -> NDArray[np.float64]:
        """Probability of the predicted class, float64, shape (N,)."""
        highest: NDArray[np.float64] = self.probabilities.max(1)
        return highest

    @property
    def right(self) -> NDArray[np.bool_]:
        """True where a clip is predicted correctly, shape (N,)."""
        correct: NDArray[np.bool_] = self.labels == self.predicted
        return correct


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """Figures of trained models on clips that they were not trained on.

    Attributes:
        path: Folder with the files, or None if none was requested.
        runs: Run folders of the models; the probabilities of several are averaged.
        data: The store or features tested on.
        classes: K names.
        num_clips: N.
        left_out: Clips that were not tested.
        scores: Accuracy and macro figures.
        mean_average_precision: Mean over the classes of the tested clips, where a run learned clips
            with several labels; accuracies then count the label with the highest logit.
        interval: 95 % bootstrap interval of top-1.
        interval_over: What was drawn for it: "clips" or "groups".
        calibration: Reliability curve and expected calibration error.
        per_class: Figures of each class.
        client_top1: Accuracy on the clips that a client's own model predicted, by client.
        clips: Each tested clip.
    """

    path: Path | None
    runs: list[str]
    data: str
    classes: list[str]
    num_clips: int
    left_out: LeftOut
    scores: Scores
    interval: tuple[float, float]
    interval_over: str
    calibration: Calibration
    per_class: list[ClassFigures]
    client_top1: Mapping[int, float]
    clips: TestedClips
    mean_average_precision: float | None = None

    def to_json(self) -> dict[str, object]:
        """Return all figures as JSON values; the clips are left to predictions.parquet."""
        return {
            "runs": self.runs,
            "data": self.data,
            "out": None if self.path is None else str(self.path),
            "num_clips": self.num_clips,
            "num_of_other_splits": self.left_out.num_of_other_splits,
            "num_seen": self.left_out.num_seen,
            "num_unlabeled": self.left_out.num_unlabeled,
            "other_classes": dict(self.left_out.other_classes),
            **self.scores.fractions(),
            **(
                {}
                if self.mean_average_precision is None
                else {"mean_average_precision": self.mean_average_precision}
            ),
            "top1_interval": list(self.interval),
            "interval_over": self.interval_over,
            "chance": 1 / len(self.classes),
            "calibration_error": self.calibration.error,
            "reliability": [asdict(one) for one in self.calibration.bins],
            "classes": [asdict(one) for one in self.per_class],
            "client_top1": {str(client): top1 for client, top1 in self.client_top1.items()},
        }
