"""The protocol of a decoded clip, as extractors see it.

Shape legend: T frames of the clip, N requested frames, H height, W width.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_Indices = Sequence[int] | NDArray[np.int64]


class ClipFrames(Protocol):
    """One decoded clip, from which an extractor takes frames.

    Attributes:
        clip_id: Identity of the clip's bytes: random choices depend on it and a seed.
        num_frames: Number of frames, 1 or more.
        pts_s: Presentation time of each in seconds, float64, shape (T,).
    """

    num_frames: int
    pts_s: NDArray[np.float64]

    @property
    def clip_id(self) -> str: ...

    def rgb(self, indices: _Indices) -> NDArray[np.uint8]:
        """Return frames as RGB, uint8, shape (N, H, W, 3)."""
        ...

    def luma(self, indices: _Indices, *, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return luma planes resized to `size` = (width, height), uint8, (N, height, width)."""
        ...

    def keyframes(self, *, num_keyframes: int, space: str, seed: int) -> NDArray[np.int64]:
        """Return the frames nearest to k-means centers, non-decreasing, (num_keyframes,)."""
        ...
