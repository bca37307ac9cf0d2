"""Spatio-temporal correlation: similarity of a position to its neighbors in space and time.

Source: Fine-Grained Spatio-temporal Feature Learning Network for Video Understanding, section 3,
Eqs. 1 to 4. The paper gives neither the displacements nor the widths: these are a reconstruction
with its numbers of parameters and operations. docs/nets-correlation.md explains each step.

Shape legend: N maps, time outermost (N = T B), T time, B batch, C channels, H height, W width,
L = 2 max_offset + 1 offsets in time, P = 2 max_displacement + 1 displacements per axis, F = 8
features of an offset.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad

from kinestore.heads._correlation_op import correlate, exchanged, surrounded

_EPSILON = 1e-6
"""Added to a squared norm, so that a zero vector does not divide by zero."""

_HIDDEN, _FEATURES = 32, 8
_FUSED = 16


class SpatioTemporalCorrelation(nn.Module):
    """Adds features of correlations to the output of a stage.

    Attributes:
        max_offset: Largest distance in frames.
        max_displacement: Largest distance in positions, per axis.
        signed: Whether an offset and its opposite have separate features. Otherwise both get
            their mean, which does not distinguish forward from backward motion.
        as_printed: Whether the features end in a ReLU, before the sum, and their last norm starts
            from 1, as the paper has it. Otherwise that norm starts from 0 and the ReLU is after
            the sum, so that the module changes nothing before training.
    """

    def __init__(
        self,
        channels: int,
        *,
        max_offset: int,
        max_displacement: int,
        signed: bool,
        as_printed: bool = False,
    ) -> None:
        super().__init__()
        self.max_offset = max_offset
        self.max_displacement = max_displacement
        self.signed, self.as_printed = signed, as_printed
        num_displacements = (2 * max_displacement + 1) ** 2
        self.spatial = _perceptron(num_displacements)
        self.temporal = _perceptron(num_displacements)
        self.fusion = _fusion((2 * max_offset + 1) * _FEATURES, channels, as_printed=as_printed)

    def forward(self, maps: Tensor, earlier: Tensor, *, num_frames: int) -> Tensor:
        """Return the sum of the stage's output and the features of its correlations.

        Args:
            maps: Shape (N, C, H, W), of clips of num_frames each.
            earlier: Shape (N, C', H, W) or (N, C', 2 H, 2 W).
            num_frames: T.

        Returns:
            Shape (N, C, H, W).
        """
        features = self.correlation_features(maps, earlier, num_frames=num_frames)
        if self.as_printed:
            return features + maps
        return features.add_(maps).relu_()  # allocating large tensors is expensive on a CPU

    def correlation_features(self, maps: Tensor, earlier: Tensor, *, num_frames: int) -> Tensor:
        """Return the features that are added; arguments and shape as in `forward`."""
        features = {
            offset: (self.temporal if offset else self.spatial)(volume)
            for offset, volume in self.similarities(maps, earlier, num_frames=num_frames)
        }
        apart = torch.stack([features[offset] for offset in sorted(features)], -2)
        if not self.signed:
            apart = (apart + apart.flip(-2)) / 2
        fused: Tensor = self.fusion(apart.flatten(-2).permute(0, 3, 1, 2))
        return fused

    def similarities(
        self, maps: Tensor, earlier: Tensor, *, num_frames: int
    ) -> Iterator[tuple[int, Tensor]]:
        """Compute the cosine similarities of one offset at a time; arguments as in `forward`.

        Yields:
            An offset, and the cosine similarity of position (i, j) of each frame with position
            (i + a - D, j + b - D) of the frame at that offset, for a and b from 0 to 2 D, where D
            is max_displacement: shape (N, H, W, P * P), 0 outside the frame and outside the clip.
            Offset 0 uses the previous stage, the others this stage.
        """
        reach = self.max_displacement
        same = _units(avg_pool2d(earlier, 2, ceil_mode=True) if _larger(earlier, maps) else earlier)
        yield 0, correlate(same, surrounded(same, reach=reach), reach=reach).flatten(-2)
        units = _units(maps)
        around = surrounded(units, reach=reach)
        for offset in range(1, self.max_offset + 1):
            outside = min(offset, num_frames) * len(maps) // num_frames
            num_pairs = len(maps) - outside
            volume = correlate(units[:num_pairs], around[outside:], reach=reach)
            yield offset, _padded(volume, 0, outside)
            yield -offset, _padded(exchanged(volume), outside, 0)


@contextmanager
def defined_products(model: nn.Module) -> Iterator[list[int]]:
    """Collect the multiplications of each correlation module as it is defined, while a model runs.

    For every position, frame and offset, the dot products with all displacements, those outside
    the frame and the clip included, as a padded implementation computes them.
    """
    products: list[int] = []

    def count(part: SpatioTemporalCorrelation, given: tuple[Tensor, Tensor]) -> None:
        maps, earlier = given
        num_maps, channels, height, width = maps.shape
        places = num_maps * height * width * (2 * part.max_displacement + 1) ** 2
        products.append(places * (earlier.shape[1] + 2 * part.max_offset * channels))

    handles = [
        part.register_forward_pre_hook(count)
        for part in model.modules()
        if isinstance(part, SpatioTemporalCorrelation)
    ]
    try:
        yield products
    finally:
        for handle in handles:
            handle.remove()


def _units(maps: Tensor) -> Tensor:
    """Return unit vectors of (N, C, H, W), as (N, H, W, C)."""
    vectors = maps.permute(0, 2, 3, 1)
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors.div((lengths.square() + _EPSILON).sqrt()).contiguous()


def _larger(earlier: Tensor, maps: Tensor) -> bool:
    return earlier.shape[-2:] != maps.shape[-2:]


def _padded(volume: Tensor, before: int, after: int) -> Tensor:
    """Pad (n, H, W, P, P) with zeros to (before + n + after, H, W, P * P)."""
    return pad(volume.flatten(-2), (0, 0, 0, 0, 0, 0, before, after))


def _perceptron(num_displacements: int) -> nn.Sequential:
    """Build the perceptron of Eqs. 3 and 4."""
    return nn.Sequential(
        nn.Linear(num_displacements, _HIDDEN, bias=False),
        nn.ReLU(),
        nn.Linear(_HIDDEN, _FEATURES, bias=False),
        nn.ReLU(),
    )


def _fusion(channels_in: int, channels_out: int, *, as_printed: bool) -> nn.Sequential:
    """Build four depthwise-separable convolutions; see `SpatioTemporalCorrelation`."""
    layers = [
        *_separable(channels_in, _FUSED, kernel=7),
        *_separable(_FUSED, _FUSED, kernel=3),
        *_separable(_FUSED, _FUSED, kernel=3),
        *_separable(_FUSED, channels_out, kernel=3),
    ]
    if not as_printed:
        del layers[-1]
        nn.init.zeros_(layers[-1].weight)
    return nn.Sequential(*layers)


def _separable(channels_in: int, channels_out: int, *, kernel: int) -> list[Any]:
    """Build depthwise, norm, ReLU, pointwise, norm, ReLU."""
    return [
        nn.Conv2d(
            channels_in, channels_in, kernel, padding=kernel // 2, groups=channels_in, bias=False
        ),
        nn.BatchNorm2d(channels_in),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels_in, channels_out, 1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    ]
