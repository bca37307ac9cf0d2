"""From the decoder's pictures to arrays, turned upright.

Shape legend: H height, W width.
"""

import re

import av
import cv2
import numpy as np
from numpy.typing import NDArray

PLANAR_LUMA = frozenset({"yuv420p", "yuv422p", "yuv444p", "yuv411p", "yuv410p", "gray"})
"""Pixel formats whose first plane is 8-bit luma as the video keeps it."""

DEEP = re.compile(r"(yuv4\d\dp|gray)\d+[bl]e")
"""Pixel formats with more than 8 bits, and the name of what has 8 bits and is like it else."""

BLOCK = 8
"""Shrinking by this or more goes through whole blocks of pixels first: OpenCV averages those at
five times the speed. What is left over at the right and at the bottom is less than one pixel."""


def rgb(frame: av.VideoFrame, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture as RGB, made `size` = (width, height) where it is not: uint8, (H, W, 3)."""
    if (frame.width, frame.height) != size:
        frame = frame.reformat(width=size[0], height=size[1])
    if deep := DEEP.fullmatch(frame.format.name):  # straight to RGB, colours would bleed
        frame = frame.reformat(format=deep[1])
    return upright(
        np.asarray(frame.to_ndarray(format="rgb24", threads=1), np.uint8), frame.rotation
    )


def luma(frame: av.VideoFrame, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture's luma, averaged down to `size` = (width, height) when upright."""
    turned = round(frame.rotation / 90) % 2 == 1
    stored = (size[1], size[0]) if turned else size
    return upright(_shrink(plane(frame), stored), frame.rotation)


def plane(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """The luma plane as it is stored, without a copy where it has 8 bits: uint8, (H, W)."""
    if frame.format.name not in PLANAR_LUMA:
        deep = DEEP.fullmatch(frame.format.name)
        frame = frame.reformat(format=deep[1] if deep else "yuv420p")
    first = frame.planes[0]
    rows = np.frombuffer(memoryview(first), np.uint8).reshape(first.height, first.line_size)
    return rows[:, : first.width]


def upright(picture: NDArray[np.uint8], rotation: int) -> NDArray[np.uint8]:
    """A stored picture turned counter-clockwise by `rotation` degrees, to a right angle."""
    turns = round(rotation / 90) % 4
    return np.rot90(picture, turns) if turns else picture


def _shrink(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    height, width = picture.shape
    block = min(width // size[0], height // size[1])
    if block >= BLOCK:
        blocks = (width // block, height // block)
        picture = picture[: blocks[1] * block, : blocks[0] * block]
        picture = _average(picture, blocks)
    return _average(picture, size)


def _average(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
