"""Who holds which rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kinestore.federated.partition import by_group, iid, mirror
from kinestore.store import UsageError

Parts = list[NDArray[np.int64]]


def assert_deals_every_row_once(parts: Parts, num_rows: int) -> None:
    assert all(len(part) for part in parts)
    assert all(np.all(np.diff(part) > 0) for part in parts)
    assert sorted(np.concatenate(parts).tolist()) == list(range(num_rows))


@settings(deadline=None)
@given(data=st.data(), labels=st.lists(st.integers(-1, 4), min_size=1, max_size=60))
def test_iid_sizes_differ_by_one_at_most_overall_and_in_each_class(
    data: st.DataObject, labels: list[int]
) -> None:
    num_clients = data.draw(st.integers(1, len(labels)))
    array = np.array(labels)
    parts = iid(array, num_clients, seed=data.draw(st.integers(0, 99)))
    assert len(parts) == num_clients
    assert_deals_every_row_once(parts, len(labels))
    for wanted in [np.ones(len(labels), bool), *(array == label for label in set(labels))]:
        counts = [int(wanted[part].sum()) for part in parts]
        assert max(counts) - min(counts) <= 1


@settings(deadline=None)
@given(data=st.data(), groups=st.lists(st.sampled_from("abcdef"), min_size=1, max_size=40))
def test_groups_stay_whole(data: st.DataObject, groups: list[str]) -> None:
    num_clients = data.draw(st.integers(1, len(set(groups))))
    labels = np.zeros(len(groups), np.int64)
    parts = by_group(labels, num_clients, groups=groups, seed=data.draw(st.integers(0, 99)))
    assert len(parts) == num_clients
    assert_deals_every_row_once(parts, len(groups))
    held = [{groups[row] for row in part} for part in parts]
    assert sum(map(len, held)) == len(set(groups))
    # the greedy partition never leaves a client further behind than the largest group
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= max(groups.count(group) for group in groups)


def test_the_seed_decides_the_partition() -> None:
    labels = np.arange(40) % 4
    first, again, other = (iid(labels, 3, seed=seed) for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_rows_of_a_class_are_shuffled_before_they_are_assigned() -> None:
    # unshuffled, 20 rows of one class assigned to two would be the even and the odd ones
    part = iid(np.zeros(20, np.int64), 2, seed=0)[0]
    assert len({int(row) % 2 for row in part}) == 2


def test_with_a_client_for_each_group_they_come_in_sorted_order() -> None:
    groups = ["b", "c", "a", "b"]
    parts = by_group(np.zeros(4, np.int64), 3, groups=groups, seed=5)
    assert [part.tolist() for part in parts] == [[2], [0, 3], [1]]


def test_largest_groups_are_assigned_first_by_hand() -> None:
    # sizes a 5, b 4, c 3, d 2 to two clients: a | b, then c to b's (4 < 5), then d to a's (5 < 7)
    groups = ["d"] * 2 + ["b"] * 4 + ["a"] * 5 + ["c"] * 3
    parts = by_group(np.zeros(14, np.int64), 2, groups=groups, seed=0)
    held = [{groups[row] for row in part} for part in parts]
    assert held == [{"a", "d"}, {"b", "c"}]
    assert [len(part) for part in parts] == [7, 7]


def test_groups_of_one_size_are_assigned_by_the_seed() -> None:
    groups = list("abcdefgh")
    labels = np.zeros(8, np.int64)
    partitions = {str(by_group(labels, 2, groups=groups, seed=seed)) for seed in range(10)}
    assert len(partitions) > 1


def test_what_cannot_be_assigned_is_refused() -> None:
    labels = np.zeros(3, np.int64)
    with pytest.raises(UsageError, match="num_clients=4: must be from 1 to 3, the number of rows"):
        iid(labels, 4, seed=0)
    with pytest.raises(UsageError, match="num_clients=0: must be from 1 to 3"):
        iid(labels, 0, seed=0)
    with pytest.raises(UsageError, match="seed=-1: must be from 0"):
        iid(labels, 1, seed=-1)
    with pytest.raises(UsageError, match="num_clients=3: must be 2 or fewer, the number of groups"):
        by_group(labels, 3, groups=["a", "b", "a"], seed=0)
    with pytest.raises(UsageError, match="groups: row 1 has none; give every row a group"):
        by_group(labels, 1, groups=["a", None, "a"], seed=0)
    with pytest.raises(UsageError, match="groups: 2 of them for 3 rows"):
        by_group(labels, 1, groups=["a", "b"], seed=0)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_test_rows_are_assigned_as_the_clients_hold_the_classes(seed: int) -> None:
    held = [np.array([0] * 30 + [1] * 10), np.array([0] * 10 + [1] * 10), np.array([1] * 20)]
    labels = np.array([0] * 7 + [1] * 8 + [2] * 3)
    parts = mirror(labels, held, seed=seed)
    counts = [np.bincount(labels[part], minlength=3).tolist() for part in parts]
    # of 7 rows of class 0: 5.25 and 1.75, so 5 and 2; of 8 of class 1: 2, 2 and 4
    assert counts == [[5, 2, 0], [2, 2, 0], [0, 4, 0]]
    assigned = np.concatenate(parts)
    assert len(set(assigned.tolist())) == len(assigned) == 15  # nobody holds class 2
