"""Client partitions with different shares of the classes.

Shape legend: N rows, K classes, C clients.
"""

import numpy as np
from numpy.typing import NDArray

from kinestore.heads.support.seeds import derive_seed
from kinestore.store import UsageError

ClientRows = list[NDArray[np.int64]]
"""Row numbers of each client."""

_LEAST_ROWS = 10
"""Rows that FedML gives each client at least; with few rows, a quarter of an even share."""

_MOST_DRAWS = 2_000

_MOST_WORK, _CLASS_WORK = 200_000_000, 5_000
"""Work of all draws together, about two seconds; and of a class, beside its rows and shares."""

_TRIALS = (10, 30, 100, 300, 1000)
"""Draws after which it is looked at whether another could succeed."""

_SMALLEST, _LARGEST = 1e-9, 1e9
"""Limits of alpha, a and b; beyond them numpy's draws are no numbers."""

_MOST_CLIENTS = 10
"""Largest number of clients that FLAMeST compares."""


def dirichlet(
    labels: NDArray[np.int64], num_clients: int, *, alpha: float, seed: int
) -> ClientRows:
    """Divide each class by shares p ~ Dir(alpha, ..., alpha) over the clients.

    As FedML does it (`fedml_lda`): a client that has N / C rows or more takes none of the next
    class, and all rows are assigned again until each client has 10, or of few rows a quarter of an
    even share. The skew is that of a class: a small alpha gives a class to one client, and a client
    still has several classes.

    Args:
        labels: Class of each row, int64, shape (N,).
        num_clients: C, from 1 to N.
        alpha: From 1e-9 to 1e9; small is skewed, large is even.
        seed: 0 or more.

    Raises:
        UsageError: If an argument is out of range, or no draw leaves every client enough rows.
    """
    check_skew(labels, num_clients, alpha=alpha)
    rng = np.random.default_rng(derive_seed("partition-dirichlet", seed))
    least = max(1, min(_LEAST_ROWS, len(labels) // (4 * num_clients)))
    classes = [np.flatnonzero(labels == name) for name in np.unique(labels)]
    work = len(labels) + len(classes) * (num_clients + _CLASS_WORK)
    most = min(_MOST_DRAWS, max(_TRIALS[0], _MOST_WORK // work))
    short: list[int] = []
    while len(short) < most:
        owners = _assign_classes(classes, num_clients, alpha, rng)
        held = np.bincount(owners, minlength=num_clients)
        short.append(int(np.count_nonzero(held < least)))
        if not short[-1]:
            return rows_by_owner(owners, num_clients)
        if len(short) in _TRIALS and not _may_succeed(short, num_clients):
            break
    raise UsageError(
        f"alpha={alpha}: cannot give each of {num_clients} clients {least} rows of {len(labels)}: "
        f"in {len(short)} draws {np.mean(short):.1f} clients had fewer on average, and "
        f"{min(short)} at least; take a larger alpha or fewer clients"
    )


def _may_succeed(short: list[int], num_clients: int) -> bool:
    """Return whether all clients may have enough rows in one of many draws.

    Clients hinder each other, as rows are limited: all have enough more rarely than if each had by
    itself. A chance below one in a hundred for all draws together is none, nor is one as far from
    the mean as 4.5 standard deviations.

    Args:
        short: Number of clients with too few rows in each draw so far.
        num_clients: C.
    """
    # Three imagined clients with enough rows: few draws prove little.
    share = sum(short) / (len(short) * num_clients + 3)
    is_far = len(short) >= 100 and np.mean(short) > 4.5 * np.std(short)
    return (1 - share) ** num_clients * _MOST_DRAWS > 0.01 and not is_far


def _assign_classes(
    classes: list[NDArray[np.int64]], num_clients: int, alpha: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the client of each row; all rows are the first's if only full clients had shares."""
    num_rows = sum(map(len, classes))
    owners = np.zeros(num_rows, np.int64)
    held = np.zeros(num_clients, np.int64)
    for members in classes:
        rows = rng.permutation(members)
        shares = rng.dirichlet(np.full(num_clients, alpha)) * (held < num_rows / num_clients)
        if not shares.sum() > 0:
            return np.zeros(num_rows, np.int64)
        ends = (np.cumsum(shares / shares.sum()) * len(rows)).astype(np.int64)[:-1]
        sizes = np.diff(ends, prepend=0, append=len(rows))
        owners[rows] = np.repeat(np.arange(num_clients), sizes)
        held += sizes
    return owners


def by_classes(
    labels: NDArray[np.int64],
    num_clients: int,
    *,
    classes_per_client: int | None = None,
    seed: int,
) -> ClientRows:
    """Give each client only some of the classes.

    Args:
        labels: Class of each row, int64, shape (N,), of K classes.
        num_clients: C, from 1 to N.
        classes_per_client: Classes that each client has, from K / C to K; every class goes to as
            many clients as any other, give or take one, and its rows are shared evenly. None
            gives disjoint groups of classes, as even as can be; then C must not be above K.
        seed: 0 or more; decides which classes and rows.

    Raises:
        UsageError: If an argument is out of range, or a class has fewer rows than clients.
    """
    check_skew(labels, num_clients)
    names = np.unique(labels)
    rng = np.random.default_rng(derive_seed("partition-classes", seed))
    order = rng.permutation(len(names))
    if classes_per_client is None:
        if num_clients > len(names):
            raise UsageError(
                f"num_clients={num_clients}: must be {len(names)} or fewer, the number of classes"
            )
        groups = np.array_split(order, num_clients)
    else:
        fewest = -(-len(names) // num_clients)
        if not fewest <= classes_per_client <= len(names):
            raise UsageError(
                f"classes_per_client={classes_per_client}: must be from {fewest} to {len(names)}, "
                f"for {num_clients} clients to hold all {len(names)} classes"
            )
        groups = list(np.resize(order, (num_clients, classes_per_client)))
    owners = np.zeros(len(labels), np.int64)
    for number, name in enumerate(names):
        holders = [client for client, group in enumerate(groups) if number in group]
        rows = rng.permutation(np.flatnonzero(labels == name))
        if len(rows) < len(holders):
            raise UsageError(
                f"labels: class {name} has {len(rows)} rows for {len(holders)} clients; take fewer "
                "classes per client"
            )
        for client, some in zip(holders, np.array_split(rows, len(holders)), strict=True):
            owners[some] = client
    return rows_by_owner(owners, num_clients)


def beta_bernoulli(
    labels: NDArray[np.int64],
    num_clients: int,
    *,
    a: float = 2.0,
    b: float = 2.0,
    taking: float = 0.5,
    seed: int,
) -> ClientRows:
    """Give each client an equal base of every class, and some clients more of it.

    Of the rows of a class beyond the base, a share rho ~ Beta(a, b) is divided evenly among the
    clients that take part: each does with probability `taking`, and one is picked if none does. The
    other rows of the class are not used, so that the parts together are not all rows. Source:
    FLAMeST (Federated Multimodal Fusion for Action Recognition), A.4, whose equations are lost; our
    reading. The base is half the smallest class over 10 clients, or over C where there are more:
    the same for every number of clients that the paper compares. It is one row at least, where
    there are enough.

    Args:
        labels: Class of each row, int64, shape (N,).
        num_clients: C, from 1 to N.
        a: From 1e-9 to 1e9; the share is a / (a + b) on average.
        b: From 1e-9 to 1e9.
        taking: Probability, from 0 to 1.
        seed: 0 or more.

    Raises:
        UsageError: If an argument is out of range, or a client gets no row.
    """
    check_skew(labels, num_clients, a=a, b=b)
    if not 0 <= taking <= 1:
        raise UsageError(f"taking={taking}: must be from 0 to 1")
    rng = np.random.default_rng(derive_seed("partition-beta-bernoulli", seed))
    names, counts = np.unique(labels, return_counts=True)
    base = int(counts.min() // (2 * max(num_clients, _MOST_CLIENTS)))
    base = max(base, int(counts.min() >= num_clients))
    owners = np.full(len(labels), -1)
    for name in names:
        rows = rng.permutation(np.flatnonzero(labels == name))
        given, extra = np.split(rows, [base * num_clients])
        owners[given] = np.repeat(np.arange(num_clients), base)
        takers = np.flatnonzero(rng.random(num_clients) < taking)
        if not len(takers):
            takers = rng.integers(num_clients, size=1)
        taken = extra[: round(rng.beta(a, b) * len(extra))]
        for client, some in zip(
            rng.permutation(takers), np.array_split(taken, len(takers)), strict=True
        ):
            owners[some] = client
    parts = rows_by_owner(owners, num_clients)
    if empty := [client for client, part in enumerate(parts) if not len(part)]:
        raise UsageError(
            f"num_clients={num_clients}: client {empty[0]} got no row of {len(labels)}; take fewer "
            "clients or another seed"
        )
    return parts


def check_skew(labels: NDArray[np.int64], num_clients: int, **positive: float) -> None:
    """Raise UsageError for clients that are none or too many, or a parameter out of range."""
    check_num_clients(num_clients, len(labels))
    for name, value in positive.items():
        if not _SMALLEST <= value <= _LARGEST:
            raise UsageError(f"{name}={value}: must be from {_SMALLEST:g} to {_LARGEST:g}")


def check_num_clients(num_clients: int, num_rows: int) -> None:
    """Raise UsageError if there are no clients, or more than rows."""
    if not 1 <= num_clients <= num_rows:
        raise UsageError(
            f"num_clients={num_clients}: must be from 1 to {num_rows}, the number of rows"
        )


def rows_by_owner(owners: NDArray[np.int64], num_clients: int) -> ClientRows:
    """Return each client's row numbers, from the client of each row; -1 is no client."""
    return [np.flatnonzero(owners == client) for client in range(num_clients)]
