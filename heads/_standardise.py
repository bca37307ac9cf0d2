"""Mean and standard deviation of each column, mergeable without sharing a row.

Shape legend: N rows, D features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from store import UsageError

_FLAT = 1e-6
"""A column whose deviation is below this share of its mean differs by float32's rounding only."""


@dataclass(frozen=True, kw_only=True)
class Moments:
    """What a set of rows tells about its columns' spread.

    Attributes:
        count: Rows.
        mean: Mean of each column, float64, shape (D,).
        m2: Sum of squared differences from the mean, float64, shape (D,).
    """

    count: int
    mean: NDArray[np.float64]
    m2: NDArray[np.float64]


def moments_of(features: NDArray[np.float32]) -> Moments:
    """Moments of rows, shape (N, D) with N 1 or more, summed in float64."""
    if features.ndim != 2 or len(features) == 0:
        raise UsageError(f"features: shape {features.shape}, must be (rows, width) with a row")
    mean = features.mean(0, dtype=np.float64)
    return Moments(count=len(features), mean=mean, m2=((features - mean) ** 2).sum(0))


def combine(parts: Sequence[Moments]) -> Moments:
    """Moments of all rows together.

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


@dataclass(frozen=True, kw_only=True)
class Standardiser:
    """Gives each column mean 0 and deviation 1, as measured on the training rows.

    Attributes:
        mean: float64, shape (D,).
        std: Population standard deviation, float64, shape (D,).
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]

    @classmethod
    def from_moments(cls, moments: Moments) -> "Standardiser":
        """The standardiser of the rows that the moments were taken of."""
        return cls(mean=moments.mean, std=np.sqrt(moments.m2 / moments.count))

    def apply(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Standardise rows, shape (N, D); a column that never varied becomes 0 everywhere."""
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise UsageError(
                f"features: shape {features.shape}, must be (rows, {len(self.mean)}) as measured"
            )
        varies = self.std > _FLAT * np.abs(self.mean)
        scale = np.divide(1.0, self.std, out=np.zeros_like(self.std), where=varies)
        return ((features - self.mean) * scale).astype(np.float32)
