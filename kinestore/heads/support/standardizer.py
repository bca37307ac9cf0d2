"""Mean and standard deviation of each column, mergeable without sharing a row.

Each frame of a sequence counts as a row.

Shape legend: N rows, T frames, D features.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from kinestore.store import UsageError

_FLAT = 1e-6
"""A column whose deviation is below this share of its mean is constant but for rounding."""

_BLOCK_VALUES = 2**25
"""Values turned into float64 at a time, 256 MB: sequences are large."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Count, mean and squared deviation of each column, of a set of rows.

    Attributes:
        count: Rows, or frames of all rows.
        mean: Mean of each column, float64, shape (D,).
        m2: Sum of squared differences from the mean, float64, shape (D,).
    """

    count: int
    mean: NDArray[np.float64]
    m2: NDArray[np.float64]


def moments_of(features: NDArray[np.float32]) -> Moments:
    """Return the moments of rows (N, D), or of frames (N, T, D), in float64; N, T 1 or more."""
    if features.ndim not in (2, 3) or 0 in features.shape[:-1]:
        raise UsageError(
            f"features: shape {features.shape}, must be (rows, width) with a row, or "
            "(rows, frames, width) with a frame"
        )
    frames = features.reshape(-1, features.shape[-1])
    mean = frames.mean(0, dtype=np.float64)
    m2 = np.zeros_like(mean)
    for block in _blocks(frames.shape):
        m2 += ((frames[block] - mean) ** 2).sum(0)
    return Moments(count=len(frames), mean=mean, m2=m2)


def _blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Return slices that divide the rows of an array of this shape into blocks."""
    length = max(1, _BLOCK_VALUES // max(1, math.prod(shape[1:])))
    return (slice(start, start + length) for start in range(0, shape[0], length))


def combine(parts: Sequence[Moments]) -> Moments:
    """Return the moments of all rows together.

    Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing
    sample variances", 1979, Eq. 2.1. Equal to the moments of the joined rows but for rounding.
    """
    if not parts:
        raise UsageError("parts=[]: must hold one set of moments or more")
    return reduce(_merge, parts)


def _merge(a: Moments, b: Moments) -> Moments:
    count = a.count + b.count
    delta = b.mean - a.mean
    return Moments(
        count=count,
        mean=a.mean + delta * (b.count / count),
        m2=a.m2 + b.m2 + delta**2 * (a.count * b.count / count),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Standardizer:
    """Scales each column to mean 0 and standard deviation 1 of the training rows.

    Attributes:
        mean: float64, shape (D,).
        std: Population standard deviation, float64, shape (D,).
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]

    @classmethod
    def from_moments(cls, moments: Moments) -> "Standardizer":
        """Return the standardizer for the rows of these moments."""
        return cls(mean=moments.mean, std=np.sqrt(moments.m2 / moments.count))

    def apply(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Standardize (N, D) or (N, T, D); a constant column becomes 0."""
        width = len(self.mean)
        if features.ndim not in (2, 3) or features.shape[-1] != width:
            raise UsageError(
                f"features: shape {features.shape}, must be (rows, {width}) as measured, or "
                f"(rows, frames, {width})"
            )
        varies = self.std > _FLAT * np.abs(self.mean)
        scale = np.divide(1.0, self.std, out=np.zeros_like(self.std), where=varies)
        ready = np.empty(features.shape, np.float32)
        for block in _blocks(features.shape):
            ready[block] = (features[block] - self.mean) * scale
        return ready
