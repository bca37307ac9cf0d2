"""Layers and checks that heads on sequences of frames share.

Shape legend: B batch, T time, D width, K classes.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from kinestore.store import UsageError


class GaussianNoise(nn.Module):
    """Adds noise from the global generator in training, and nothing in evaluation.

    Attributes:
        deviation: Standard deviation of the noise, 0 or more.
    """

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.deviation = deviation

    def forward(self, x: Tensor) -> Tensor:
        """Add the noise; every shape is allowed."""
        return x + self.deviation * torch.randn_like(x) if self.training else x


def classifier(
    *, width: int, num_classes: int, dense: int | None, noise: float, dropout: float
) -> nn.Sequential:
    """Build noise, Linear, ReLU, dropout, Linear: (B, width) -> logits (B, num_classes).

    Without a hidden layer, where `dense` is None, it is dropout and Linear.
    """
    check_sizes({"num_classes": num_classes} | ({} if dense is None else {"dense": dense}))
    check_fractions({"dropout": dropout})
    _check_noise(noise)
    if dense is None:
        return nn.Sequential(nn.Dropout(dropout), nn.Linear(width, num_classes))
    return nn.Sequential(
        GaussianNoise(noise),
        nn.Linear(width, dense),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(dense, num_classes),
    )


def transfer_classifier(*, width: int, num_classes: int, dense: int, noise: float) -> nn.Sequential:
    """Build Linear, noise, LeakyReLU, Linear: the classifier of the notebooks' transfer runs."""
    check_sizes({"num_classes": num_classes, "dense": dense})
    _check_noise(noise)
    return nn.Sequential(
        nn.Linear(width, dense),
        GaussianNoise(noise),
        nn.LeakyReLU(0.1),
        nn.Linear(dense, num_classes),
    )


def _check_noise(noise: float) -> None:
    if not 0 <= noise < math.inf:
        raise UsageError(f"noise={noise}: must be 0 or more and finite")


def check_sizes(sizes: Mapping[str, int]) -> None:
    """Raise UsageError for a size below 1, with its name."""
    for name, value in sizes.items():
        if value < 1:
            raise UsageError(f"{name}={value}: must be 1 or more")


def check_fractions(fractions: Mapping[str, float]) -> None:
    """Raise UsageError for a dropout rate below 0, or of 1 or more."""
    for name, value in fractions.items():
        if not 0 <= value < 1:
            raise UsageError(f"{name}={value}: must be 0 or more and below 1")


def real_frames(frames: Tensor, mask: Tensor | None, *, in_features: int) -> Tensor:
    """Return the frames with zeros as padding, whatever the padding was, even NaN.

    Args:
        frames: Shape (B, T, D), T 1 or more.
        mask: True where a frame is real, bool, shape (B, T); None if all are.
        in_features: The D that the head was built for.

    Raises:
        UsageError: If a shape or the mask's dtype differs, or a clip has no real frame.
    """
    shape = tuple(frames.shape)
    if frames.ndim != 3 or shape[1] == 0 or shape[2] != in_features:
        raise UsageError(
            f"frames: shape {shape}, must be (clips, frames, {in_features}) with a frame or more; "
            "give a sequence that is not pooled, and build the head with in_features as its width"
        )
    if mask is None:
        return frames
    if mask.dtype != torch.bool or mask.shape != frames.shape[:2]:
        raise UsageError(
            f"mask: {mask.dtype} of shape {tuple(mask.shape)}, must be torch.bool of shape "
            f"{shape[:2]}, True where a frame is real"
        )
    refuse_clips(~mask.any(1), "has no real frame; leave it out")
    return frames.masked_fill(~mask[..., None], 0)


def refuse_clips(wrong: Tensor, reason: str) -> None:
    """Raise UsageError with the first clip that is wrong, bool, shape (B,), if there is one."""
    if wrong.any():
        raise UsageError(f"mask: clip {int(wrong.nonzero()[0])} of the batch {reason}")
