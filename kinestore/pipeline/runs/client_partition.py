"""The client of each training clip of a federated run's saved model.

client_partition.parquet   clip_id, client, label: sorted by clip_id

Earlier versions called the file deal.parquet; it is still read.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kinestore.pipeline.runs.reader import check_clip_rows, read_config, read_table
from kinestore.store import Features, UsageError
from kinestore.store.io.addresses import local_path
from kinestore.store.io.atomic import written_whole

CLIENT_PARTITION = "client_partition.parquet"
EARLIER_CLIENT_PARTITION = "deal.parquet"

_SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("client", pa.int32(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
    ]
)


def write_client_partition(
    run: Path, features: Features, parts: Mapping[int, NDArray[np.int64]]
) -> None:
    """Write client_partition.parquet.

    Args:
        run: The run folder.
        features: Labeled rows.
        parts: Each client's rows, as numbers into them, by the client's number.
    """
    assigned = sorted(
        (features.clip_ids[row], client, features.classes[features.labels[row]])
        for client, part in parts.items()
        for row in part
    )
    columns = [[row[place] for row in assigned] for place in range(3)]
    with written_whole(run / CLIENT_PARTITION) as unfinished:
        pq.write_table(pa.table(columns, schema=_SCHEMA), unfinished)


def read_client_partition(run: str | Path) -> dict[str, int]:
    """Return the client of each training clip of a finished federated run, by clip_id.

    Raises:
        UsageError: If it is no run, not finished, not federated, or the file cannot be used.
    """
    clip_ids, clients, _ = _read(run).columns
    return dict(zip(clip_ids.to_pylist(), clients.to_pylist(), strict=True))


def count_client_classes(run: str | Path) -> Counter[tuple[int, str]]:
    """Return the number of training clips by client and class; raise as `read_client_partition`."""
    _, clients, labels = _read(run).columns
    return Counter(zip(clients.to_pylist(), labels.to_pylist(), strict=True))


def _read(run: str | Path) -> pa.Table:
    if read_config(run)["job"] != "federate":
        raise UsageError(
            f"run={run}: is not federated and has no clients; name a run that "
            "`kinestore federate` made"
        )
    files = (CLIENT_PARTITION, EARLIER_CLIENT_PARTITION)
    name = next((name for name in files if (local_path(run) / name).exists()), CLIENT_PARTITION)
    table = read_table(run, name, _SCHEMA)
    check_clip_rows(run, name, table)
    return table
