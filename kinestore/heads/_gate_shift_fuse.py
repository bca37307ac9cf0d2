"""Gate, shift, fuse: gated channels are shifted to the previous and the next frame.

Source: Gate-Shift-Fuse for Video Action Recognition, 2022, as in the authors' code
(swathikirans/GSF), with the same parameter counts. docs/nets-correlation.md explains each step.

Done differently: the number of frames is an argument of `forward`, not of the constructor.

Shape legend: N maps, time outermost (N = T B), T time, B batch, C channels, F channels that are
gated, H height, W width.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

HALVES = 2
"""One half of the channels comes from the next frame, the other from the previous one."""


class GateShiftFuse(nn.Module):
    """Shifts half of the gated channels to the previous frame and half to the next frame.

    The 3x3x3 convolution of the gates is implemented as three 2-D convolutions whose outputs are
    added with an offset of one frame. This avoids copies of the maps.

    Attributes:
        width: F, a multiple of 4.
        taps: Convolutions for the previous, the same and the next frame, for each half.
        bias: Bias of the gates.
        fuse: Convolutions that give the weight of shifted channels, for each half.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.bn = nn.BatchNorm2d(width)
        self.taps = nn.Conv2d(width, HALVES * 3, 3, padding=1, groups=HALVES, bias=False)
        self.bias = nn.Parameter(torch.empty(HALVES))
        self.fuse = nn.ModuleList(nn.Conv2d(2, 1, 3, padding=1) for _ in range(HALVES))
        most = (27 * width / HALVES) ** -0.5  # as torch draws the 3x3x3 convolution
        nn.init.uniform_(self.taps.weight, -most, most)
        nn.init.uniform_(self.bias, -most, most)
        for layer in self.fuse:  # as the authors' network draws all of its Conv2d
            nn.init.kaiming_normal_(layer.get_parameter("weight"), mode="fan_out")

    def forward(self, maps: Tensor, *, num_frames: int) -> Tensor:
        """Process maps (N, C, H, W) in place, C at least F, of clips of num_frames each."""
        places = maps.permute(0, 2, 3, 1)[..., : self.width]
        gated = _by_frame(places.clone(memory_format=torch.contiguous_format), num_frames)
        halves = gated.view(*gated.shape[:-1], HALVES, -1)  # (T, B, H, W, 2, F / 2)
        passed = self._gates(gated)[..., None] * halves
        kept = halves - passed
        around = pad(passed, (*([0, 0] * 5), 1, 1))
        moved = torch.stack([around[2:, ..., 0, :], around[:-2, ..., 1, :]], -2)
        fused = torch.lerp(kept, moved, self._shares(moved.mean((2, 3)), kept.mean((2, 3))))
        in_turns = fused.view(*fused.shape[:-1], 2, -1).mT  # (T, B, H, W, 2, F / 4, 2)
        _by_frame(places, num_frames).view(in_turns.shape).copy_(in_turns)
        return maps

    def _gates(self, gated: Tensor) -> Tensor:
        """Return tanh of the 3x3x3 convolution of (T, B, H, W, F): (T, B, H, W, 2)."""
        maps = self.bn(gated.flatten(0, 1).permute(0, 3, 1, 2)).relu_()
        answers = _by_frame(self.taps(maps).permute(0, 2, 3, 1), len(gated))
        around = pad(answers, (*([0, 0] * 4), 1, 1))
        total = around[:-2, ..., 0::3] + around[1:-1, ..., 1::3] + around[2:, ..., 2::3]
        return (total + self.bias).tanh()

    def _shares(self, moved: Tensor, kept: Tensor) -> Tensor:
        """Return weights of what is shifted, (T, B, 1, 1, 2, F / 2); means are (T, B, 2, F / 2)."""
        pictures = torch.stack([moved, kept]).permute(2, 3, 0, 4, 1)  # (B, 2, 2, F / 2, T)
        shares = torch.cat([fuse(pictures[:, half]) for half, fuse in enumerate(self.fuse)], 1)
        weights = shares.sigmoid().permute(3, 0, 1, 2)[:, :, None, None].contiguous()
        return weights.to(moved.dtype)  # autocast has them in bfloat16


class GatedStage(nn.Sequential):
    """A stage of torchvision's Bottlenecks, each with its own `gsf`."""

    def __init__(self, blocks: nn.Sequential, *, ratio: float) -> None:
        super().__init__(*blocks)
        for block in self:
            _add_gsf(block, ratio=ratio)

    def forward(self, maps: Tensor, num_frames: int) -> Tensor:  # type: ignore[override]
        """Map (N, C, H, W) of clips of num_frames to the output of the stage."""
        for block in self:
            maps = run_block(block, maps, num_frames=num_frames)
        return maps


def _add_gsf(block: Any, *, ratio: float) -> None:
    """Add a `GateShiftFuse` on this fraction of the channels to a Bottleneck."""
    block.gsf = GateShiftFuse(round(ratio * block.conv3.out_channels))


def run_block(block: Any, maps: Tensor, *, num_frames: int) -> Tensor:
    """Run torchvision's Bottleneck with its `gsf` between the last convolution and its norm."""
    out = block.relu(block.bn1(block.conv1(maps)))
    out = block.relu(block.bn2(block.conv2(out)))
    out = block.bn3(block.gsf(block.conv3(out), num_frames=num_frames))
    out += maps if block.downsample is None else block.downsample(maps)
    activated: Tensor = block.relu(out)
    return activated


def _by_frame(maps: Tensor, num_frames: int) -> Tensor:
    """Reshape (N, ...) to (T, B, ...)."""
    return maps.view(num_frames, -1, *maps.shape[1:])
