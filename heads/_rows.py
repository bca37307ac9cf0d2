"""Rows to train on, turned into tensors and checked before a job starts.

Shape legend: N rows, D features, K classes.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from store import UsageError


def to_features(features: NDArray[np.float32] | Tensor, *, name: str = "features") -> Tensor:
    """A float32 tensor (N, D), checked for shape and for values that are not finite.

    A read-only array, as a memory map is, gets copied: torch cannot promise not to write to it.
    `name` is what to call the rows in messages.
    """
    if isinstance(features, np.ndarray):
        features = torch.from_numpy(np.require(features, np.float32, ["C", "W"]))
    if features.ndim != 2:
        raise UsageError(
            f"{name}: shape {tuple(features.shape)}, must be (rows, width); "
            "load a sequence pooled, as VIEW:stats"
        )
    features = features.to(torch.float32)
    bad = (~torch.isfinite(features).all(1)).nonzero().flatten()
    if len(bad):
        raise UsageError(
            f"{name}: row {int(bad[0])} holds NaN or infinity, as {len(bad)} of {len(features)} "
            "rows do; extract them again or leave them out"
        )
    return features


def to_labels(labels: NDArray[np.int64] | Tensor) -> Tensor:
    """An int64 tensor (N,)."""
    if isinstance(labels, np.ndarray):
        labels = torch.from_numpy(np.require(labels, np.int64, ["C", "W"]))
    return labels.to(torch.int64)


def check_rows(
    model: nn.Module, features: Tensor, labels: Tensor, *, name: str = "features"
) -> int:
    """See that a model can learn these rows, by passing the first one through it.

    Jobs call this once before they start; `fit` does not, as it runs once a client and round.

    Returns:
        K, the number of classes that the model tells apart.

    Raises:
        UsageError: If there is no row, not one label a row, a width that the model cannot take, or
            a label that it has no output for; `name` is what to call the rows in the message.
    """
    check_lengths(features, labels, name=name)
    try:
        with torch.inference_mode():
            num_classes = int(model.eval()(features[:1]).shape[1])
    except RuntimeError as error:
        width = features.shape[1]
        raise UsageError(
            f"{name}: width {width} does not fit the head, which says {str(error)!r}; "
            f"build the head with in_features={width}"
        ) from error
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise UsageError(
            f"{name}: label={low if low < 0 else high}: must be from 0 to {num_classes - 1}, "
            "as the head has outputs"
        )
    return num_classes


def check_lengths(features: Tensor, labels: Tensor, *, name: str = "features") -> None:
    """Refuse no rows at all, or not one label for each."""
    if len(features) == 0 or len(features) != len(labels):
        raise UsageError(
            f"{name}: {len(features)} rows with {len(labels)} labels; "
            "give one row or more, and a label for each"
        )
