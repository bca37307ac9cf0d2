"""What a net gets to see of a clip's frames: cuts, mirror images, normalised colours.

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
from torchvision.transforms.v2 import functional

from kinestore.heads import derive_seed
from kinestore.pipeline.video.samplers import three_crop
from kinestore.store import UsageError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's colours, as torchvision's weights expect them, of pixels from 0 to 1."""

SCALES = (1.0, 0.875, 0.75, 0.66)
"""Sides of a training cut, in shares of the shorter side."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A rectangle of every frame of a clip, in pixels, and whether it is mirrored left to right."""

    top: int
    left: int
    height: int
    width: int
    flip: bool


def choose_size(size: int | None, of: tuple[int, int]) -> int:
    """Pixels of a side of what a net sees: those asked for, or 7/8 of the frames' shorter side.

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


def clip_seed(purpose: str, seed: int, *, epoch: int, clip_id: str) -> int:
    """A seed for what is drawn of one clip in one epoch."""
    return derive_seed(purpose, seed, epoch, int.from_bytes(clip_id.encode()))


def draw_cut(height: int, width: int, *, size: int, seed: int) -> Cut:
    """Draw a cut's sides, its place and its mirroring.

    Source: Towards Good Practices for Very Deep Two-Stream ConvNets (2015), section 3 (corner
    cropping and multi-scale cropping), as the released code of TSN does it: sides are `SCALES` of
    the shorter side, at most one step apart; one within two pixels of `size` is `size`; 13 places,
    of corners, middles and quarters.

    Args:
        height: Of the frames, 1 or more.
        width: Likewise.
        size: Pixels that the cut will be resized to.
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
    return Cut(
        top=down * ((height - high) // 4),
        left=right * ((width - across) // 4),
        height=high,
        width=across,
        flip=bool(rng.integers(2)),
    )


_PLACES = [(down, right) for down in (0, 2, 4) for right in (0, 2, 4)]
_PLACES += [(1, 1), (1, 3), (3, 1), (3, 3)]
"""Quarters of the room below and to the right that lie before the cut."""


def cut(frames: Tensor, how: Cut, *, size: int) -> Tensor:
    """Cut all frames alike and resize them (bilinear, antialiased).

    Args:
        frames: uint8, shape (T, H, W, 3).
        how: Where.
        size: Pixels of a side of the result.

    Returns:
        uint8, shape (T, 3, size, size).
    """
    pictures = functional.resized_crop(
        frames.permute(0, 3, 1, 2), how.top, how.left, how.height, how.width, [size, size]
    )
    return _tensor(functional.horizontal_flip(pictures) if how.flip else pictures)


def views(frames: Tensor, *, size: int, num_crops: int) -> Tensor:
    """Cuts for testing: the centre, or both ends and the centre of the longer side.

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


def normalise(pictures: Tensor) -> Tensor:
    """Colours from 0 to 1, less `MEAN`, by `STD`: uint8 (..., 3, H, W) -> float32 of that shape."""
    return _tensor(
        functional.normalize(functional.to_dtype(pictures, torch.float32, scale=True), MEAN, STD)
    )


def _tensor(picture: object) -> Tensor:
    """What torchvision gives for a tensor, which it types as one of many kinds."""
    return torch.as_tensor(picture)


def read_swaps(pairs: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """The class of a mirrored clip, by that of the clip.

    Args:
        pairs: Such as "left,right": a clip of either class, mirrored, is one of the other.
        classes: K names.

    Returns:
        int64, shape (K,).

    Raises:
        UsageError: If a text is no pair of two classes, or a class is in two.
    """
    mirrored = np.arange(len(classes))
    for text in pairs:
        first, second = _pair(text, classes)
        if mirrored[first] != first or mirrored[second] != second:
            raise UsageError(f"swap={text!r}: has a class of another pair; name each class once")
        mirrored[[first, second]] = second, first
    return mirrored


def _pair(text: str, classes: Sequence[str]) -> tuple[int, int]:
    """The numbers of the two classes; names may hold commas themselves."""
    number = {name: index for index, name in enumerate(classes)}
    parts = text.split(",")
    for place in range(1, len(parts)):
        first, second = ",".join(parts[:place]), ",".join(parts[place:])
        if first in number and second in number and first != second:
            return number[first], number[second]
    known = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
    raise UsageError(f"swap={text!r}: must be two classes, as A,B, of {known}")
