"""`client_dirichlet`: shares of classes by client, assigned by quota.

Shape legend: C clients, K classes.
"""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kinestore.federated._quotas import _assign_by_quota, _log_dirichlet, largest_remainders
from kinestore.federated.partition import client_dirichlet
from kinestore.store import UsageError

SEEDS = range(20)
UCF101 = np.repeat(np.arange(101), 93)
"""Labels of 101 classes with 93 clips each."""


def counts(parts: list[NDArray[np.int64]], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows by client and class, shape (C, K)."""
    classes = np.unique(labels)
    return np.array([[int((labels[part] == name).sum()) for name in classes] for part in parts])


@cache
def figures(alpha: float) -> tuple[float, float, float, float]:
    """Means over 20 seeds and 20 clients.

    Total variation from the prior, share of the rows used, classes of the median client, and
    classes of a client.
    """
    found = []
    for seed in SEEDS:
        held = counts(client_dirichlet(UCF101, 20, alpha=alpha, seed=seed), UCF101)
        shares = held / held.sum(1, keepdims=True)
        classes = (held > 0).sum(1)
        variation = np.abs(shares - 1 / 101).sum(1).mean() / 2
        found.append((variation, held.sum() / len(UCF101), np.median(classes), classes.mean()))
    variation, used, median, mean = np.mean(found, axis=0).tolist()
    return variation, used, median, mean


@pytest.mark.parametrize(
    ("alpha", "variation", "used", "median"),
    [
        (0.001, 0.990, 0.18, 1),
        (0.5, 0.963, 0.33, 4),
        (1, 0.941, 0.41, 6),
        (10, 0.744, 0.75, 34),
        (100, 0.366, 0.91, 90),
        (500, 0.178, 0.96, 101),
        (1e6, 0.049, 1.00, 101),
    ],
)
def test_skew_and_rows_used_are_those_that_were_measured_for_the_rule(
    alpha: float, variation: float, used: float, median: int
) -> None:
    found = figures(alpha)
    assert found[0] == pytest.approx(variation, abs=0.01)
    assert found[1] == pytest.approx(used, abs=0.03)
    assert found[2] == pytest.approx(median, abs=1)


def test_skew_falls_with_every_larger_alpha() -> None:
    variations = [figures(alpha)[0] for alpha in (0.001, 0.5, 1, 10, 100, 500, 1e6)]
    assert (np.diff(variations) < 0).all()


def test_with_a_tiny_alpha_a_client_has_one_class() -> None:
    assert figures(0.001)[3] <= 1.02


@pytest.mark.parametrize("alpha", [1e-9, 1e-3, 0.7, 30, 1e9])
def test_no_client_gets_a_row_more_than_its_quota_and_parts_are_disjoint(alpha: float) -> None:
    for seed in range(5):
        parts = client_dirichlet(UCF101, 20, alpha=alpha, seed=seed)
        assigned = np.concatenate(parts)
        assert len(set(assigned.tolist())) == len(assigned)
        assert all(len(part) and (np.diff(part) > 0).all() for part in parts)
        held = counts(parts, UCF101)
        assert held.max() <= 93  # a class is never assigned twice
        # each of 101 classes may be rounded up by less than one row
        assert held.sum(1).max() < len(UCF101) / 20 + 101


@pytest.mark.parametrize("seed", SEEDS)
def test_with_a_huge_alpha_all_rows_are_used_and_classes_are_the_prior(seed: int) -> None:
    labels = np.repeat(np.arange(8), [40, 80, 40, 60, 50, 70, 40, 100])
    held = counts(client_dirichlet(labels, 7, alpha=1e9, seed=seed), labels)
    assert held.sum() == len(labels)
    assert np.abs(held - np.bincount(labels) / 7).max() < 1 + 0.05  # shares vary by 1 in 10,000


def test_two_clients_with_one_class_between_them_share_it() -> None:
    labels = np.repeat([0, 1], 500)
    seen = set()
    for seed in SEEDS:
        held = counts(client_dirichlet(labels, 2, alpha=1e-9, seed=seed), labels)
        # each demands 500: one class each, or 250 each of one class and none of the other
        assert held.tolist() in (
            [[500, 0], [0, 500]],
            [[0, 500], [500, 0]],
            [[250, 0], [250, 0]],
            [[0, 250], [0, 250]],
        )
        seen.add(int(held.max()))
    assert seen == {250, 500}


def test_a_class_is_shared_in_proportion_to_demands_and_the_rest_stays_unused() -> None:
    # Class 0: 30 + 10 + 0 demanded of 20, so a half of each: 15, 5, 0.
    # Class 1: 2.6 + 1.4 + 3 = 7 of 50: 2, 1, 3 and one more for the remainder .6: 3, 1, 3.
    # Class 2: demanded by nobody.
    demands = np.array([[30, 2.6, 0], [10, 1.4, 0], [0, 3, 0]])
    assigned = _assign_by_quota(demands, np.array([20, 50, 9]), np.random.default_rng(0))
    assert assigned.tolist() == [[15, 3, 0], [5, 1, 0], [0, 3, 0]]


def test_equal_remainders_are_decided_by_the_generator_alone() -> None:
    exact = np.full(4, 0.5)
    seen = {
        tuple(largest_remainders(exact, total=2, rng=np.random.default_rng(seed)).tolist())
        for seed in range(40)
    }
    assert len(seen) == 6 and {sum(one) for one in seen} == {2}


@pytest.mark.parametrize("concentration", [1e-12, 1e-5, 0.3, 4.0, 1e7])
def test_shares_are_numbers_and_have_the_mean_of_their_distribution(concentration: float) -> None:
    ratios = np.array([1.0, 2.0, 5.0])
    drawn = _log_dirichlet(concentration * ratios, 20_000, np.random.default_rng(0))
    assert np.isfinite(drawn).all() and np.allclose(drawn.sum(1), 1)
    prior = ratios / 8
    deviation = np.sqrt(prior * (1 - prior) / (8 * concentration + 1))  # of a Dirichlet's share
    assert (np.abs(drawn.mean(0) - prior) < 4.5 * deviation / np.sqrt(20_000) + 1e-9).all()
    assert drawn.std(0) == pytest.approx(deviation, rel=0.06)


@settings(deadline=None, max_examples=60)
@given(
    labels=st.lists(st.integers(0, 9), min_size=1, max_size=60),
    num_clients=st.integers(1, 60),
    alpha=st.sampled_from([1e-9, 0.01, 1.0, 100.0, 1e9]),
    seed=st.integers(0, 99),
)
def test_any_labels_are_assigned_to_all_clients_or_refused(
    labels: list[int], num_clients: int, alpha: float, seed: int
) -> None:
    array = np.array(labels)
    try:
        parts = client_dirichlet(array, num_clients, alpha=alpha, seed=seed)
    except UsageError:
        return
    assigned = np.concatenate(parts).tolist()
    assert len(parts) == num_clients and all(map(len, parts))
    assert len(set(assigned)) == len(assigned)


def test_a_client_without_a_row_gets_other_shares() -> None:
    # Two of four clients often demand the class with a single row: the shares of the one that
    # gets none of it are drawn again.
    labels = np.array([0, *[1] * 12])
    for seed in range(50):
        assert all(map(len, client_dirichlet(labels, 4, alpha=0.05, seed=seed)))


def test_a_client_that_finds_no_row_in_a_hundred_draws_is_refused_by_name() -> None:
    with pytest.raises(
        UsageError, match=r"alpha=1e-09, seed=3: client \d+ of 200 has no row in 100"
    ):
        client_dirichlet(np.arange(200), 200, alpha=1e-9, seed=3)
