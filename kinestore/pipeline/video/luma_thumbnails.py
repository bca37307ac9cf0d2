"""Small pictures of a whole video, however long it is."""

import av
import numpy as np
from numpy.typing import NDArray

from kinestore.pipeline.video.frame_conversion import thumbnail

MAX_THUMBNAILS = 4096
"""Of a longer video, thumbnails are kept of every second frame, or fourth, and so on."""


class Thumbnails:
    """Thumbnails of every frame, or of every so many, so that they stay below a bound.

    Attributes:
        kept: uint8, each of shape (24, 32).
    """

    def __init__(self) -> None:
        self.kept: list[NDArray[np.uint8]] = []
        self._step = 1
        self._seen = 0

    def add(self, frame: av.VideoFrame) -> None:
        """See the next frame in order."""
        if self._seen % self._step == 0:
            self.kept.append(thumbnail(frame))
            if len(self.kept) > MAX_THUMBNAILS:
                self.kept = self.kept[::2]
                self._step *= 2
        self._seen += 1

    def indices(self) -> NDArray[np.int64]:
        """Which frames they are of: int64, increasing."""
        return np.arange(len(self.kept), dtype=np.int64) * self._step
