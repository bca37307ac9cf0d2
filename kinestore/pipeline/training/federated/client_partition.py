"""Client partitions by name, as `--partition` takes them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kinestore.federated import partition as partitions
from kinestore.pipeline.training.folds import check_groups
from kinestore.store import Features, UsageError

PARTITIONS = (
    "iid",
    "group",
    "dirichlet:ALPHA",
    "client-dirichlet:ALPHA",
    "classes",
    "classes:N",
    "beta-bernoulli",
    "beta-bernoulli:A,B",
)
"""Forms of a partition; see `federated.partition`."""


def partition_clips(
    rows: Features, train: NDArray[np.int64], *, clients: int, partition: str, seed: int
) -> list[NDArray[np.int64]]:
    """Assign training rows to clients.

    Args:
        rows: All rows.
        train: Numbers of the rows to assign.
        clients: Number of clients.
        partition: One of `PARTITIONS`, with numbers in place of the capitals.
        seed: 0 or more.

    Returns:
        The numbers of each client's rows.

    Raises:
        UsageError: If the partition cannot be read, or the rows do not allow it.
    """
    labels = rows.labels[train]
    name, _, text = partition.partition(":")
    match name, _numbers(text, partition):
        case "iid", []:
            parts = partitions.iid(labels, clients, seed=seed)
        case "group", []:
            check_groups(rows)
            groups = [rows.groups[row] for row in train]
            parts = partitions.by_group(labels, clients, groups=groups, seed=seed)
        case "dirichlet", [float(alpha)]:
            parts = partitions.dirichlet(labels, clients, alpha=alpha, seed=seed)
        case "client-dirichlet", [float(alpha)]:
            parts = partitions.client_dirichlet(labels, clients, alpha=alpha, seed=seed)
        case "classes", []:
            parts = partitions.by_classes(labels, clients, seed=seed)
        case "classes", [float(count)] if count.is_integer():
            parts = partitions.by_classes(labels, clients, classes_per_client=int(count), seed=seed)
        case "beta-bernoulli", []:
            parts = partitions.beta_bernoulli(labels, clients, seed=seed)
        case "beta-bernoulli", [float(a), float(b)]:
            parts = partitions.beta_bernoulli(labels, clients, a=a, b=b, seed=seed)
        case _:
            raise _unknown(partition)
    return [train[part] for part in parts]


def partition_test_clips(
    rows: Features,
    parts: Sequence[NDArray[np.int64]],
    test: NDArray[np.int64],
    *,
    partition: str,
    seed: int,
) -> list[NDArray[np.int64]]:
    """Assign test rows to clients; some may belong to no client.

    With the partition "group" a row goes with its group; otherwise the rows of each class are
    divided in proportion to the clients' training rows of the class.

    Args:
        rows: All rows.
        parts: Training rows of each client, from `partition_clips`.
        test: Numbers of the test rows.
        partition: As given to `partition_clips`.
        seed: 0 or more.

    Returns:
        Each client's test rows, as numbers into `test`.
    """
    if partition == "group":
        owner = {rows.groups[row]: client for client, part in enumerate(parts) for row in part}
        owners = np.array([owner.get(rows.groups[row], -1) for row in test], dtype=np.int64)
        return [np.flatnonzero(owners == client) for client in range(len(parts))]
    held = [rows.labels[part] for part in parts]
    return partitions.mirror(rows.labels[test], held, seed=seed)


def _numbers(text: str, partition: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",")] if text else []
    except ValueError:
        raise _unknown(partition) from None


def _unknown(partition: str) -> UsageError:
    return UsageError(f"partition={partition!r}: must be one of {', '.join(PARTITIONS)}")
