"""The small C3D: five 3-D convolutions, each followed by pooling, and three linear layers.

Source: Research on Privacy-Preserving Action Recognition Method Based on Adversarial Learning and
Feature Enhancement, section 3.3, which uses the exploratory network of Learning Spatiotemporal
Features with 3D Convolutional Networks, 2015, section 3.2.

    3 x 16 x 112 x 112 -> 64 x 16 x 56 x 56 -> 128 x 8 x 28 x 28 -> 256 x 4 x 14 x 14
    -> 256 x 2 x 7 x 7 -> 256 x 1 x 4 x 4 = 4096 -> 2048 -> 2048 -> K

Done differently:
    The stride of a pooling is its size, where the text says 1: only then is the size an eighth.
    Sizes are rounded up, so that the last map is 4 x 4 as in the authors' network, not 3 x 3.
    Weights before a ReLU use He initialization (2015): with torch's default the signal vanishes
    over seven layers without a norm.

Shape legend: B batch, T time, H height, W width, K classes.
"""

import math
from itertools import pairwise

from torch import Tensor, nn

from kinestore.heads._feature_layer import FeatureLayer
from kinestore.heads._frames_validation import check_clips
from kinestore.heads._sequence_head import check_fractions, check_sizes
from kinestore.store import UsageError

_CHANNELS = (3, 64, 128, 256, 256, 256)
_HIDDEN = 2048


def build(
    *, num_classes: int, num_frames: int = 16, size: int = 112, dropout: float = 0.5
) -> nn.Module:
    """Build convolutions and poolings, then Linear, ReLU, dropout, twice, and Linear.

    Args:
        num_classes: K, 1 or more.
        num_frames: T, 1 or more; the paper uses 16.
        size: H and W in pixels, 1 or more; the paper uses 112.
        dropout: Fraction of both hidden layers dropped in training, from 0 to below 1.

    Returns:
        A `C3D`.

    Raises:
        UsageError: If a setting is out of range.
    """
    check_sizes({"num_classes": num_classes, "num_frames": num_frames, "size": size})
    check_fractions({"dropout": dropout})
    return C3D(num_classes=num_classes, num_frames=num_frames, size=size, dropout=dropout)


class C3D(nn.Module):
    """Network from frames to logits.

    Attributes:
        num_frames: T.
        size: H and W.
        pools: Convolutions, each with ReLU and pooling.
        classifier: Layers from the last maps to the logits.
    """

    def __init__(self, *, num_classes: int, num_frames: int, size: int, dropout: float) -> None:
        super().__init__()
        self.num_frames = num_frames
        self.size = size
        self.pools = nn.Sequential(
            *(
                _pooled(*channels, time=2 if number else 1)
                for number, channels in enumerate(pairwise(_CHANNELS))
            )
        )
        flat = _CHANNELS[-1] * math.ceil(num_frames / 16) * math.ceil(size / 32) ** 2
        self.classifier = nn.Sequential(
            nn.Flatten(),
            *_hidden(flat, dropout),
            *_hidden(_HIDDEN, dropout),
            nn.Linear(_HIDDEN, num_classes),
        )
        for layer in [*self.pools.modules(), *self.classifier[:-1]]:
            if isinstance(layer, nn.Conv3d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.get_parameter("bias"))

    @property
    def feature_layers(self) -> dict[str, FeatureLayer]:
        """Layers with maps (B, C, t, h, w): the ReLU of each convolution, before pooling."""
        layers = {}
        stride = time_stride = 1
        for number, pooled in enumerate(self.pools, start=1):
            layers[f"conv{number}"] = FeatureLayer(
                module=pooled.get_submodule("1"),
                stride=stride,
                first=(stride - 1) / 2,
                time_stride=time_stride,
                first_time=(time_stride - 1) / 2,
            )
            stride, time_stride = 2 * stride, time_stride * (2 if number > 1 else 1)
        return layers

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits (B, K) of normalized pixels, floating point, shape (B, T, 3, H, W).

        Raises:
            UsageError: If the shape or the dtype differs.
        """
        check_clips(frames)
        if tuple(frames.shape[1:]) != (self.num_frames, 3, self.size, self.size):
            raise UsageError(
                f"frames: shape {tuple(frames.shape)}, must be (clips, {self.num_frames}, 3, "
                f"{self.size}, {self.size}); sample and crop the clips so, or build the head with "
                "another num_frames and size"
            )
        logits: Tensor = self.classifier(self.pools(frames.transpose(1, 2)))
        return logits


def _pooled(channels_in: int, channels_out: int, *, time: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(channels_in, channels_out, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool3d((time, 2, 2), ceil_mode=True),
    )


def _hidden(width: int, dropout: float) -> list[nn.Module]:
    return [nn.Linear(width, _HIDDEN), nn.ReLU(inplace=True), nn.Dropout(dropout)]
