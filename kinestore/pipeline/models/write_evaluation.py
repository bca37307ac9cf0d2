"""The folder of an evaluation.

evaluation.json       figures
predictions.parquet   clip_id, path, group, label, predicted, confidence, client: by clip_id
per_class.csv         class, clips, precision, recall, f1
confusion.png, reliability.png
"""

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kinestore.pipeline.json_text import json_text
from kinestore.pipeline.models.evaluation import Evaluation
from kinestore.pipeline.plotting.reliability import draw_reliability
from kinestore.pipeline.plotting.run_charts import draw_confusion
from kinestore.pipeline.spreadsheet import text_cell
from kinestore.store import UsageError
from kinestore.store.io.addresses import local_path
from kinestore.store.io.atomic import write_text, written_whole

EVALUATION = "evaluation.json"

_TABLE = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("group", pa.string()),
        pa.field("label", pa.string(), nullable=False),
        pa.field("predicted", pa.string(), nullable=False),
        pa.field("confidence", pa.float32(), nullable=False),
        pa.field("client", pa.int32()),
    ]
)


def check_folder(out: str | Path) -> Path:
    """Return the folder, which must be absent, empty or an earlier evaluation.

    Raises:
        UsageError: If something else is there.
    """
    path = local_path(out)
    if path.exists() and not path.is_dir():
        raise UsageError(f"out={path}: is a file; name a folder")
    if path.is_dir() and any(path.iterdir()) and not (path / EVALUATION).exists():
        raise UsageError(
            f"out={path}: holds something that is no evaluation; name a new or empty folder"
        )
    return path


def write_evaluation(folder: Path, result: Evaluation) -> None:
    """Write the files; evaluation.json comes last, so that a folder without it is unfinished."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / EVALUATION).unlink(missing_ok=True)
    with written_whole(folder / "predictions.parquet") as unfinished:
        pq.write_table(_table(result), unfinished)
    with written_whole(folder / "per_class.csv") as unfinished:
        _write_per_class(unfinished, result)
    draw_confusion(folder / "confusion.png", result.scores.confusion, classes=result.classes)
    bins = result.calibration.bins
    draw_reliability(
        folder / "reliability.png",
        edges=np.array([bins[0].low, *(one.high for one in bins)]),
        accuracy=np.array([np.nan if one.accuracy is None else one.accuracy for one in bins]),
        counts=np.array([one.num_clips for one in bins]),
        error=result.calibration.error,
    )
    text = json_text(result.to_json(), indent=2, ensure_ascii=False)
    write_text(folder / EVALUATION, text + "\n")


def _table(result: Evaluation) -> pa.Table:
    clips, classes = result.clips, result.classes
    columns = [
        clips.clip_ids,
        clips.uris,
        clips.groups,
        [classes[number] for number in clips.labels],
        [classes[number] for number in clips.predicted],
        clips.confidence.astype(np.float32),
        [None if client < 0 else client for client in clips.clients.tolist()],
    ]
    return pa.table(columns, schema=_TABLE)


def _write_per_class(path: Path, result: Evaluation) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["class", "clips", "precision", "recall", "f1"])
        for one in result.per_class:
            rows.writerow([text_cell(one.name), one.num_clips, one.precision, one.recall, one.f1])
