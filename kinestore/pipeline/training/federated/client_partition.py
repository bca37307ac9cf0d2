"""Which clients hold which clips, as `--partition` says it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kinestore.federated import partition as deals
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
"""What a partition may be; see `federated.partition`."""


def deal(
    rows: Features, dealt: NDArray[np.int64], *, clients: int, partition: str, seed: int
) -> list[NDArray[np.int64]]:
    """Each client's rows, as numbers into all rows.

    Args:
        rows: All of them.
        dealt: Numbers of those that clients get.
        clients: How many there are.
        partition: One of `PARTITIONS`, with numbers in the place of capitals.
        seed: 0 or more.

    Raises:
        UsageError: If the partition cannot be read, or the rows do not allow it.
    """
    labels = rows.labels[dealt]
    name, _, text = partition.partition(":")
    match name, _numbers(text, partition):
        case "iid", []:
            parts = deals.iid(labels, clients, seed=seed)
        case "group", []:
            check_groups(rows)
            groups = [rows.groups[row] for row in dealt]
            parts = deals.by_group(labels, clients, groups=groups, seed=seed)
        case "dirichlet", [float(alpha)]:
            parts = deals.dirichlet(labels, clients, alpha=alpha, seed=seed)
        case "client-dirichlet", [float(alpha)]:
            parts = deals.client_dirichlet(labels, clients, alpha=alpha, seed=seed)
        case "classes", []:
            parts = deals.by_classes(labels, clients, seed=seed)
        case "classes", [float(count)] if count.is_integer():
            parts = deals.by_classes(labels, clients, classes_per_client=int(count), seed=seed)
        case "beta-bernoulli", []:
            parts = deals.beta_bernoulli(labels, clients, seed=seed)
        case "beta-bernoulli", [float(a), float(b)]:
            parts = deals.beta_bernoulli(labels, clients, a=a, b=b, seed=seed)
        case _:
            raise _unknown(partition)
    return [dealt[part] for part in parts]


def deal_test(
    rows: Features,
    parts: Sequence[NDArray[np.int64]],
    test: NDArray[np.int64],
    *,
    partition: str,
    seed: int,
) -> list[NDArray[np.int64]]:
    """Each client's own test rows, as numbers into `test`; some may belong to no client.

    Where groups were dealt, a row goes with its group; else each class's rows are shared out as
    the clients hold the class in training.

    Args:
        rows: All of them.
        parts: What `deal` gave.
        test: Numbers of the rows that are scored.
        partition: As `deal` had it.
        seed: 0 or more.
    """
    if partition == "group":
        owner = {rows.groups[row]: client for client, part in enumerate(parts) for row in part}
        owners = np.array([owner.get(rows.groups[row], -1) for row in test], dtype=np.int64)
        return [np.flatnonzero(owners == client) for client in range(len(parts))]
    held = [rows.labels[part] for part in parts]
    return deals.mirror(rows.labels[test], held, seed=seed)


def _numbers(text: str, partition: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",")] if text else []
    except ValueError:
        raise _unknown(partition) from None


def _unknown(partition: str) -> UsageError:
    return UsageError(f"partition={partition!r}: must be one of {', '.join(PARTITIONS)}")
