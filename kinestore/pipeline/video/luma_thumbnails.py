"""Luma thumbnails of a whole video, in bounded memory."""

import av
import numpy as np
from numpy.typing import NDArray

from kinestore.pipeline.video.frame_conversion import thumbnail
from kinestore.pipeline.video.orientation import Orientations

MAX_THUMBNAILS = 4096
"""A longer video has thumbnails of every second frame, or fourth, and so on."""


class LumaThumbnails:
    """Thumbnails of every frame, or of every 2nd, 4th, ... frame of a long video.

    Attributes:
        thumbnails: uint8, each of shape (24, 32).
    """

    def __init__(self) -> None:
        self.thumbnails: list[NDArray[np.uint8]] = []
        self._orientations = Orientations()
        self._step = 1
        self._seen = 0

    def add(self, frame: av.VideoFrame) -> None:
        """Add the next frame in order."""
        if self._seen % self._step == 0:
            self.thumbnails.append(thumbnail(frame, self._orientations))
            if len(self.thumbnails) > MAX_THUMBNAILS:
                self.thumbnails = self.thumbnails[::2]
                self._step *= 2
        self._seen += 1

    def indices(self) -> NDArray[np.int64]:
        """Return the frame index of each thumbnail: int64, increasing."""
        return np.arange(len(self.thumbnails), dtype=np.int64) * self._step
