"""From a feature to the plane.

Shape legend: N clips, D features.
"""

import warnings

import numpy as np
from numpy.typing import NDArray

from store import UsageError

_NUM_NEIGHBORS = 15
_MIN_DIST = 0.1
_FEWEST = 4
"""With fewer points than this, two dimensions hold all distances and UMAP has nothing to do."""


def project(features: NDArray[np.float32], *, seed: int | None) -> NDArray[np.float32]:
    """Lay standardised features out in the plane by UMAP.

    UMAP: Uniform Manifold Approximation and Projection for Dimension Reduction, 2018. With fewer
    than four rows the principal axes are taken instead: they keep every distance.

    Args:
        features: Shape (N, D). Columns that do not vary are left out.
        seed: Seed of the layout, 0 or more; None for all cores and another layout each time.

    Returns:
        float32, shape (N, 2).

    Raises:
        UsageError: If there is no row, rows are not vectors, are all equal or hold NaN or infinity,
            or the seed is out of range.
    """
    check_seed(seed)
    _check(features)
    standardised = standardise(features)
    if len(features) < _FEWEST:
        return _principal_axes(standardised)
    if standardised.shape[1] == 0:
        raise UsageError(
            f"features: all {len(features)} rows are equal, so there is nothing to lay out; "
            "choose another view"
        )
    return _umap(standardised, seed=seed)


def describe(num_points: int, *, seed: int | None) -> str:
    """What `project` does with so many points, in a line."""
    if num_points < _FEWEST:
        return "Principal axes of standardised columns (too few points for UMAP)"
    told = f"n_neighbors {_num_neighbors(num_points)}, min_dist {_MIN_DIST}"
    how = "all cores, no seed: each run differs" if seed is None else f"seed {seed}"
    return f"UMAP of standardised columns: {told}, {how}"


def check_seed(seed: int | None) -> None:
    """Raise UsageError unless it can be a seed."""
    if seed is not None and not 0 <= seed < 2**32:
        raise UsageError(f"seed={seed}: must be 0 or more and below 2^32")


def standardise(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Columns at mean 0 and deviation 1, without those that vary by no more than rounding."""
    wide = features.astype(np.float64)
    mean, deviation = wide.mean(axis=0), wide.std(axis=0)
    varies = deviation > 1e-6 * np.abs(mean)
    scaled = (wide[:, varies] - mean[varies]) / deviation[varies]
    return np.asarray(scaled, dtype=np.float32)


def _check(features: NDArray[np.float32]) -> None:
    if features.ndim != 2:
        raise UsageError(
            f"features: of shape {features.shape}, must be one vector a clip; "
            "pool the view, as in NAME:mean"
        )
    if len(features) == 0:
        raise UsageError("features: no clip to draw; check the views and classes asked for")
    num_broken = int((~np.isfinite(features)).any(axis=1).sum())
    if num_broken:
        raise UsageError(
            f"features: {num_broken} of {len(features)} rows hold NaN or infinity; "
            "extract those clips again, or leave their view out"
        )


def _principal_axes(standardised: NDArray[np.float32]) -> NDArray[np.float32]:
    left, length, _ = np.linalg.svd(standardised.astype(np.float64), full_matrices=False)
    axes = (left * length)[:, :2]
    return np.pad(axes, ((0, 0), (0, 2 - axes.shape[1]))).astype(np.float32)


def _umap(standardised: NDArray[np.float32], *, seed: int | None) -> NDArray[np.float32]:
    with warnings.catch_warnings():
        # Remarks on its Keras variant, on how it starts and on threads: none that a person can act
        # on, and it goes on by itself after each.
        warnings.filterwarnings("ignore", module=r"umap\b|pynndescent\b|numba\b")
        from umap import UMAP  # here, since compiling it takes seconds

        model = UMAP(
            n_neighbors=_num_neighbors(len(standardised)),
            min_dist=_MIN_DIST,
            random_state=seed,
            n_jobs=-1 if seed is None else 1,  # what a seed makes of it anyhow, with a warning
        )
        return np.asarray(model.fit_transform(standardised), dtype=np.float32)


def _num_neighbors(num_points: int) -> int:
    return min(_NUM_NEIGHBORS, num_points - 1)
