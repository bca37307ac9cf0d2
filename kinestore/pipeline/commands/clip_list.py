"""Read a list of clips from a .csv file, such as the explorer's selection writes."""

import csv
from pathlib import Path

from kinestore.pipeline.spreadsheet import cell_text
from kinestore.store import UsageError
from kinestore.store.io.addresses import local_path

MAX_CLIPS = 50_000_000


def read_clip_list(path: str | Path) -> list[str]:
    """Return the values of the column `clip_id` of a .csv file, in order, each once.

    Raises:
        UsageError: If the file cannot be read, has no such column, or lists no clip.
    """
    ids: dict[str, None] = {}
    try:
        with local_path(path).open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle, strict=True)
            columns = reader.fieldnames or []
            if "clip_id" not in columns:
                listed = ", ".join(columns) or "none"
                raise UsageError(f"{path}: has no column 'clip_id' (its columns are: {listed})")
            for number, row in enumerate(reader, start=2):
                if not row["clip_id"]:
                    raise UsageError(f"{path}: row {number} has no clip_id")
                ids[cell_text(row["clip_id"])] = None
                if len(ids) > MAX_CLIPS:
                    raise UsageError(f"{path}: lists more than {MAX_CLIPS:,} clips")
    except (OSError, UnicodeError, csv.Error) as error:
        raise UsageError(f"{path}: cannot be read as a list of clips ({error})") from error
    if not ids:
        raise UsageError(f"{path}: lists no clip; select some first")
    return list(ids)
