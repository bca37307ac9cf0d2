"""Who holds which rows, where clients hold different shares of the classes."""

import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kinestore.federated.partition import beta_bernoulli, by_classes, client_dirichlet, dirichlet
from kinestore.store import UsageError

Parts = list[NDArray[np.int64]]

SEEDS = (0, 1, 2, 3, 4)
LABELS = np.repeat(np.arange(8), [40, 80, 40, 60, 50, 70, 40, 100])


def counts(parts: Parts, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows by client and class."""
    classes = np.unique(labels)
    return np.array([[int((labels[part] == name).sum()) for name in classes] for part in parts])


def assert_is_a_partition(parts: Parts, num_rows: int, *, of_all: bool = True) -> None:
    assigned = np.concatenate(parts)
    assert all(len(part) and np.all(np.diff(part) > 0) for part in parts)
    assert len(set(assigned.tolist())) == len(assigned) and assigned.max() < num_rows
    assert not of_all or len(assigned) == num_rows


@settings(deadline=None, max_examples=50)
@given(
    labels=st.lists(st.integers(0, 5), min_size=1, max_size=80),
    num_clients=st.integers(1, 6),
    alpha=st.sampled_from([0.01, 0.3, 1.0, 100.0]),
    seed=st.integers(0, 99),
)
def test_every_row_has_one_client(
    labels: list[int], num_clients: int, alpha: float, seed: int
) -> None:
    array = np.array(labels)
    partitions: list[Callable[[], Parts]] = [
        lambda: client_dirichlet(array, num_clients, alpha=alpha, seed=seed),
        lambda: by_classes(array, num_clients, seed=seed),
        lambda: by_classes(array, num_clients, classes_per_client=len(set(labels)), seed=seed),
        lambda: beta_bernoulli(array, num_clients, seed=seed),
    ]
    for partition in partitions:
        try:
            parts = partition()
        except UsageError:
            continue
        assert len(parts) == num_clients
        assert_is_a_partition(parts, len(labels), of_all=partition in partitions[1:3])


@pytest.mark.parametrize("seed", SEEDS)
def test_dirichlet_skews_a_class_and_leaves_every_client_enough(seed: int) -> None:
    for alpha, skewed in [(0.1, True), (1e4, False)]:
        parts = dirichlet(LABELS, 4, alpha=alpha, seed=seed)
        assert_is_a_partition(parts, len(LABELS))
        assert min(map(len, parts)) >= 10
        largest = (counts(parts, LABELS) / counts(parts, LABELS).sum(0)).max(0)
        assert (largest.mean() > 0.7) == skewed
    # a client stops taking at an even share, so it has no more than that and one class besides
    assert max(map(len, dirichlet(LABELS, 4, alpha=0.1, seed=seed))) <= 120 + 100


@pytest.mark.parametrize("seed", SEEDS)
def test_classes_are_disjoint_groups_or_so_many_a_client(seed: int) -> None:
    held = counts(by_classes(LABELS, 3, seed=seed), LABELS) > 0
    assert (held.sum(0) == 1).all() and sorted(held.sum(1)) == [2, 3, 3]
    shared = counts(by_classes(LABELS, 5, classes_per_client=3, seed=seed), LABELS)
    assert ((shared > 0).sum(1) == 3).all()
    holders = (shared > 0).sum(0)
    assert holders.max() - holders.min() <= 1
    for column in shared.T:
        assert np.ptp(column[column > 0]) <= 1


@pytest.mark.parametrize("seed", SEEDS)
def test_beta_bernoulli_gives_a_base_to_all_and_even_quotas_to_takers(seed: int) -> None:
    labels = np.repeat(np.arange(8), [40, 80, 44, 60, 50, 70, 41, 100])
    for num_clients in (2, 4, 10):
        parts = beta_bernoulli(labels, num_clients, seed=seed)
        assert_is_a_partition(parts, len(labels), of_all=False)
        held = counts(parts, labels)
        assert held.min() >= 2  # half of forty, over ten clients
        for column in held.T:
            quotas = column[column > 2] - 2
            assert not len(quotas) or quotas.max() - quotas.min() <= 1 or 0 in quotas


def test_the_share_of_extra_rows_has_the_mean_of_its_distribution() -> None:
    labels = np.zeros(1000, np.int64)
    for a, b in [(2, 2), (1, 3)]:
        used = [
            sum(map(len, beta_bernoulli(labels, 4, a=a, b=b, seed=seed))) for seed in range(300)
        ]
        extra = (np.array(used) - 200) / 800  # the base is 50 for each of four
        error = np.sqrt(a * b / ((a + b) ** 2 * (a + b + 1)) / 300)
        assert abs(extra.mean() - a / (a + b)) < 3 * error


def test_a_certain_taker_takes_and_nobody_wanting_one_is_picked() -> None:
    labels = np.zeros(1000, np.int64)
    sizes = [len(part) for part in beta_bernoulli(labels, 4, taking=1, seed=0)]
    assert max(sizes) - min(sizes) <= 1 and min(sizes) > 50
    alone = sorted(len(part) for part in beta_bernoulli(labels, 4, taking=0, seed=0))
    assert alone[:3] == [50, 50, 50] and alone[3] > 50


def test_the_seed_decides_the_partition() -> None:
    partitions: list[Callable[[int], Parts]] = [
        lambda seed: dirichlet(LABELS, 4, alpha=0.5, seed=seed),
        lambda seed: client_dirichlet(LABELS, 4, alpha=0.5, seed=seed),
        lambda seed: by_classes(LABELS, 4, seed=seed),
        lambda seed: beta_bernoulli(LABELS, 4, seed=seed),
    ]
    for partition in partitions:
        first, again, other = ([part.tolist() for part in partition(seed)] for seed in (0, 0, 1))
        assert first == again != other


@pytest.mark.parametrize(
    ("partition", "message"),
    [
        (lambda: dirichlet(LABELS, 4, alpha=1e300, seed=0), "alpha=1e\\+300: must be from 1e-09"),
        (lambda: client_dirichlet(LABELS, 4, alpha=1e-320, seed=0), "must be from 1e-09 to 1e"),
        (lambda: beta_bernoulli(LABELS, 4, a=np.inf, seed=0), "a=inf: must be from 1e-09"),
        (lambda: dirichlet(LABELS, 4, alpha=0, seed=0), "alpha=0: must be from 1e-09 to 1e\\+09"),
        (lambda: dirichlet(LABELS, 0, alpha=1, seed=0), "num_clients=0: must be from 1 to 480"),
        (
            lambda: dirichlet(np.zeros(8, np.int64), 8, alpha=0.01, seed=0),
            "alpha=0.01: cannot give each of 8 clients 1 rows of 8: in 1?[0-9]+ draws",
        ),
        (
            lambda: client_dirichlet(LABELS, 4, alpha=np.nan, seed=0),
            "alpha=nan: must be from 1e-09",
        ),
        (lambda: by_classes(LABELS, 9, seed=0), "num_clients=9: must be 8 or fewer, the number"),
        (
            lambda: by_classes(LABELS, 3, classes_per_client=2, seed=0),
            "classes_per_client=2: must be from 3 to 8, for 3 clients to hold all 8 classes",
        ),
        (
            lambda: by_classes(np.array([0, 0, 1]), 3, classes_per_client=2, seed=0),
            "labels: class 0 has 2 rows for 3 clients",
        ),
        (lambda: beta_bernoulli(LABELS, 4, b=-1, seed=0), "b=-1: must be from 1e-09"),
        (lambda: beta_bernoulli(LABELS, 4, taking=2, seed=0), "taking=2: must be from 0 to 1"),
        (
            lambda: beta_bernoulli(np.arange(9) % 5, 9, taking=0, seed=0),
            "num_clients=9: client [0-9] got no row of 9; take fewer clients",
        ),
    ],
)
def test_mistakes_are_told(partition: Callable[[], Parts], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        partition()


@pytest.mark.parametrize(
    ("num_classes", "num_rows", "num_clients", "alpha"),
    [
        (10, 1000, 100, 0.1),  # each client 2 of 10 rows, and 61 have fewer on average
        (2, 10_000, 1000, 0.01),
        (10, 1000, 100, 1e-9),  # a class is one client's: ten have rows
        (50, 20_000, 1000, 0.05),
        (1, 100, 30, 0.2),
    ],
)
def test_a_partition_that_cannot_be_is_refused_at_once(
    num_classes: int, num_rows: int, num_clients: int, alpha: float
) -> None:
    labels = np.arange(num_rows) % num_classes
    started = time.process_time()
    with pytest.raises(UsageError, match=r"take a larger alpha or fewer clients"):
        dirichlet(labels, num_clients, alpha=alpha, seed=0)
    assert time.process_time() - started < 10  # two seconds at most when idle; it was minutes


@pytest.mark.parametrize("alpha", [1e-9, 1e9])
def test_the_ends_of_the_range_give_partitions_or_a_sentence(alpha: float) -> None:
    partitions: list[Callable[[], Parts]] = [
        lambda: client_dirichlet(LABELS, 4, alpha=alpha, seed=0),
        lambda: beta_bernoulli(LABELS, 4, a=alpha, b=alpha, seed=0),
        lambda: dirichlet(LABELS, 4, alpha=alpha, seed=0),
    ]
    for partition in partitions:
        try:
            parts = partition()
        except UsageError:
            continue
        assert_is_a_partition(parts, len(LABELS), of_all=partition is partitions[2])
