"""What an extractor is given and what it gives back.

Shape legend: T frames of the clip, N frames asked for, H height, W width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kinestore.extractors._clip import ClipFrames
from kinestore.extractors._frame_selection import FrameChoice
from kinestore.store import Embedding, ViewSpec


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What an extractor needs of one clip once that is decoded: small enough to wait in a queue.

    Attributes:
        clip_id: Identity of the clip.
        pixels: uint8, of the same shape for every clip of an extractor.
        frame_index: Frames that it was made of, int64, shape (N,).
        pts_s: Their presentation times in seconds, float64, shape (N,).
    """

    clip_id: str
    pixels: NDArray[np.uint8]
    frame_index: NDArray[np.int64]
    pts_s: NDArray[np.float64]


class Extractor(Protocol):
    """A frozen function from a clip to an embedding, in two halves that may run side by side.

    Attributes:
        spec: All that the embedding depends on besides the clip.
        batch: Clips that it embeds best together.
    """

    spec: ViewSpec

    @property
    def batch(self) -> int: ...

    def prepare(self, clip: ClipFrames) -> Prepared:
        """The half for the CPU: choose frames, take them from the one decode, shrink them."""
        ...

    def embed(self, batch: Sequence[Prepared]) -> list[Embedding]:
        """The half for the device, over clips; `vector` has the shape `spec.shape`, float32.

        What it gives for one does not depend on which others come with it.
        """
        ...


def embed_clip(extractor: Extractor, clip: ClipFrames) -> Embedding:
    """Both halves for one clip."""
    (embedding,) = extractor.embed([extractor.prepare(clip)])
    return embedding


@dataclass(frozen=True, kw_only=True)
class Options:
    """What an extractor is made with.

    Attributes:
        weights: A file of weights, or a folder in the publisher's layout; None takes the
            publisher's own from the cache or the hub.
        device: "cpu", "cuda", or "auto" for CUDA where there is a GPU.
        frames: Which frames of a clip are looked at.
        prompts: Texts that `clip-text` chooses among.
        elsewhere: Whether only the specification is asked for, and clips are embedded by another
            machine: then "cuda" needs no GPU here.
    """

    weights: str | Path | None = None
    device: str = "auto"
    frames: FrameChoice = field(default_factory=FrameChoice)
    prompts: tuple[str, ...] = ()
    elsewhere: bool = False
