"""Client partitions by quota: every client demands rows of the classes, and may get fewer.

Shape legend: N rows, K classes, C clients.
"""

import numpy as np
from numpy.typing import NDArray

from kinestore.federated._label_skew import ClientRows, check_skew, rows_by_owner
from kinestore.heads.support.seeds import derive_seed
from kinestore.store import UsageError

_MOST_REDRAWS = 100
"""Draws of the shares of clients that are left without a row."""


def client_dirichlet(
    labels: NDArray[np.int64], num_clients: int, *, alpha: float, seed: int
) -> ClientRows:
    """Give each client classes by shares q ~ Dir(alpha * prior), as far as there are rows.

    The prior is the classes' shares of all rows, so that alpha is the total concentration: a small
    one gives a client one class, a large one the prior. Source: Personalized federated learning
    with spatio-temporal differential features, Eq. 8. Our reading of the assignment: every client
    demands N / C rows, by its shares. A class with fewer rows than are demanded is shared in
    proportion to the demands, and nobody gets more than it demanded: sizes differ, and rows that
    no client demanded are not used.

    Args:
        labels: Class of each row, int64, shape (N,).
        num_clients: C, from 1 to N.
        alpha: From 1e-9 to 1e9.
        seed: 0 or more.

    Raises:
        UsageError: If an argument is out of range, or a client has no row in all of 100 draws.
    """
    check_skew(labels, num_clients, alpha=alpha)
    rng = np.random.default_rng(derive_seed("partition-client-dirichlet", seed))
    names, counts = np.unique(labels, return_counts=True)
    concentration = alpha * counts / counts.sum()
    shares = _log_dirichlet(concentration, num_clients, rng)
    for _ in range(1 + _MOST_REDRAWS):
        held = _assign_by_quota(shares * len(labels) / num_clients, counts, rng)
        empty = np.flatnonzero(held.sum(1) == 0)
        if not len(empty):
            break
        shares[empty] = _log_dirichlet(concentration, len(empty), rng)
    else:
        raise UsageError(
            f"alpha={alpha}, seed={seed}: client {empty[0]} of {num_clients} has no row in "
            f"{_MOST_REDRAWS} draws; take a larger alpha, fewer clients or another seed"
        )
    owners = np.full(len(labels), -1)
    for name, sizes in zip(names, held.T, strict=True):
        rows = rng.permutation(np.flatnonzero(labels == name))[: sizes.sum()]
        owners[rows] = np.repeat(np.arange(num_clients), sizes)
    return rows_by_owner(owners, num_clients)


def _log_dirichlet(
    concentration: NDArray[np.float64], num_draws: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw from a Dirichlet distribution by logarithms of gammas: shape (num_draws, K).

    log G(a) = log G(a + 1) + log(U) / a; gammas themselves are all 0 for a small concentration.
    """
    shape = (num_draws, len(concentration))
    gammas = np.log(rng.standard_gamma(concentration + 1, size=shape))
    gammas += np.log1p(-rng.random(shape)) / concentration
    shares: NDArray[np.float64] = np.exp(gammas - gammas.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    return shares


def _assign_by_quota(
    demands: NDArray[np.float64], counts: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the rows that each client gets of each class, from what it demands: shape (C, K)."""
    held = np.zeros(demands.shape, np.int64)
    for column, count in enumerate(counts):
        demanded = demands[:, column].sum()
        exact = demands[:, column] * min(1.0, count / max(demanded, 1e-300))
        total = min(int(count), round(exact.sum()))
        held[:, column] = largest_remainders(exact, total=total, rng=rng)
    return held


def largest_remainders(
    exact: NDArray[np.float64], *, total: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Round shares to whole numbers with a given sum, those with the largest remainders up.

    Args:
        exact: Shares, 0 or more, that add up to the total, or to less than 1 away from it.
        total: Sum of the result.
        rng: Decides between equal remainders.

    Returns:
        int64, shape of `exact`; each is less than 1 away from its share.
    """
    rounded = np.floor(exact + 1e-9).astype(np.int64)
    order = rng.permutation(len(exact))
    largest = order[np.argsort(rounded[order] - exact[order], kind="stable")]
    rounded[largest[: max(0, total - rounded.sum())]] += 1
    return rounded
