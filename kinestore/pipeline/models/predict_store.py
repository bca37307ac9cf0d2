"""Predictions of a trained model for clips, with or without labels, as a table.

Shape legend: N clips, K classes.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kinestore.pipeline.models.clip_logits import ModelInput
from kinestore.pipeline.models.trained_model import load_model
from kinestore.pipeline.replaceable import check_replaceable
from kinestore.pipeline.runs.training_clips import read_training_clips
from kinestore.pipeline.spreadsheet import text_cell
from kinestore.pipeline.training.label_sets import probabilities_of
from kinestore.store import UsageError
from kinestore.store.io.addresses import local_path
from kinestore.store.io.atomic import written_whole

_TABLE = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("predicted", pa.string(), nullable=False),
        pa.field("confidence", pa.float32(), nullable=False),
        pa.field("in_training", pa.bool_(), nullable=False),
    ]
)


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictedClips:
    """Predictions of a run's model, in the order of clip_ids.

    Attributes:
        path: The file, or None if none was requested.
        clip_ids: Identity of each clip, length N.
        uris: Path of each clip's video, length N.
        classes: K names.
        probabilities: Probability of each class, float64, shape (N, K).
        in_training: Whether the model was trained or chosen on a clip, shape (N,).
        several: Whether the classes are predicted one by one; the file then has a column `labels`.
    """

    path: Path | None
    clip_ids: list[str]
    uris: list[str]
    classes: list[str]
    probabilities: NDArray[np.float64]
    in_training: NDArray[np.bool_]
    several: bool = False

    @property
    def predicted(self) -> list[str]:
        """The most probable class of each clip, length N."""
        return [self.classes[best] for best in self.probabilities.argmax(1)]

    @property
    def confidence(self) -> NDArray[np.float32]:
        """Probability of that class, float32, shape (N,)."""
        highest: NDArray[np.float32] = self.probabilities.max(1).astype(np.float32)
        return highest

    @property
    def labels(self) -> list[list[str]]:
        """The classes of each clip with a probability of at least 0.5, length N."""
        likely = self.probabilities >= 0.5
        return [[self.classes[place] for place in np.flatnonzero(row)] for row in likely]

    def to_json(self) -> dict[str, object]:
        """Return the file, the number of clips and how many of them were in training."""
        return {
            "out": None if self.path is None else str(self.path),
            "num_clips": len(self.clip_ids),
            "num_in_training": int(self.in_training.sum()),
            "classes": self.classes,
        }


def predict(
    run: str | Path,
    data: ModelInput,
    *,
    client: int | None = None,
    out: str | Path | None = None,
    device: str = "cpu",
) -> PredictedClips:
    """Predict the class of every clip of a store, with or without a label.

    Args:
        run: A run folder that `train` or `federate` made.
        data: A store, features from `Store.load`, or `kinestore.FrameClips`.
        client: The client whose own model predicts; None takes the common one.
        out: A .parquet or .csv file to write; an existing one is replaced.
        device: "auto" for a GPU if there is one, "cpu" or "cuda"; of networks on frames.

    Raises:
        UsageError: If the run, the clips or the file's name do not fit.
    """
    path = None if out is None else check_table_file(out)
    model = load_model(run, client=client, device=device)
    opened = model.open(data)
    rows = opened.rows
    numbers = np.arange(len(rows.clip_ids))
    seen = read_training_clips(run)
    found = PredictedClips(
        path=path,
        clip_ids=rows.clip_ids,
        uris=rows.uris,
        classes=model.classes,
        probabilities=probabilities_of(
            opened.logits(client, numbers), several=model.several
        ).numpy(),
        several=model.several,
        in_training=np.array([clip in seen for clip in rows.clip_ids], bool),
    )
    if path is not None:
        _write(path, found)
    return found


def check_table_file(out: str | Path, *, inputs: tuple[str | Path, ...] = ()) -> Path:
    """Return the path of a .parquet or .csv file.

    Raises:
        UsageError: If it ends otherwise, is a folder or one of the inputs, or belongs to a run.
    """
    path = local_path(out)
    if path.suffix not in (".parquet", ".csv"):
        raise UsageError(f"out={path}: must end in .parquet or .csv")
    if path.is_dir():
        raise UsageError(f"out={path}: is a folder; name a file")
    check_replaceable(path, inputs=inputs)
    return path


def _write(path: Path, found: PredictedClips) -> None:
    columns = [
        found.clip_ids,
        found.uris,
        found.predicted,
        found.confidence,
        found.in_training,
    ]
    table = pa.table(columns, schema=_TABLE)
    if found.several:
        table = table.append_column("labels", pa.array(map("|".join, found.labels), pa.string()))
    with written_whole(path) as unfinished:
        if path.suffix == ".parquet":
            pq.write_table(table, unfinished)
            return
        with unfinished.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(table.column_names)
            for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
                rows.writerow(text_cell(one) if isinstance(one, str) else one for one in row)
