"""What an extractor may ask of one decoded clip.

Shape legend: T frames of the clip, N frames asked for, H height, W width.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Indices = Sequence[int] | NDArray[np.int64]


class ClipFrames(Protocol):
    """One decoded clip, from which an extractor takes the frames that it wants.

    Attributes:
        clip_id: Identity of the clip's bytes: what is drawn at random depends on it and a seed.
        num_frames: Frames that can be asked for, 1 or more.
        pts_s: Presentation time of each in seconds, float64, shape (T,).
    """

    num_frames: int
    pts_s: NDArray[np.float64]

    @property
    def clip_id(self) -> str: ...

    def rgb(self, indices: Indices) -> NDArray[np.uint8]:
        """Frames as RGB, uint8, shape (N, H, W, 3)."""
        ...

    def luma(self, indices: Indices, *, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Luma planes shrunk to `size` = (width, height), uint8, shape (N, height, width)."""
        ...

    def keyframes(self, *, num_keyframes: int, space: str, seed: int) -> NDArray[np.int64]:
        """Frames nearest to k-means centres, non-decreasing, int64, shape (num_keyframes,)."""
        ...
