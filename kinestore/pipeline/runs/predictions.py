"""Predictions of a run for every test clip.

predictions.parquet   clip_id, label, predicted, confidence, fold, client: sorted by clip_id

Shape legend: N test clips, K classes.
"""

from collections import Counter
from collections.abc import Hashable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kinestore.pipeline.runs.reader import check_clip_rows, read_table, unusable
from kinestore.store.io.atomic import written_whole

_Key = TypeVar("_Key", bound=Hashable)

PREDICTIONS = "predictions.parquet"

_PREDICTIONS = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("predicted", pa.string(), nullable=False),
        pa.field("confidence", pa.float32(), nullable=False),
        pa.field("fold", pa.string(), nullable=False),
        pa.field("client", pa.int32()),
    ]
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Predictions for test clips; rows are sorted by clip_id, and each clip occurs once.

    Attributes:
        clip_ids: Identity of each clip, length N.
        labels: True class, length N.
        predicted: The class with the highest logit, length N.
        confidence: Softmax probability of that class, float32, shape (N,); 0 where the logits
            were no numbers.
        folds: The fold that tested it, length N.
        clients: The client that it belongs to, or None, length N.
    """

    clip_ids: list[str]
    labels: list[str]
    predicted: list[str]
    confidence: NDArray[np.float32]
    folds: list[str]
    clients: list[int | None]


@dataclass(frozen=True, kw_only=True)
class ClipCount:
    """Number of test clips of a client or a fold, and of those predicted correctly."""

    num_clips: int
    num_right: int

    @property
    def top1(self) -> float | None:
        """The share that is predicted correctly; None without a clip."""
        return self.num_right / self.num_clips if self.num_clips else None


def count_by_fold(predictions: Predictions) -> dict[str, ClipCount]:
    """Return the count of each fold; numbered folds in their order, others by name."""
    parts = _parts(predictions.folds, predictions)
    numbered = all(name.isdecimal() for name in parts)
    order = sorted(parts, key=lambda name: (len(name) if numbered else 0, name))
    return {name: parts[name] for name in order}


def count_by_client(predictions: Predictions, *, num_clients: int) -> list[ClipCount]:
    """Return the count of each client's own test clips."""
    parts = _parts(predictions.clients, predictions)
    nothing = ClipCount(num_clips=0, num_right=0)
    return [parts.get(client, nothing) for client in range(num_clients)]


def _parts(keys: list[_Key], predictions: Predictions) -> dict[_Key, ClipCount]:
    pairs = zip(keys, predictions.labels, predictions.predicted, strict=True)
    right = Counter(key for key, label, predicted in pairs if label == predicted)
    return {
        key: ClipCount(num_clips=num_clips, num_right=right[key])
        for key, num_clips in Counter(keys).items()
    }


def write_predictions(run: Path, predictions: Predictions) -> None:
    """Write predictions.parquet; the same predictions give the same bytes."""
    columns = asdict(predictions).values()
    with written_whole(run / PREDICTIONS) as unfinished:
        pq.write_table(pa.table(list(columns), schema=_PREDICTIONS), unfinished)


def read_predictions(run: str | Path) -> Predictions:
    """Read the predictions of a finished run.

    Raises:
        UsageError: If it is no run, not finished, made before predictions were kept, or the file
            cannot be used.
    """
    table = read_table(run, PREDICTIONS, _PREDICTIONS)
    confidence = table.column("confidence").to_numpy()
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise unusable(run, f"{PREDICTIONS}: a confidence is not from 0 to 1")
    check_clip_rows(run, PREDICTIONS, table)
    clip_ids, labels, predicted, _, folds, clients = table.columns
    return Predictions(
        clip_ids=clip_ids.to_pylist(),
        labels=labels.to_pylist(),
        predicted=predicted.to_pylist(),
        confidence=confidence,
        folds=folds.to_pylist(),
        clients=clients.to_pylist(),
    )
