"""The local module: from the frames of one segment to one feature map.

Source: Video Action Recognition Method Based on Personalized Federated Learning and Spatiotemporal
Features, 2025, section 3.1.1, Eqs. 1 to 3, and Table 1 for the input of the difference branch.
docs/nets.md explains how each equation was interpreted.

Shape legend: S segments of all clips, C channels, H height, W width. A segment is five frames; the
middle one provides the appearance features.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from kinestore.store import UsageError

SEGMENT_LENGTH = 5
"""Number of frames in a segment."""

_CENTER = SEGMENT_LENGTH // 2
"""Index of the middle frame."""


def concat_frames(frames: Tensor) -> Tensor:
    """Concatenate all five frames, shape (S, 5, 3, H, W) to (S, 15, H, W): Table 1, row 1."""
    return frames.flatten(1, 2)


def adjacent_diff(frames: Tensor) -> Tensor:
    """Return I2-I1, I3-I2, I4-I3, I5-I4, shape (S, 12, H, W): row 2, as in TDN."""
    return (frames[:, 1:] - frames[:, :-1]).flatten(1, 2)


def center_diff(frames: Tensor) -> Tensor:
    """Return I3-I1, I3-I2, I3-I4, I3-I5, shape (S, 12, H, W): row 3."""
    return (frames[:, _CENTER, None] - frames[:, [0, 1, 3, 4]]).flatten(1, 2)


def center_diff_smooth(frames: Tensor) -> Tensor:
    """Return the mean of `center_diff` over its four frames, shape (S, 3, H, W): row 4.

    That is the middle frame minus the mean of the others. They are added in pairs, from the
    outermost inwards, so that the five frames in reverse order give bit-identical results.
    """
    outer, inner = frames[:, 0] + frames[:, 4], frames[:, 1] + frames[:, 3]
    return torch.sub(frames[:, _CENTER], outer.add_(inner), alpha=0.25)


LOCAL_INPUTS: dict[str, tuple[int, Callable[[Tensor], Tensor]]] = {
    "concat_frames": (15, concat_frames),
    "adjacent_diff": (12, adjacent_diff),
    "center_diff": (12, center_diff),
    "center_diff_smooth": (3, center_diff_smooth),
}
"""Inputs of the difference branch by name: number of channels, and function of the frames."""


class LocalModule(nn.Module):
    """F_L = res2(a F_RGB + b Up(F_diff)) + b Up(res2'(F_diff)), the first term also times a.

    Attributes:
        local_input: Input of the difference branch, or "none".
        fusion_weights: a and b.
        scale: Factor of the difference.
    """

    def __init__(
        self, trunk: Any, *, local_input: str, diff_reduce: str, fusion_weights: Sequence[float]
    ) -> None:
        super().__init__()
        _check(local_input, diff_reduce, fusion_weights)
        self.stem = nn.Sequential(trunk.conv1, trunk.bn1, trunk.relu, trunk.maxpool)
        self.res2 = trunk.layer1
        self.local_input = local_input
        self.fusion_weights = tuple(fusion_weights)
        self.scale = 4 if diff_reduce == "sum" else 1
        self.diff_stem: nn.Module | None = None
        if local_input != "none":
            self.diff_stem = nn.Sequential(
                nn.Conv2d(LOCAL_INPUTS[local_input][0], 64, 7, stride=2, padding=3, bias=False),
                nn.BatchNorm2d(64),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(3, stride=2, padding=1),
            )
            self.diff_res2 = copy.deepcopy(trunk.layer1)

    def inflate(self) -> None:
        """Initialize the difference stem with the mean over colors of the frame stem."""
        if self.diff_stem is not None:
            colors = self.stem.get_parameter("0.weight").mean(1, keepdim=True)
            with torch.no_grad():
                self.diff_stem.get_parameter("0.weight").copy_(colors)

    def forward(self, frames: Tensor) -> Tensor:
        """Map segments (S, 5, 3, H, W) to features (S, 256, H/4, W/4), rounded up."""
        # channels_last is much faster on a CPU, and is kept by all layers
        center = frames[:, _CENTER].contiguous(memory_format=torch.channels_last)
        rgb: Tensor = self.stem(center)
        if self.diff_stem is None:
            still: Tensor = self.res2(rgb)
            return still
        _, differences = LOCAL_INPUTS[self.local_input]
        pooled = _times(avg_pool2d(differences(frames), 2), self.scale)
        diff = self.diff_stem(pooled.contiguous(memory_format=torch.channels_last))
        fused = self.res2(self._fuse(rgb, diff))
        return self._fuse(fused, self.diff_res2(diff))

    def _fuse(self, still: Tensor, moving: Tensor) -> Tensor:
        a, b = self.fusion_weights
        up = interpolate(moving, size=still.shape[-2:])  # nearest, and always larger
        return _times(up, b).add_(_times(still, a))


def _times(x: Tensor, factor: float) -> Tensor:
    """Return the product, without a pass over large maps if the factor is 1."""
    return x if factor == 1 else factor * x


def _check(local_input: str, diff_reduce: str, fusion_weights: Sequence[float]) -> None:
    if local_input not in (*LOCAL_INPUTS, "none"):
        known = ", ".join(LOCAL_INPUTS)
        raise UsageError(f"local_input={local_input!r}: must be one of {known}, none")
    if diff_reduce not in ("mean", "sum"):
        raise UsageError(f"diff_reduce={diff_reduce!r}: must be 'mean' or 'sum'")
    if diff_reduce == "sum" and local_input != "center_diff_smooth":
        raise UsageError(
            f"diff_reduce='sum': local_input={local_input!r} reduces nothing; "
            "leave it out, or take local_input='center_diff_smooth'"
        )
    if len(fusion_weights) != 2:
        raise UsageError(
            f"fusion_weights={tuple(fusion_weights)}: must be two, of the frame and of the "
            "difference"
        )
