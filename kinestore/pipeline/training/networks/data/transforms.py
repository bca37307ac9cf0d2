"""Augmentation of a clip's frames: crops, flips and normalized colors.

One transform holds for all frames of a clip, on the uint8 frames, by torchvision's arithmetic. What
is drawn depends on the seed, the epoch and the clip's identity alone: not on order or workers.

Shape legend: B clips, V views of a clip, T frames, H height, W width, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinestore.heads.support.seeds import derive_seed
from kinestore.samplers import three_crop
from kinestore.store import UsageError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's colors, as torchvision's weights expect them, of pixels from 0 to 1."""

SCALES = (1.0, 0.875, 0.75, 0.66)
"""Sides of a training crop, in shares of the shorter side."""


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A rectangle of every frame of a clip, in pixels, and whether it is flipped left to right."""

    top: int
    left: int
    height: int
    width: int
    flip: bool


def choose_size(size: int | None, of: tuple[int, int]) -> int:
    """Return the side of a network's input: as requested, or 7/8 of the frames' shorter side.

    Raises:
        UsageError: If the frames are smaller.
    """
    shorter = min(of)
    if size is not None and not 1 <= size <= shorter:
        raise UsageError(
            f"size={size}: must be from 1 to {shorter}, the shorter side of the frames; take "
            "larger frames"
        )
    return size or max(1, shorter * 7 // 8)


def augmentation_seed(purpose: str, seed: int, *, epoch: int, clip_id: str) -> int:
    """Return the seed of one clip's augmentation in one epoch."""
    return derive_seed(purpose, seed, epoch, int.from_bytes(clip_id.encode()))


def draw_crop(height: int, width: int, *, size: int, seed: int) -> Crop:
    """Draw the sides and place of a crop, and whether it is flipped.

    Source: Towards Good Practices for Very Deep Two-Stream ConvNets (2015), section 3 (corner
    cropping and multi-scale cropping), as the released code of TSN does it: sides are `SCALES` of
    the shorter side, at most one step apart; one within two pixels of `size` is `size`; 13 places,
    of corners, middles and quarters.

    Args:
        height: Of the frames, 1 or more.
        width: Of the frames, 1 or more.
        size: Side in pixels to which the crop will be resized.
        seed: 0 or more.
    """
    rng = np.random.default_rng(seed)
    sides = [int(min(height, width) * scale) for scale in SCALES]
    sides = [
        size if abs(side - size) < 3 and size <= min(height, width) else side for side in sides
    ]
    pairs = [(i, j) for i in range(len(sides)) for j in range(len(sides)) if abs(i - j) <= 1]
    tall, wide = pairs[rng.integers(len(pairs))]
    high, across = max(1, sides[tall]), max(1, sides[wide])
    down, right = _PLACES[rng.integers(len(_PLACES))]
    return Crop(
        top=down * ((height - high) // 4),
        left=right * ((width - across) // 4),
        height=high,
        width=across,
        flip=bool(rng.integers(2)),
    )


_PLACES = [(down, right) for down in (0, 2, 4) for right in (0, 2, 4)]
_PLACES += [(1, 1), (1, 3), (3, 1), (3, 3)]
"""Offsets of a crop, in quarters of the room below and to the right."""


def crop(frames: Tensor, where: Crop, *, size: int) -> Tensor:
    """Crop all frames alike and resize them (bilinear, antialiased).

    Args:
        frames: uint8, shape (T, H, W, 3).
        where: The crop.
        size: Side of the result in pixels.

    Returns:
        uint8, shape (T, 3, size, size).
    """
    from torchvision.transforms.v2 import functional  # seconds, which heads on features save

    pictures = functional.resized_crop(
        frames.permute(0, 3, 1, 2), where.top, where.left, where.height, where.width, [size, size]
    )
    return _tensor(functional.horizontal_flip(pictures) if where.flip else pictures)


def evaluation_crops(frames: Tensor, *, size: int, num_crops: int) -> Tensor:
    """Return test-time crops: the center, or both ends and the center of the longer side.

    Args:
        frames: uint8, shape (T, H, W, 3).
        size: Pixels of a side, no more than the shorter side of the frames.
        num_crops: V, 1 or 3.

    Returns:
        uint8, shape (V, T, 3, size, size).
    """
    height, width = frames.shape[1:3]
    places = three_crop(height, width, size=size).tolist()
    return torch.stack(
        [
            frames[:, top : top + size, left : left + size].permute(0, 3, 1, 2)
            for top, left in (places if num_crops == 3 else places[1:2])
        ]
    )


def normalize(pictures: Tensor) -> Tensor:
    """Scale colors to 0 to 1, subtract `MEAN`, divide by `STD`: uint8 (..., 3, H, W) to float32."""
    from torchvision.transforms.v2 import functional

    return _tensor(
        functional.normalize(functional.to_dtype(pictures, torch.float32, scale=True), MEAN, STD)
    )


def _tensor(picture: object) -> Tensor:
    """Narrow the type of torchvision's result."""
    return torch.as_tensor(picture)


def read_flip_pairs(pairs: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """Return the class of a flipped clip, by that of the clip.

    Args:
        pairs: Such as "left,right": a flipped clip of either class is one of the other.
        classes: K names.

    Returns:
        int64, shape (K,).

    Raises:
        UsageError: If a text is no pair of two classes, or a class is in two.
    """
    flipped = np.arange(len(classes))
    for text in pairs:
        first, second = _pair(text, classes)
        if flipped[first] != first or flipped[second] != second:
            raise UsageError(
                f"flip_pair={text!r}: has a class of another pair; name each class once"
            )
        flipped[[first, second]] = second, first
    return flipped


def _pair(text: str, classes: Sequence[str]) -> tuple[int, int]:
    """Return the numbers of the two classes; names may contain commas."""
    number = {name: index for index, name in enumerate(classes)}
    parts = text.split(",")
    for place in range(1, len(parts)):
        first, second = ",".join(parts[:place]), ",".join(parts[place:])
        if first in number and second in number and first != second:
            return number[first], number[second]
    known = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
    raise UsageError(f"flip_pair={text!r}: must be two classes, as A,B, of {known}")
