"""What an extractor is given and what it gives back.

Shape legend: T frames of the clip, N frames asked for, H height, W width.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from store import Embedding, UsageError, ViewSpec

Indices = Sequence[int] | NDArray[np.int64]


class ClipFrames(Protocol):
    """One decoded clip, from which an extractor takes the frames that it wants.

    Attributes:
        num_frames: Frames that can be asked for, 1 or more.
        pts_s: Presentation time of each in seconds, float64, shape (T,).
    """

    num_frames: int
    pts_s: NDArray[np.float64]

    def rgb(self, indices: Indices) -> NDArray[np.uint8]:
        """Frames as RGB, uint8, shape (N, H, W, 3)."""
        ...

    def luma(self, indices: Indices, *, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Luma planes shrunk to `size` = (width, height), uint8, shape (N, height, width)."""
        ...


class Extractor(Protocol):
    """A frozen function from a clip to an embedding.

    Attributes:
        spec: All that the embedding depends on besides the clip.
    """

    spec: ViewSpec

    def embed(self, clip: ClipFrames) -> Embedding:
        """The clip's embedding; `vector` has the shape `spec.shape`, float32."""
        ...


def evenly_spaced(num_frames: int, count: int) -> NDArray[np.int64]:
    """`count` frame indices from the first to the last; a short clip repeats frames.

    Returns:
        Non-decreasing, int64, shape (count,).
    """
    return np.linspace(0, num_frames - 1, count).round().astype(np.int64)


def choose_device(device: str) -> torch.device:
    """Read "auto", "cpu" or "cuda".

    Raises:
        UsageError: If it is something else, or CUDA without a GPU that torch can use.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"device={device!r}: must be auto, cpu or cuda")
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise UsageError("device='cuda': torch finds no usable GPU here; use cpu or auto")
    return torch.device("cuda" if available and device != "cpu" else "cpu")
