"""Masks of sequences on their way to a head: one more column of the frames, and a hook before it.

So masks go through batches, clients and processes with the frames, and weights keep their names.

Shape legend: N rows, B rows of a batch, T steps, D features.
"""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kinestore.store import UsageError


def join_mask(frames: Tensor, mask: NDArray[Any] | None) -> Tensor:
    """Append a mask to frames as a column of ones and zeros; steps without a frame become zero.

    Args:
        frames: float32, shape (N, T, D).
        mask: True where a step has a frame, bool, shape (N, T); None for frames as they are.

    Returns:
        float32, shape (N, T, D + 1), for a model that `takes_joined_mask` has prepared.

    Raises:
        UsageError: If the mask has another shape, or none of a row's steps has a frame.
    """
    if mask is None:
        return frames
    steps = torch.from_numpy(mask)
    if steps.dtype != torch.bool or steps.shape != frames.shape[:-1]:
        raise UsageError(
            f"mask: {steps.dtype} of shape {tuple(steps.shape)}, must be torch.bool of shape "
            f"{tuple(frames.shape[:-1])}"
        )
    if not steps.any(1).all():
        row = int((~steps.any(1)).nonzero()[0])
        raise UsageError(f"mask: row {row} has no step with a frame; leave the clip out")
    column = steps[..., None]
    return torch.cat([frames.masked_fill(~column, 0), column.to(frames.dtype)], -1)


def takes_joined_mask(model: nn.Module) -> nn.Module:
    """Let a head for (B, T, D) and a mask take (B, T, D + 1); its tensors stay as they are."""
    model.register_forward_pre_hook(_divide)
    return model


def _divide(model: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor, Tensor]:
    (joined,) = inputs
    return joined[..., :-1], joined[..., -1] > 0.5
