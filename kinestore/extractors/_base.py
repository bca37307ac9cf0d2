"""The protocol of extractors, and the options that they are made with.

Shape legend: T frames of the clip, N requested frames, H height, W width.
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


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedClip:
    """Input of an extractor from one decoded clip: small enough to wait in a queue.

    Attributes:
        clip_id: Identity of the clip.
        pixels: uint8, of the same shape for every clip of an extractor.
        frame_index: Indices of the frames used, int64, shape (N,).
        pts_s: Their presentation times in seconds, float64, shape (N,).
        mask: False for steps of a sequence without a frame, bool, shape (T,); None if all have one.
    """

    clip_id: str
    pixels: NDArray[np.uint8]
    frame_index: NDArray[np.int64]
    pts_s: NDArray[np.float64]
    mask: NDArray[np.bool_] | None = None

    def embedding(self, vector: NDArray[np.float32]) -> Embedding:
        """Return the clip's embedding; steps without a frame become zero."""
        if self.mask is not None:
            vector = np.where(self.mask[:, None], vector, np.float32(0))
        return Embedding(
            vector=vector, frame_index=self.frame_index, pts_s=self.pts_s, mask=self.mask
        )


class Extractor(Protocol):
    """A frozen function from a clip to an embedding, in two halves that may run side by side.

    Attributes:
        spec: Everything that the embedding depends on besides the clip.
        batch: Number of clips that it embeds at once.
    """

    spec: ViewSpec

    @property
    def batch(self) -> int: ...

    def prepare(self, clip: ClipFrames) -> PreparedClip:
        """Choose frames, take them from the decoded clip and preprocess them, on the CPU."""
        ...

    def embed(self, batch: Sequence[PreparedClip]) -> list[Embedding]:
        """Embed clips on the device; `vector` is float32, of shape `spec.shape`.

        The result of a clip does not depend on the other clips of the batch.
        """
        ...


def embed_clip(extractor: Extractor, clip: ClipFrames) -> Embedding:
    """Prepare and embed one clip."""
    (embedding,) = extractor.embed([extractor.prepare(clip)])
    return embedding


@dataclass(frozen=True, kw_only=True)
class ExtractorOptions:
    """Options of an extractor.

    Attributes:
        weights: A file of weights, or a folder in the publisher's layout; None takes the
            published weights from the cache or the hub.
        device: "cpu", "cuda", or "auto" for CUDA where there is a GPU.
        frame_choice: Which frames of a clip it sees.
        prompts: Texts that `clip-text` chooses from.
        crop: Part of the picture that `cnn-*` sees: "square", the largest square at its center;
            None for all of it, resized to a square.
        spec_only: Whether only the specification is needed, because another machine embeds the
            clips: then "cuda" needs no GPU on this one.
    """

    weights: str | Path | None = None
    device: str = "auto"
    frame_choice: FrameChoice = field(default_factory=FrameChoice)
    prompts: tuple[str, ...] = ()
    crop: str | None = None
    spec_only: bool = False
