"""Pooling of a sequence of frame features to one vector per clip.

Shape legend: N clips, T frames, D features.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from kinestore.store.errors import UsageError

_FloatArray = NDArray[np.float32]


def _stats(sequence: _FloatArray) -> _FloatArray:
    third = max(1, sequence.shape[1] // 3)
    late_minus_early = sequence[:, -third:].mean(1) - sequence[:, :third].mean(1)
    return np.concatenate([sequence.mean(1), sequence.std(1), late_minus_early], axis=1)


POOLS: dict[str, Callable[[_FloatArray], _FloatArray]] = {
    "stats": _stats,
    "mean": lambda sequence: sequence.mean(1),
    "max": lambda sequence: sequence.max(1),
    "sequence": lambda sequence: sequence,
}


def split_feature(feature: str) -> tuple[str, str]:
    """Read `VIEW` or `VIEW:POOL`; the pool is "stats" if none is given.

    Raises:
        UsageError: If the pool is unknown.
    """
    view, _, pool = feature.partition(":")
    pool = pool or "stats"
    if pool not in POOLS:
        raise UsageError(f"feature {feature!r}: the pool must be one of {', '.join(POOLS)}")
    return view, pool


def pool_sequence(
    sequence: _FloatArray, *, pool: str, mask: NDArray[np.bool_] | None = None
) -> _FloatArray:
    """Pool frame features over time.

    Args:
        sequence: float32, shape (N, T, D).
        mask: True where a step has a frame, bool, shape (N, T): the others are left out of every
            pool but "sequence"; None if all have one.
        pool: "stats" (mean | population standard deviation | mean of the last third minus mean
            of the first third, 3 D wide), "mean", "max", or "sequence" (as it is).

    Returns:
        float32, shape (N, 3 D), (N, D), (N, D) or (N, T, D).
    """
    pooled = POOLS[pool](sequence)
    if mask is not None and pool != "sequence":
        for row in np.flatnonzero(mask.any(1) & ~mask.all(1)):
            pooled[row] = POOLS[pool](sequence[row : row + 1, mask[row]])[0]
    return pooled


def pooled_shape(shape: tuple[int, ...], *, pool: str) -> tuple[int, ...]:
    """Return the shape after pooling a clip's (T, D); a vector's (D,) stays."""
    if len(shape) == 1 or pool == "sequence":
        return shape
    return (3 * shape[1],) if pool == "stats" else shape[1:]
