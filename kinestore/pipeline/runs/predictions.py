"""What a run said of every scored clip, and which client held which clip.

predictions.parquet   clip_id, label, predicted, confidence, fold, client: a row a scored clip
deal.parquet          clip_id, client, label: the fitted clips of a federated run's saved model

Both are sorted by clip_id. Shape legend: N scored clips, K classes.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kinestore.pipeline.runs.reader import read_config, read_table, unusable
from kinestore.store import Features, UsageError

if TYPE_CHECKING:
    pass

_Key = TypeVar("_Key", bound=Hashable)

PREDICTIONS = "predictions.parquet"
DEAL = "deal.parquet"

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
_DEAL = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("client", pa.int32(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What was said of each scored clip; rows are ordered by clip_id, each of which is there once.

    Attributes:
        clip_ids: Identity of each clip, length N.
        labels: Its class, length N.
        predicted: The class with the highest logit, length N.
        confidence: Softmax probability of that class, float32, shape (N,); 0 where the logits
            were no numbers.
        folds: The fold that scored it, length N.
        clients: The client whose part it belongs to, or None, length N.
    """

    clip_ids: list[str]
    labels: list[str]
    predicted: list[str]
    confidence: NDArray[np.float32]
    folds: list[str]
    clients: list[int | None]


@dataclass(frozen=True, kw_only=True)
class Part:
    """The scored clips of a client or a fold."""

    num_clips: int
    num_right: int

    @property
    def top1(self) -> float | None:
        """The share that is named rightly; None without a clip."""
        return self.num_right / self.num_clips if self.num_clips else None


def by_fold(told: Predictions) -> dict[str, Part]:
    """Each fold's clips; folds that are numbers in their order, others by name."""
    parts = _parts(told.folds, told)
    numbered = all(name.isdecimal() for name in parts)
    order = sorted(parts, key=lambda name: (len(name) if numbered else 0, name))
    return {name: parts[name] for name in order}


def by_client(told: Predictions, *, num_clients: int) -> list[Part]:
    """Each client's own scored clips."""
    parts = _parts(told.clients, told)
    nothing = Part(num_clips=0, num_right=0)
    return [parts.get(client, nothing) for client in range(num_clients)]


def _parts(keys: list[_Key], told: Predictions) -> dict[_Key, Part]:
    pairs = zip(keys, told.labels, told.predicted, strict=True)
    right = Counter(key for key, label, predicted in pairs if label == predicted)
    return {
        key: Part(num_clips=num_clips, num_right=right[key])
        for key, num_clips in Counter(keys).items()
    }


def write_predictions(run: Path, predictions: Predictions) -> None:
    """Write predictions.parquet; the same predictions give the same bytes."""
    columns = asdict(predictions).values()
    pq.write_table(pa.table(list(columns), schema=_PREDICTIONS), run / PREDICTIONS)


def write_deal(run: Path, features: Features, parts: Sequence[NDArray[np.int64]]) -> None:
    """Write deal.parquet.

    Args:
        run: The run folder.
        features: Labelled rows.
        parts: Each client's rows, as numbers into them.
    """
    held = sorted(
        (features.clip_ids[row], client, features.classes[features.labels[row]])
        for client, part in enumerate(parts)
        for row in part
    )
    columns = [list(column) for column in zip(*held, strict=True)]
    pq.write_table(pa.table(columns, schema=_DEAL), run / DEAL)


def read_predictions(run: str | Path) -> Predictions:
    """What a finished run said of every scored clip.

    Raises:
        UsageError: If it is no run, not finished, made before predictions were kept, or the file
            cannot be used.
    """
    table = read_table(run, PREDICTIONS, _PREDICTIONS)
    confidence = table.column("confidence").to_numpy()
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise unusable(run, f"{PREDICTIONS}: a confidence is not from 0 to 1")
    _check_clips(run, PREDICTIONS, table)
    clip_ids, labels, predicted, _, folds, clients = table.columns
    return Predictions(
        clip_ids=clip_ids.to_pylist(),
        labels=labels.to_pylist(),
        predicted=predicted.to_pylist(),
        confidence=confidence,
        folds=folds.to_pylist(),
        clients=clients.to_pylist(),
    )


def read_deal(run: str | Path) -> dict[str, int]:
    """The client of each fitted clip of a finished federated run, by clip_id.

    Raises:
        UsageError: If it is not federated, or as `read_predictions` does.
    """
    clip_ids, clients, _ = _read_deal(run).columns
    return dict(zip(clip_ids.to_pylist(), clients.to_pylist(), strict=True))


def read_partition(run: str | Path) -> Counter[tuple[int, str]]:
    """How many fitted clips of a class a client holds, by client and class; as `read_deal`."""
    _, clients, labels = _read_deal(run).columns
    return Counter(zip(clients.to_pylist(), labels.to_pylist(), strict=True))


def _read_deal(run: str | Path) -> pa.Table:
    if read_config(run)["job"] != "federate":
        raise UsageError(
            f"run={Path(run)}: is not federated and has no clients; name a run that "
            "`kinestore federate` made"
        )
    table = read_table(run, DEAL, _DEAL)
    _check_clips(run, DEAL, table)
    return table


def _check_clips(run: str | Path, name: str, table: pa.Table) -> None:
    """Refuse a clip that is there twice, and a client with a number below 0."""
    clip_ids, clients = table.column("clip_id"), table.column("client")
    repeated = len(table) - pc.count_distinct(clip_ids).as_py()
    if repeated:
        raise unusable(run, f"{name}: has {repeated} rows of a clip that it has already")
    if (pc.min(clients).as_py() or 0) < 0:
        raise unusable(run, f"{name}: a client has a number below 0")
