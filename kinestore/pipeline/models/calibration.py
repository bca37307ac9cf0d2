"""How far a model's confidence agrees with its accuracy.

Shape legend: N clips, B bins.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NUM_BINS = 15


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Clips whose confidence lies in one interval (low, high]; the first holds 0 too.

    Attributes:
        low: Lower end of the interval.
        high: Upper end.
        num_clips: Number of clips in it.
        confidence: Their mean confidence; None without a clip.
        accuracy: Fraction of them that is predicted correctly; None without a clip.
    """

    low: float
    high: float
    num_clips: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Reliability curve and expected calibration error.

    Source: Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", 2017,
    Eqs. 2, 3 and 5.

    Attributes:
        error: Mean over clips of the difference between the accuracy and the mean confidence of a
            clip's bin, from 0 to 1.
        bins: Bins of equal width, from 0 to 1.
    """

    error: float
    bins: list[ReliabilityBin]


def calibrate(
    confidence: NDArray[np.floating], right: NDArray[np.bool_], *, num_bins: int = NUM_BINS
) -> Calibration:
    """Measure the calibration of predictions.

    Args:
        confidence: Probability of each predicted class, from 0 to 1, shape (N,).
        right: Whether each prediction is correct, shape (N,).
        num_bins: B, 1 or more.
    """
    edges = np.linspace(0, 1, num_bins + 1)
    # the values in (low, high] get the bin of `low`; 0 joins the first bin
    places = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, num_bins - 1)
    bins, error = [], 0.0
    for number in range(num_bins):
        own = places == number
        count = int(own.sum())
        mean = float(confidence[own].mean(dtype=np.float64)) if count else None
        accuracy = float(right[own].mean()) if count else None
        if mean is not None and accuracy is not None:
            error += count / len(right) * abs(accuracy - mean)
        bins.append(
            ReliabilityBin(
                low=float(edges[number]),
                high=float(edges[number + 1]),
                num_clips=count,
                confidence=mean,
                accuracy=accuracy,
            )
        )
    return Calibration(error=error, bins=bins)
