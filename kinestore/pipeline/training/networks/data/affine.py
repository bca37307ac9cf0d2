"""Augmentation by one affine map for all frames of a clip, which never flips them.

Source: Video Action Recognition Collaborative Learning with Dynamics via PSO-ConvNet Transformer,
2023, Table 2, by the arithmetic of Keras' ImageDataGenerator in its notebooks.

Shape legend: T frames, H height, W width.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kinestore.samplers import three_crop

_DEGREES, _SHIFT, _ZOOM = 8.0, 0.2, 0.1


@dataclass(frozen=True, kw_only=True)
class Affine:
    """A map from places in the result to places in the frame, about the center.

    Attributes:
        degrees: Rotation.
        down: Shift along the height, in shares of the side of the result.
        right: Shift along the width.
        tall: Factor along the height, above 0; below 1 the picture grows.
        wide: Factor along the width, above 0.
    """

    degrees: float
    down: float
    right: float
    tall: float
    wide: float

    def matrix(self) -> Tensor:
        """Return rotation times zoom, float64, shape (2, 2), of (down, right)."""
        angle = math.radians(self.degrees)
        turn = torch.tensor(
            [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]],
            dtype=torch.float64,
        )
        return turn @ torch.diag(torch.tensor([self.tall, self.wide], dtype=torch.float64))

    def offset(self) -> Tensor:
        """Return the shift of the center, turned, in shares of the side: float64, shape (2,)."""
        turned = Affine(degrees=self.degrees, down=0, right=0, tall=1, wide=1).matrix()
        return turned @ torch.tensor([self.down, self.right], dtype=torch.float64)


def draw_affine(seed: int) -> Affine:
    """Draw rotation, shifts and zooms: 8 degrees, 0.2 of the side and 0.1 at most."""
    rng = np.random.default_rng(seed)
    degrees, down, right = rng.uniform(-1, 1, 3) * (_DEGREES, _SHIFT, _SHIFT)
    tall, wide = rng.uniform(1 - _ZOOM, 1 + _ZOOM, 2)
    return Affine(
        degrees=float(degrees),
        down=float(down),
        right=float(right),
        tall=float(tall),
        wide=float(wide),
    )


def apply_affine(frames: Tensor, where: Affine, *, size: int) -> Tensor:
    """Map the center square of all frames alike: bilinear, with the edges of frames repeated.

    Args:
        frames: uint8, shape (T, H, W, 3), both sides at least `size`.
        where: The map.
        size: Side of the result in pixels.

    Returns:
        uint8, shape (T, 3, size, size).
    """
    height, width = frames.shape[1:3]
    axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    places = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1)
    corner = three_crop(height, width, size=size)[1]  # of the test-time center crop
    centers = torch.tensor(corner, dtype=torch.float64) + (size - 1) / 2
    found = places @ where.matrix().T + where.offset() * size + centers
    # grid_sample takes (right, down), from -1 to 1 between the outer edges of the pixels
    sides = torch.tensor([height, width], dtype=torch.float64)
    grid = ((2 * found + 1) / sides - 1).flip(-1).to(frames.device, torch.float32)
    pictures = frames.permute(0, 3, 1, 2).float()
    mapped = torch.nn.functional.grid_sample(
        pictures,
        grid.expand(len(pictures), -1, -1, -1),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    return mapped.round_().clamp_(0, 255).to(torch.uint8)
