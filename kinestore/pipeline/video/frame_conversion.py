"""From the decoder's pictures to arrays, turned upright.

Shape legend: H height, W width.
"""

import re

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

PLANAR_LUMA = frozenset({"yuv420p", "yuv422p", "yuv444p", "yuv411p", "yuv410p", "gray"})
"""Pixel formats whose first plane is 8-bit luma as the video keeps it."""

DEEP = re.compile(r"(yuv4\d\dp|gray)\d+[bl]e")
"""Pixel formats with more than 8 bits, and the name of what has 8 bits and is like it else."""

THUMBNAIL = (32, 24)
"""Width and height of the luma thumbnails that frames are compared by."""

ROWS = 5
"""Rows of pixels, at least, that one row of a thumbnail averages; more would cost time alone."""


class RgbConverter:
    """Turns pictures to RGB: swscale's tables are made once, and one thread does it."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame, size: tuple[int, int]) -> NDArray[np.uint8]:
        """A picture as RGB, made `size` = (width, height) where it is not: uint8, (H, W, 3).

        The array looks into memory of the converter's: copy it.
        """
        if (frame.width, frame.height) != size:
            frame = frame.reformat(width=size[0], height=size[1])
        if deep := DEEP.fullmatch(frame.format.name):  # straight to RGB, colours would bleed
            frame = frame.reformat(format=deep[1])
        turned = frame.rotation
        picture = self._reformatter.reformat(frame, format="rgb24", threads=1)
        stored = picture.planes[0]
        rows = np.frombuffer(memoryview(stored), np.uint8).reshape(stored.height, -1)
        return upright(rows[:, : 3 * stored.width].reshape(stored.height, -1, 3), turned)


def luma(frame: av.VideoFrame, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture's luma, averaged down to `size` = (width, height) when upright."""
    return upright(_average(plane(frame), _stored(size, frame.rotation)), frame.rotation)


def thumbnail(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """A picture's luma in small, from whole blocks of pixels and not every row: uint8, (24, 32).

    That is what OpenCV averages fastest; less than a block goes unseen at the right and below.
    """
    width, height = _stored(THUMBNAIL, frame.rotation)
    stored = plane(frame)
    stored = stored[:: max(1, stored.shape[0] // (height * ROWS))]
    high, wide = (max(1, n // m) * m for n, m in zip(stored.shape, (height, width), strict=True))
    return upright(_average(stored[:high, :wide], (width, height)), frame.rotation)


def plane(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """The luma plane as it is stored, without a copy where it has 8 bits: uint8, (H, W)."""
    if frame.format.name not in PLANAR_LUMA:
        deep = DEEP.fullmatch(frame.format.name)
        frame = frame.reformat(format=deep[1] if deep else "yuv420p")
    first = frame.planes[0]
    rows = np.frombuffer(memoryview(first), np.uint8).reshape(first.height, first.line_size)
    return rows[:, : first.width]


def _stored(size: tuple[int, int], rotation: int) -> tuple[int, int]:
    """What a size is before the picture is turned upright."""
    return (size[1], size[0]) if round(rotation / 90) % 2 else size


def upright(picture: NDArray[np.uint8], rotation: int) -> NDArray[np.uint8]:
    """A stored picture turned counter-clockwise by `rotation` degrees, to a right angle."""
    turns = round(rotation / 90) % 4
    return np.rot90(picture, turns) if turns else picture


def _average(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
