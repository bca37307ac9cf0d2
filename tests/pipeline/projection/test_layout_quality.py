"""The figures below a map: worked out by hand, and against references."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from kinestore.pipeline.projection import quality
from kinestore.pipeline.projection.quality import MOST_MEASURED, Quality, measure, measured_rows

NOTHING = Quality(silhouette=None, knn_accuracy=None, trustworthiness=None)


def column(*values: float) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)[:, None]


def numbers(*labels: int) -> NDArray[np.int64]:
    return np.array(labels, dtype=np.int64)


def random(num_rows: int, width: int, *, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((num_rows, width)).astype(np.float32)


def test_silhouette_is_the_one_worked_out_by_hand() -> None:
    # At 0: 1 to its own other, (10 + 11) / 2 to those of the other label: 9.5 / 10.5. At 1: 1 and
    # (9 + 10) / 2: 8.5 / 9.5. The other two mirror them.
    features, labels = column(0, 1, 10, 11), numbers(0, 0, 1, 1)
    found = measure(features, random(4, 2), labels, seed=0).silhouette
    assert found == pytest.approx((9.5 / 10.5 + 8.5 / 9.5) / 2, rel=1e-6)  # float32 distances
    # With every other point of the other label, at 0: 10 to its own, (1 + 11) / 2: (6 - 10) / 10.
    # At 1: 10 to its own, (1 + 9) / 2 = 5: (5 - 10) / 10. Again the others mirror them.
    found = measure(features, random(4, 2), numbers(0, 1, 0, 1), seed=0).silhouette
    assert found == pytest.approx((-0.4 - 0.5) / 2, rel=1e-6)


def test_neighbours_vote_without_the_clip_itself() -> None:
    # Six of label 0 around 0 and one of label 1 among them: its five nearest all say 0, and each
    # of the six has at least four votes for 0. Six of label 1 around 100 all vote for each other.
    features = column(0, 1, 2, 3, 4, 5, 2.5, 100, 101, 102, 103, 104, 105)
    labels = numbers(0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1)
    found = measure(features, random(13, 2), labels, seed=0).knn_accuracy
    assert found == pytest.approx(12 / 13)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_neighbours_name_what_five_nearest_of_scikit_learn_name_without_the_clip(seed: int) -> None:
    features = random(60, 4, seed=seed)
    labels = (features[:, 0] > 0).astype(np.int64) + (features[:, 1] > 0.5)
    found = measure(features, random(60, 2), labels, seed=0).knn_accuracy
    named = cross_val_predict(KNeighborsClassifier(5), features, labels, cv=LeaveOneOut())
    assert found == pytest.approx((named == labels).mean())
    assert 0.5 < (named == labels).mean() < 1


def reference_trustworthiness(
    features: NDArray[np.float32], points: NDArray[np.float32], k: int
) -> float:
    """Neighborhood preservation in nonlinear projection methods, 2001, equation 1."""
    n = len(features)
    far = np.linalg.norm(features[:, None] - features[None], axis=2)
    laid = np.linalg.norm(points[:, None] - points[None], axis=2)
    total = 0
    for i in range(n):
        ranked = [j for j in np.argsort(far[i]) if j != i]
        shown = [j for j in np.argsort(laid[i]) if j != i][:k]
        total += sum(max(0, ranked.index(j) + 1 - k) for j in shown)
    return 1 - 2 / (n * k * (2 * n - 3 * k - 1)) * total


def test_trustworthiness_is_the_papers() -> None:
    features, points = random(30, 6), random(30, 2, seed=1)
    found = measure(features, points, np.zeros(30, np.int64), seed=0).trustworthiness
    assert found == pytest.approx(reference_trustworthiness(features, points, 5))
    assert found is not None and found < 0.8
    kept = measure(features[:, :2], features[:, :2], np.zeros(30, np.int64), seed=0)
    assert kept.trustworthiness == 1


@pytest.mark.parametrize(
    ("labels", "defined"),
    [
        (numbers(*[0] * 12), (False, False, True)),
        (numbers(*range(12)), (False, False, True)),
        (numbers(*[-1] * 12), (False, False, True)),
        (numbers(0, 1, 0, 1, 0, *[-1] * 7), (True, False, True)),
        (numbers(*[0, 1] * 6), (True, True, True)),
        (numbers(*[0, 1] * 5), (True, True, False)),
        (numbers(0, 1, 0, 1, 0), (True, False, False)),
        (numbers(0, 0, 1), (True, False, False)),
        (numbers(0, 1), (False, False, False)),
        (numbers(0), (False, False, False)),
    ],
)
def test_what_is_not_defined_is_left_out(
    labels: NDArray[np.int64], defined: tuple[bool, bool, bool]
) -> None:
    found = measure(random(len(labels), 3), random(len(labels), 2), labels, seed=0)
    values = (found.silhouette, found.knn_accuracy, found.trustworthiness)
    assert tuple(value is not None for value in values) == defined


def test_features_without_a_column_that_varies_have_no_quality() -> None:
    empty = np.zeros((3, 0), np.float32)
    assert measure(empty, np.zeros((3, 2), np.float32), numbers(0, 0, 1), seed=0) == NOTHING


def test_clips_without_a_label_do_not_count_for_labels() -> None:
    features, points, labels = random(20, 3), random(20, 2), numbers(*[0, 1, 1, 0] * 5)
    more = np.concatenate([features, random(10, 3, seed=7)])
    laid = np.concatenate([points, random(10, 2, seed=8)])
    plain = measure(features, points, labels, seed=0)
    mixed = measure(more, laid, np.concatenate([labels, np.full(10, -1)]), seed=0)
    assert mixed.silhouette == pytest.approx(plain.silhouette)
    assert mixed.knn_accuracy == plain.knn_accuracy
    assert mixed.trustworthiness != plain.trustworthiness


def test_very_many_clips_are_measured_by_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_MEASURED == 2_000
    np.testing.assert_array_equal(measured_rows(2_000, seed=0), np.arange(2_000))
    rows = measured_rows(2_001, seed=0)
    assert len(set(rows.tolist())) == 2_000 and (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(measured_rows(2_001, seed=0), rows)
    assert not np.array_equal(measured_rows(2_001, seed=1), rows)

    monkeypatch.setattr(quality, "MOST_MEASURED", 40)
    features, points, labels = random(100, 3), random(100, 2), numbers(*[0, 1] * 50)
    rows = measured_rows(100, seed=3)
    few = measure(features[rows], points[rows], labels[rows], seed=0)
    assert len(rows) == 40 and measure(features, points, labels, seed=3) == few
    assert measure(features, points, labels, seed=4) != few
