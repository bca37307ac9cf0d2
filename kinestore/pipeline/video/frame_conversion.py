"""Conversion of the decoder's pictures to arrays, turned upright.

Shape legend: H height, W width.
"""

import re

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from kinestore.pipeline.video.orientation import OddAngles, Orientations

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
        self._orientations, self._odd_angles = Orientations(), OddAngles()
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return a picture as RGB, upright and resized to `size` = (width, height).

        The array is a view of the converter's memory: copy it.

        Returns:
            uint8, shape (H, W, 3).
        """
        decoded, turns = frame, self._orientations
        frame = self._odd_angles.rotate(decoded, turns.filters(decoded))
        width, height = turns.stored_size(decoded, size)
        if (frame.width, frame.height) != (width, height):
            frame = frame.reformat(width=width, height=height)
        if deep := _DEEP.fullmatch(frame.format.name):  # straight to RGB, colours would bleed
            frame = frame.reformat(format=deep[1])
        picture = self._reformatter.reformat(frame, format="rgb24", threads=1)
        stored = picture.planes[0]
        rows = np.frombuffer(memoryview(stored), np.uint8).reshape(stored.height, -1)
        return turns.turn(decoded, rows[:, : 3 * stored.width].reshape(stored.height, -1, 3))


def luma(
    frame: av.VideoFrame, size: tuple[int, int], orientations: Orientations
) -> NDArray[np.uint8]:
    """Return a picture's luma, averaged down to `size` = (width, height) when upright.

    An angle that is not right is ignored.
    """
    stored_size = orientations.stored_size(frame, size)
    return orientations.turn(frame, _average(luma_plane(frame), stored_size))


def thumbnail(frame: av.VideoFrame, orientations: Orientations) -> NDArray[np.uint8]:
    """Return a luma thumbnail, from whole blocks of pixels and a part of the rows: uint8, (24, 32).

    OpenCV averages such blocks fastest; less than a block at the right and bottom is ignored.
    """
    width, height = orientations.stored_size(frame, _THUMBNAIL)
    stored = luma_plane(frame)
    stored = stored[:: max(1, stored.shape[0] // (height * _MIN_ROWS))]
    high, wide = (max(1, n // m) * m for n, m in zip(stored.shape, (height, width), strict=True))
    return orientations.turn(frame, _average(stored[:high, :wide], (width, height)))


def luma_plane(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Return the stored luma plane, without a copy where it has 8 bits: uint8, (H, W)."""
    if frame.format.name not in _PLANAR_LUMA:
        deep = _DEEP.fullmatch(frame.format.name)
        frame = frame.reformat(format=deep[1] if deep else "yuv420p")
    first = frame.planes[0]
    rows = np.frombuffer(memoryview(first), np.uint8).reshape(first.height, first.line_size)
    return rows[:, : first.width]


def _average(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
