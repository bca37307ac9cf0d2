"""The clips that a run's saved model was trained on, so that no test uses them by mistake.

training_clips.parquet   clip_id, part ("train" or "validation"): sorted by clip_id
"""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from kinestore.pipeline.runs.reader import read_table
from kinestore.store.io.atomic import written_whole

TRAINING_CLIPS = "training_clips.parquet"

_SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("part", pa.string(), nullable=False),
    ]
)


def write_training_clips(run: Path, train: Iterable[str], validation: Iterable[str] = ()) -> None:
    """Write training_clips.parquet; a clip that chose the best epoch counts as seen too."""
    rows = sorted(
        [(clip, "train") for clip in train] + [(clip, "validation") for clip in validation]
    )
    columns = [[row[place] for row in rows] for place in range(2)]
    with written_whole(run / TRAINING_CLIPS) as unfinished:
        pq.write_table(pa.table(columns, schema=_SCHEMA), unfinished)


def read_training_clips(run: str | Path) -> set[str]:
    """Return the clips, by clip_id, that a finished run's model was trained or chosen on.

    Raises:
        UsageError: If it is no finished run, was made before they were kept, or the file cannot
            be used.
    """
    return set(read_table(run, TRAINING_CLIPS, _SCHEMA).column("clip_id").to_pylist())
