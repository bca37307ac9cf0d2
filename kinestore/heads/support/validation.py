"""Training rows as tensors, checked before a job starts.

Shape legend: N rows, D features, K classes.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kinestore.store import UsageError


def to_features(features: NDArray[np.float32] | Tensor, *, name: str = "features") -> Tensor:
    """Return a float32 tensor (N, D) or (N, T, D); raise UsageError for non-finite values.

    A read-only array, such as a memory map, is copied, since torch could write to it. `name` is
    the name of the rows in messages.
    """
    if isinstance(features, np.ndarray):
        features = torch.from_numpy(np.require(features, np.float32, ["C", "W"]))
    if features.ndim not in (2, 3):
        raise UsageError(
            f"{name}: shape {tuple(features.shape)}, must be (rows, width) or (rows, frames, width)"
        )
    features = features.to(torch.float32)
    bad = (~torch.isfinite(features).flatten(1).all(1)).nonzero().flatten()
    if len(bad):
        raise UsageError(
            f"{name}: row {int(bad[0])} holds NaN or infinity, as {len(bad)} of {len(features)} "
            "rows do; extract them again or leave them out"
        )
    return features


def to_labels(labels: NDArray[np.int64] | Tensor) -> Tensor:
    """Return an int64 tensor (N,)."""
    if isinstance(labels, np.ndarray):
        labels = torch.from_numpy(np.require(labels, np.int64, ["C", "W"]))
    return labels.to(torch.int64)


def check_rows(
    model: nn.Module, features: Tensor, labels: Tensor, *, name: str = "features"
) -> int:
    """Check that a model accepts these rows, by a forward pass of the first one.

    Jobs call this once before they start; `fit` does not, as it runs once a client and round.

    Returns:
        K, the number of classes of the model.

    Raises:
        UsageError: If there is no row, the number of labels differs, the model does not accept the
            width or the number of dimensions, or has no output for a label; `name` is the name
            of the rows in the message.
    """
    check_lengths(features, labels, name=name)
    try:
        with torch.inference_mode():
            shape = model.eval()(features[:1]).shape
    except UsageError as error:
        if features.ndim != 2:
            raise
        raise UsageError(
            f"{name}: each row is a vector of width {features.shape[1]}, which the head does not "
            "take; load the sequence, as VIEW:sequence, or take a head for vectors"
        ) from error
    except RuntimeError as error:
        width = features.shape[-1]
        raise UsageError(
            f"{name}: width {width} does not fit the head, which says {str(error)!r}; "
            f"build the head with in_features={width}"
        ) from error
    if len(shape) != 2:
        raise UsageError(
            f"{name}: each row is a sequence of shape {tuple(features.shape[1:])}, which the head "
            "does not take; load it pooled, as VIEW:stats, or take a temporal head"
        )
    num_classes = int(shape[1])
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise UsageError(
            f"{name}: label={low if low < 0 else high}: must be from 0 to {num_classes - 1}, "
            f"since the head has {num_classes} outputs"
        )
    return num_classes


def check_lengths(features: Tensor, labels: Tensor, *, name: str = "features") -> None:
    """Raise UsageError unless there is a row or more, and one label for each."""
    if len(features) == 0 or len(features) != len(labels):
        raise UsageError(
            f"{name}: {len(features)} rows with {len(labels)} labels; "
            "give one row or more, and a label for each"
        )
