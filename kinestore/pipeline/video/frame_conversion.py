"""Conversion of the decoder's pictures to arrays, turned upright.

Shape legend: H height, W width.
"""

import re

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

_PLANAR_LUMA = frozenset({"yuv420p", "yuv422p", "yuv444p", "yuv411p", "yuv410p", "gray"})
"""Pixel formats whose first plane is the video's 8-bit luma."""

_DEEP = re.compile(r"(yuv4\d\dp|gray)\d+[bl]e")
"""Pixel formats with more than 8 bits; group 1 is the same format with 8 bits."""

_THUMBNAIL = (32, 24)
"""Width and height of luma thumbnails."""

_MIN_ROWS = 5
"""Fewest rows of pixels that one row of a thumbnail averages; more would only cost time."""


class RgbConverter:
    """Converts pictures to RGB in one thread; swscale's tables are made once."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return a picture as RGB, resized to `size` = (width, height): uint8, (H, W, 3).

        The array is a view of the converter's memory: copy it.
        """
        if (frame.width, frame.height) != size:
            frame = frame.reformat(width=size[0], height=size[1])
        if deep := _DEEP.fullmatch(frame.format.name):  # straight to RGB, colours would bleed
            frame = frame.reformat(format=deep[1])
        turned = frame.rotation
        picture = self._reformatter.reformat(frame, format="rgb24", threads=1)
        stored = picture.planes[0]
        rows = np.frombuffer(memoryview(stored), np.uint8).reshape(stored.height, -1)
        return _upright(rows[:, : 3 * stored.width].reshape(stored.height, -1, 3), turned)


def luma(frame: av.VideoFrame, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a picture's luma, averaged down to `size` = (width, height) when upright."""
    return _upright(_average(luma_plane(frame), _stored(size, frame.rotation)), frame.rotation)


def thumbnail(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Return a luma thumbnail, from whole blocks of pixels and a part of the rows: uint8, (24, 32).

    OpenCV averages such blocks fastest; less than a block at the right and bottom is ignored.
    """
    width, height = _stored(_THUMBNAIL, frame.rotation)
    stored = luma_plane(frame)
    stored = stored[:: max(1, stored.shape[0] // (height * _MIN_ROWS))]
    high, wide = (max(1, n // m) * m for n, m in zip(stored.shape, (height, width), strict=True))
    return _upright(_average(stored[:high, :wide], (width, height)), frame.rotation)


def luma_plane(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Return the stored luma plane, without a copy where it has 8 bits: uint8, (H, W)."""
    if frame.format.name not in _PLANAR_LUMA:
        deep = _DEEP.fullmatch(frame.format.name)
        frame = frame.reformat(format=deep[1] if deep else "yuv420p")
    first = frame.planes[0]
    rows = np.frombuffer(memoryview(first), np.uint8).reshape(first.height, first.line_size)
    return rows[:, : first.width]


def _stored(size: tuple[int, int], rotation: int) -> tuple[int, int]:
    """Return the size before the picture is turned upright."""
    return (size[1], size[0]) if round(rotation / 90) % 2 else size


def _upright(picture: NDArray[np.uint8], rotation: int) -> NDArray[np.uint8]:
    """Turn a stored picture counter-clockwise by `rotation` degrees, rounded to a right angle."""
    turns = round(rotation / 90) % 4
    return np.rot90(picture, turns) if turns else picture


def _average(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
