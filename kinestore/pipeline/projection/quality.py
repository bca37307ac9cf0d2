"""Three standard figures of the quality of a feature and of its layout in the plane.

Shape legend: N clips, D features.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import trustworthiness
from sklearn.metrics import pairwise_distances, silhouette_score
from sklearn.neighbors import NearestNeighbors

QUALITY_NEIGHBORS = 5
MOST_MEASURED = 2_000
"""Clips whose distances to each other are computed: with more, as many are drawn at random."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Quality of a feature and its layout; None where a figure is not defined.

    Attributes:
        silhouette: Of the labels, in the feature's space, -1 to 1. Silhouettes: a graphical aid to
            the interpretation and validation of cluster analysis, 1987.
        knn_accuracy: Fraction of clips whose label is that of most of their five nearest others, in
            the feature's space; of labels that tie, the first. Nearest neighbor pattern
            classification, 1967.
        trustworthiness: Of the layout, 0 to 1: lower the more of the five nearest in it are far in
            the feature's space. Neighborhood preservation in nonlinear projection methods, 2001.
    """

    silhouette: float | None
    knn_accuracy: float | None
    trustworthiness: float | None


def measure(
    standardized: NDArray[np.float32],
    points: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    seed: int,
) -> Quality:
    """Measure labels in a feature's space, and a layout against it.

    Clips without a label count for the layout alone. Labels are undefined where there are fewer
    than two, or one for each clip; neighbors where there are too few clips.

    Args:
        standardized: Columns that were laid out, shape (N, D).
        points: Layout, shape (N, 2).
        labels: int64, shape (N,), -1 where a clip has none.
        seed: Seed of the sample that more than `MOST_MEASURED` clips are measured by.
    """
    if standardized.shape[1] == 0:
        return Quality(silhouette=None, knn_accuracy=None, trustworthiness=None)
    rows = measured_rows(len(points), seed=seed)
    distances = pairwise_distances(standardized[rows])
    labeled = np.flatnonzero(labels[rows] >= 0)
    between, known = distances[np.ix_(labeled, labeled)], labels[rows][labeled]
    return Quality(
        silhouette=_silhouette(between, known),
        knn_accuracy=_knn_accuracy(between, known),
        trustworthiness=_trustworthiness(distances, points[rows]),
    )


def measured_rows(num_clips: int, *, seed: int) -> NDArray[np.int64]:
    """Return the rows to measure, in order: all, or a sample that the seed alone decides."""
    if num_clips <= MOST_MEASURED:
        return np.arange(num_clips)
    drawn = np.random.default_rng(seed).choice(num_clips, MOST_MEASURED, replace=False)
    return np.sort(drawn)


def _silhouette(distances: NDArray[np.float32], labels: NDArray[np.int64]) -> float | None:
    if not _are_informative(labels):
        return None
    return float(silhouette_score(distances, labels, metric="precomputed"))


def _knn_accuracy(distances: NDArray[np.float32], labels: NDArray[np.int64]) -> float | None:
    if len(labels) <= QUALITY_NEIGHBORS or not _are_informative(labels):
        return None
    search = NearestNeighbors(n_neighbors=QUALITY_NEIGHBORS, metric="precomputed").fit(distances)
    others = search.kneighbors(return_distance=False)  # without X: of each clip but itself
    _, numbers = np.unique(labels, return_inverse=True)
    votes = np.zeros((len(labels), numbers.max() + 1), dtype=np.int64)
    np.add.at(votes, (np.arange(len(labels))[:, None], numbers[others]), 1)
    return float((votes.argmax(axis=1) == numbers).mean())


def _trustworthiness(distances: NDArray[np.float32], points: NDArray[np.float32]) -> float | None:
    if len(points) <= 2 * QUALITY_NEIGHBORS:
        return None
    return float(
        trustworthiness(distances, points, n_neighbors=QUALITY_NEIGHBORS, metric="precomputed")
    )


def _are_informative(labels: NDArray[np.int64]) -> bool:
    return 2 <= len(np.unique(labels)) < len(labels)
