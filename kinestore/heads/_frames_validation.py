"""Checks of the input of networks on frames."""

from torch import Tensor

from kinestore.store import UsageError


def check_clips(frames: Tensor) -> None:
    """Raise UsageError unless frames are floating point of shape (B, T, 3, H, W)."""
    shape = tuple(frames.shape)
    if frames.ndim != 5 or shape[2] != 3 or 0 in shape:
        raise UsageError(
            f"frames: shape {shape}, must be (clips, frames, 3, height, width), none of them 0; "
            "pixels come last, and channels before them"
        )
    if not frames.is_floating_point():
        raise UsageError(
            f"frames: {frames.dtype}, must be floating; divide by 255 and normalize first"
        )
