"""Which clients hold which clips, as `--partition` says it."""

import numpy as np
from numpy.typing import NDArray

from federated import partition as deals
from pipeline.folds import check_groups
from store import Features, UsageError

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


def _numbers(text: str, partition: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",")] if text else []
    except ValueError:
        raise _unknown(partition) from None


def _unknown(partition: str) -> UsageError:
    return UsageError(f"partition={partition!r}: must be one of {', '.join(PARTITIONS)}")
