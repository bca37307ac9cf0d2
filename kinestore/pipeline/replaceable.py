"""Which files an output may replace: never an input, or a file that a store or a run needs."""

from pathlib import Path

from kinestore.store import UsageError
from kinestore.store.io.addresses import open_storage
from kinestore.store.marker import STORE_MARKER

_OF_STORES = frozenset({"clips", "views", "frames", "failures", "snapshots", "cache"})

OF_RUNS = frozenset(
    {
        "metrics.csv",
        "client_metrics.csv",
        "predictions.parquet",
        "training_clips.parquet",
        "client_partition.parquet",
        "deal.parquet",
    }
)
"""Tables of a run folder, which later commands read."""


def check_replaceable(out: Path, *, inputs: tuple[str | Path, ...] = ()) -> None:
    """Refuse an output that would take the place of an input, or of a file of a store or run.

    Args:
        out: The file that will be written.
        inputs: Files and folders that the same command reads; addresses are none of these.

    Raises:
        UsageError: If it would; the message names the remedy.
    """
    for one in inputs:
        read = open_storage(one).local_root
        if read is not None and out.exists() and read.exists() and out.samefile(read):
            raise UsageError(f"out={out}: is what the command reads; name another file")
    whole = out.absolute()
    for folder in whole.parents:
        if whole.relative_to(folder).parts[0] in _OF_STORES and (folder / STORE_MARKER).is_file():
            raise UsageError(f"out={out}: is in a folder of the store {folder}; name another")
    if out.name in OF_RUNS and (out.parent / "config.json").is_file() and out.exists():
        raise UsageError(f"out={out}: is a file of the run itself; name another")
