"""Reading a run folder, with checks of its untrusted files."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from kinestore.pipeline.runs.earlier_names import with_current_names
from kinestore.store import StoreError, UsageError
from kinestore.store.io.addresses import local_path
from kinestore.store.io.local_storage import LocalStorage
from kinestore.store.io.validated_read import read_json, read_part

MAX_FILE_BYTES = 64 << 20
"""Largest size of a file; metrics of 1,000 rounds of 1,000 clients are 16 MB."""

_AGAIN = "give its command again, without --resume"

JOBS = ("train", "federate", "swarm")


def is_run(path: Path) -> bool:
    """Return whether config.json is that of a run; other tools use this name too."""
    try:
        return read_json(LocalStorage(path), "config.json").get("job") in JOBS
    except (OSError, StoreError):
        return False


def read_config(run: str | Path) -> dict[str, object]:
    """Read config.json of a finished run.

    Raises:
        UsageError: If it is not a run, or not finished.
    """
    path = local_path(run)
    if not is_run(path):
        raise _no_run(path)
    if not (path / "summary.json").exists():
        raise UsageError(f"run={path}: is not finished; give its command again, and wait")
    return with_current_names(read_json(LocalStorage(path), "config.json"))


def _no_run(path: Path) -> UsageError:
    try:
        if path.is_dir():
            read_json(LocalStorage(path), "config.json")
    except StoreError as error:
        return UsageError(f"run={path}: cannot be used ({error}); train again with another out")
    except OSError:
        pass
    return UsageError(
        f"run={path}: is no run folder; name one that `kinestore train`, `federate` or `swarm` made"
    )


def stand_in_columns(run: str | Path) -> dict[str, str]:
    """Return the columns that stood in for "label" and "group" in a finished run.

    Raises:
        UsageError: If it is no finished run, or config.json was changed.
    """
    entry = read_config(run).get("columns", {})
    if not isinstance(entry, dict) or not entry.keys() <= {"label", "group"}:
        raise unusable(run, f"config.json: columns={entry!r}")
    return {name: str(column) for name, column in entry.items()}


def read_object(run: str | Path, name: str) -> dict[str, object]:
    """Read a JSON object of a finished run.

    Raises:
        UsageError: If it is no finished run, or the file is absent or cannot be used.
    """
    read_config(run)
    try:
        return read_json(LocalStorage(local_path(run)), name, max_bytes=MAX_FILE_BYTES)
    except FileNotFoundError:
        raise missing_file(run, name) from None
    except StoreError as error:
        raise unusable(run, error) from None


def read_table(run: str | Path, name: str, schema: pa.Schema) -> pa.Table:
    """Read these columns of a Parquet file of a finished run.

    Raises:
        UsageError: If it is no finished run, or the file is absent or cannot be used.
    """
    read_config(run)
    if not (local_path(run) / name).exists():
        raise missing_file(run, name)
    try:
        return read_part(LocalStorage(local_path(run)), name, schema, schema.names)
    except StoreError as error:
        raise unusable(run, error) from None


def missing_file(run: str | Path, name: str) -> UsageError:
    """Return the error for a file that runs of earlier versions do not have."""
    return UsageError(f"run={run}: has no {name}, as an earlier version left it; {_AGAIN}")


def unusable(run: str | Path, why: object) -> UsageError:
    """Return the error for a file that was changed or is broken."""
    return UsageError(f"run={run}: cannot be used ({why}); {_AGAIN}")


def check_clip_rows(run: str | Path, name: str, table: pa.Table) -> None:
    """Raise UsageError if a clip occurs twice in the file, or a client's number is below 0."""
    clip_ids, clients = table.column("clip_id"), table.column("client")
    repeated = len(table) - pc.count_distinct(clip_ids).as_py()
    if repeated:
        raise unusable(run, f"{name}: has {repeated} rows of a clip that it has already")
    if (pc.min(clients).as_py() or 0) < 0:
        raise unusable(run, f"{name}: a client has a number below 0")
