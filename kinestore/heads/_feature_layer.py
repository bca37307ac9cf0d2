"""Description of the feature maps of a network on frames, for Grad-CAM."""

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, kw_only=True)
class FeatureLayer:
    """A layer with feature maps, and the pixels at which their cells are centered.

    Cell i is centered at pixel `first + stride * i`. With the padding of a ResNet's strided
    convolutions, cell 0 is centered at pixel 0; with pooling without padding, at the center of the
    pooling window. Times of maps are measured in frames in the same way.

    Attributes:
        module: Returns maps (T, C, h, w) of a clip, or (1, C, T, h, w); it is called once.
        stride: Pixels from one cell to the next, in both directions.
        first: Center of the first cell in pixels; it may lie between two pixels.
        time_stride: Frames from one map to the next.
        first_time: Frame at which the first map is centered.
    """

    module: nn.Module
    stride: int
    first: float = 0.0
    time_stride: int = 1
    first_time: float = 0.0
