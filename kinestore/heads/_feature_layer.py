"""What a net on frames tells of its inner maps, for those who look where it looks."""

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, kw_only=True)
class FeatureLayer:
    """A part of a net that gives maps, and which pixels their cells are about.

    A cell is about the middle of what it sees: cell i about pixel `first + stride * i`. A ResNet's
    strided convolutions have a padding that puts cell 0 about pixel 0; pools without a padding put
    it about the middle of what they pool. Times of maps are counted in frames likewise.

    Attributes:
        module: Gives maps (T, C, h, w) of a clip, or (1, C, T, h, w); it is called once.
        stride: Pixels from a cell to the next, down and across.
        first: The pixel that the first cell is about; between two pixels, it has a half.
        time_stride: Frames from a map to the next.
        first_time: The frame that the first map is about.
    """

    module: nn.Module
    stride: int
    first: float = 0.0
    time_stride: int = 1
    first_time: float = 0.0
