"""Bootstrap interval of an accuracy.

Shape legend: N clips, U units (clips or groups), R resamples.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NUM_RESAMPLES = 10_000
LEVEL = 0.95


def accuracy_interval(
    right: NDArray[np.bool_],
    groups: Sequence[str | None] | None = None,
    *,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> tuple[float, float]:
    """Return the 95 % percentile interval of an accuracy.

    Whole units are drawn with replacement: clips or, where clips of a group resemble each other,
    groups. Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3.

    Args:
        right: Whether each clip is predicted correctly, shape (N,), N 1 or more.
        groups: Group of each clip; None draws clips.
        seed: Seed of the resamples.
        num_resamples: R, 1 or more.
    """
    rng = np.random.default_rng(seed)
    if groups is None:  # the hits among N clips drawn from N are binomial
        accuracies = rng.binomial(len(right), right.mean(), size=num_resamples) / len(right)
    else:
        accuracies = _by_groups(right, groups, rng, num_resamples)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(accuracies, [tail, 1 - tail])
    return float(low), float(high)


def _by_groups(
    right: NDArray[np.bool_],
    groups: Sequence[str | None],
    rng: np.random.Generator,
    num_resamples: int,
) -> NDArray[np.float64]:
    """Return the accuracy of each resample of whole groups, shape (R,)."""
    _, units = np.unique(np.array(groups, dtype=str), return_inverse=True)
    sizes = np.bincount(units).astype(np.float64)
    hits = np.bincount(units, weights=right.astype(np.float64))
    accuracies = np.empty(num_resamples)
    for number in range(num_resamples):  # one at a time: R x U counts could fill the memory
        times = np.bincount(rng.integers(len(sizes), size=len(sizes)), minlength=len(sizes))
        accuracies[number] = times @ hits / (times @ sizes)
    return accuracies
