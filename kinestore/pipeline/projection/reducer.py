"""Projection of features to the plane by UMAP.

Shape legend: B features that share a plane, mostly 1; N clips; D columns.
"""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinestore.store import UsageError

NUM_NEIGHBORS = 15
MIN_DIST = 0.1
FEWEST = 4
"""With fewer points than this, two dimensions hold all distances and UMAP has nothing to do."""
_FARTHEST = 1e6
"""Deviations from the mean; no row of fewer than 10^12 is as far from the mean of its own."""
_NUM_TRIED = 64
"""Rows whose rank is computed."""


def project(*features: NDArray[np.float32], seed: int | None) -> NDArray[np.float32]:
    """Lay standardized features out in the plane by UMAP.

    UMAP: Uniform Manifold Approximation and Projection for Dimension Reduction, 2018. With fewer
    than four points the principal axes are taken instead: they keep every distance.

    Args:
        features: One or more of shape (N, D), laid out together.
        seed: Seed of the layout, 0 or more; None for all cores and another layout each time.

    Returns:
        float32, shape (B N, 2): the points of the first feature, then those of the next.

    Raises:
        UsageError: If there is no row, rows are not vectors, are all equal or hold NaN or infinity,
            or the seed is out of range.
    """
    check_layout_seed(seed)
    for one in features:
        check_features(one)
    standardized = standardize(*features)
    if len(standardized) < FEWEST:
        return _principal_axes(standardized)
    if standardized.shape[1] == 0:
        raise UsageError(
            f"features: all {len(features[0])} rows are equal, so there is nothing to project; "
            "choose another view"
        )
    return _umap(standardized, seed=seed)


def describe_layout(num_points: int, *, seed: int | None) -> str:
    """Describe in a line what `project` does with so many points."""
    if num_points < FEWEST:
        return "Principal axes of standardized columns (too few points for UMAP)"
    settings = f"n_neighbors {num_neighbors(num_points)}, min_dist {MIN_DIST}"
    how = "all cores, no seed: each run differs" if seed is None else f"seed {seed}"
    return f"UMAP of standardized columns: {settings}, {how}"


def check_layout_seed(seed: int | None) -> None:
    """Raise UsageError unless it can be a seed."""
    if seed is not None and not 0 <= seed < 2**32:
        raise UsageError(f"seed={seed}: must be 0 or more and below 2^32")


def standardize(
    *features: NDArray[np.float32], by: NDArray[np.int64] | None = None
) -> NDArray[np.float32]:
    """Scale columns to mean 0 and deviation 1, without those that vary by no more than rounding.

    Args:
        features: One or more of shape (N, D), each standardized by itself.
        by: Rows to take mean and deviation of; None for all. Others may come out far away, up to
            a million deviations.

    Returns:
        float32, shape (B N, those of the D columns that vary in a feature).
    """
    scaled, varies = [], []
    for one in features:
        wide = one.astype(np.float64)
        known = wide if by is None else wide[by]
        mean, deviation = known.mean(axis=0), known.std(axis=0)
        varies.append(deviation > 1e-6 * np.abs(mean))
        scaled.append((wide - mean) / np.where(varies[-1], deviation, np.inf))
    stacked = np.concatenate(scaled)[:, np.any(varies, axis=0)]
    return np.asarray(stacked.clip(-_FARTHEST, _FARTHEST), dtype=np.float32)


def check_features(features: NDArray[np.float32]) -> None:
    """Raise UsageError unless there are rows, all of them vectors of numbers."""
    if features.ndim != 2:
        raise UsageError(
            f"features: of shape {features.shape}, must be one vector a clip; "
            "pool the view, as in NAME:mean"
        )
    if len(features) == 0:
        raise UsageError("features: no clip to draw; check the requested views and classes")
    num_broken = int((~np.isfinite(features)).any(axis=1).sum())
    if num_broken:
        raise UsageError(
            f"features: {num_broken} of {len(features)} rows hold NaN or infinity; "
            "extract those clips again, or leave their view out"
        )


@contextlib.contextmanager
def quiet() -> Iterator[Any]:
    """Yield UMAP's class, without its warnings.

    They are on its Keras variant, on its initialization and on threads: the user can act on none,
    and UMAP continues after each.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"umap\b|pynndescent\b|numba\b")
        from umap import UMAP  # here, since compiling it takes seconds

        yield UMAP


def num_neighbors(num_points: int) -> int:
    """Return the number of neighbors that UMAP considers, the point itself among them."""
    return min(NUM_NEIGHBORS, num_points - 1)


def _principal_axes(standardized: NDArray[np.float32]) -> NDArray[np.float32]:
    left, length, _ = np.linalg.svd(standardized.astype(np.float64), full_matrices=False)
    axes = (left * length)[:, :2]
    return np.pad(axes, ((0, 0), (0, 2 - axes.shape[1]))).astype(np.float32)


def _umap(standardized: NDArray[np.float32], *, seed: int | None) -> NDArray[np.float32]:
    flat = _is_flat(standardized)
    if standardized.shape[1] == 1:
        standardized = np.repeat(standardized, 2, axis=1)  # principal axes want two columns
    with quiet() as model_class:
        model = model_class(
            n_neighbors=num_neighbors(len(standardized)),
            min_dist=MIN_DIST,
            random_state=seed,
            init="pca" if flat else "spectral",
            n_jobs=-1 if seed is None else 1,  # with a seed UMAP takes one anyway, with a warning
        )
        return np.asarray(model.fit_transform(standardized), dtype=np.float32)


def _is_flat(standardized: NDArray[np.float32]) -> bool:
    """Return whether the rows, or a sample of them, lie on a line or in a plane.

    The spectral start of a long line takes minutes; its principal axes are the line itself.
    """
    rows = np.linspace(0, len(standardized) - 1, num=_NUM_TRIED, dtype=np.int64)
    return int(np.linalg.matrix_rank(standardized[rows])) <= 2
