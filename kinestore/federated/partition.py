"""Client partitions: each function assigns rows to clients, reproducibly.

All return one increasing int64 index array for each client: none empty, disjoint, and together
every row, except for `beta_bernoulli` and `client_dirichlet`, which leave some unused, and
`mirror`, which assigns test rows.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kinestore.federated._label_skew import (
    ClientRows,
    beta_bernoulli,
    by_classes,
    check_num_clients,
    dirichlet,
    rows_by_owner,
)
from kinestore.federated._quotas import client_dirichlet, largest_remainders
from kinestore.heads.support.seeds import derive_seed
from kinestore.store import UsageError

__all__ = [
    "beta_bernoulli",
    "by_classes",
    "by_group",
    "client_dirichlet",
    "dirichlet",
    "iid",
    "mirror",
]


def iid(labels: NDArray[np.int64], num_clients: int, *, seed: int) -> ClientRows:
    """Divide every class evenly: sizes differ by one at most, overall and within each class.

    Args:
        labels: Class of each row, int64, shape (N,).
        num_clients: From 1 to N.
        seed: 0 or more; decides who gets which row of a class.
    """
    check_num_clients(num_clients, len(labels))
    rng = np.random.default_rng(derive_seed("partition-iid", seed))
    shuffled = rng.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    order = rng.permutation(num_clients)  # or the first client would always get the larger part
    return [np.sort(by_class[start::num_clients]) for start in order]


def by_group(
    labels: NDArray[np.int64],
    num_clients: int,
    *,
    groups: Sequence[str | None],
    seed: int,
) -> ClientRows:
    """Keep each group whole with one client, as a person's or a camera's clips are.

    With as many clients as groups, client i is the i-th group in sorted order. With fewer, groups
    are assigned the largest first, each to the client that has the fewest rows.

    Args:
        labels: Class of each row, int64, shape (N,); only its length matters here.
        num_clients: From 1 to the number of groups.
        groups: Group of each row, length N, none of them None.
        seed: 0 or more; decides between groups of one size.
    """
    check_num_clients(num_clients, len(labels))
    if len(groups) != len(labels):
        raise UsageError(f"groups: {len(groups)} of them for {len(labels)} rows; give one a row")
    named = [group for group in groups if group is not None]
    if len(named) < len(groups):
        raise UsageError(f"groups: row {list(groups).index(None)} has none; give every row a group")
    sizes = Counter(named)
    if num_clients > len(sizes):
        raise UsageError(
            f"num_clients={num_clients}: must be {len(sizes)} or fewer, the number of groups"
        )
    owner = _assign_groups(sizes, num_clients, seed=seed)
    owners = np.array([owner[group] for group in named])
    return rows_by_owner(owners, num_clients)


def mirror(
    labels: NDArray[np.int64], held: Sequence[NDArray[np.int64]], *, seed: int
) -> ClientRows:
    """Assign other rows in proportion to the rows of each class that each client has already.

    Shares are rounded so that none is off by a row or more; rows of a class that no client has
    are not assigned, and a client may get none.

    Args:
        labels: Class of each row to assign, int64, shape (N,).
        held: Classes of the rows that each client has, one array for each client.
        seed: 0 or more; decides which rows, and between equal remainders.
    """
    rng = np.random.default_rng(derive_seed("partition-mirror", seed))
    owners = np.full(len(labels), -1)
    for name in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == name))
        counts = np.array([np.count_nonzero(mine == name) for mine in held])
        if not counts.sum():
            continue
        exact = counts / counts.sum() * len(rows)
        quota = largest_remainders(exact, total=len(rows), rng=rng)
        owners[rows] = np.repeat(np.arange(len(held)), quota)
    return rows_by_owner(owners, len(held))


def _assign_groups(sizes: Counter[str], num_clients: int, *, seed: int) -> dict[str, int]:
    """Return the client of each group."""
    names = sorted(sizes)
    if num_clients == len(names):
        return {name: client for client, name in enumerate(names)}
    rng = np.random.default_rng(derive_seed("partition-group", seed))
    shuffled = [names[i] for i in rng.permutation(len(names))]
    held = [0] * num_clients
    owner = {}
    for name in sorted(shuffled, key=lambda name: -sizes[name]):
        owner[name] = held.index(min(held))
        held[owner[name]] += sizes[name]
    return owner
