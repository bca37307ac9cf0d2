"""Selection of the frames of a clip that an extractor sees."""

import hashlib
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinestore.extractors._clip import ClipFrames
from kinestore.store import UsageError

_KINDS = ("keyframes", "uniform")
SPACES = ("luma", "cnn")
"""Feature spaces of keyframe clustering: luma thumbnails, or EfficientNet-Lite0 features."""


@dataclass(frozen=True, kw_only=True)
class FrameChoice:
    """Choice of the frames of a clip that an extractor sees.

    A network that takes more frames than are chosen sees each of them several times.

    Attributes:
        kind: "keyframes" (nearest to k-means centers), "uniform" (evenly spaced from the first
            to the last), or None for the extractor's default.
        num_keyframes: Keyframes of a clip, 1 or more; the number of evenly spaced frames is that
            of the network's input.
        space: Feature space in which frames are clustered, one of `SPACES`.
        seed: Seed of the clustering and of random choices, combined with the clip's identity.
    """

    kind: str | None = None
    num_keyframes: int = 8
    space: str = "luma"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in (None, *_KINDS):
            raise UsageError(f"sampling={self.kind!r}: must be {' or '.join(_KINDS)}")
        if self.num_keyframes < 1:
            raise UsageError(f"num_keyframes={self.num_keyframes}: must be 1 or more")
        if self.space not in SPACES:
            raise UsageError(f"space={self.space!r}: must be {' or '.join(SPACES)}")
        if self.seed < 0:
            raise UsageError(f"seed={self.seed}: must be 0 or more")

    def by_default(self, kind: str) -> "FrameChoice":
        """Return the same choice, with this kind where there is none."""
        return self if self.kind else replace(self, kind=kind)

    def indices(self, clip: ClipFrames, count: int) -> NDArray[np.int64]:
        """Return the frames that a network sees: non-decreasing, int64, shape (count,)."""
        if self.kind == "uniform":
            return evenly_spaced(clip.num_frames, count)
        chosen = clip.keyframes(num_keyframes=self.num_keyframes, space=self.space, seed=self.seed)
        return chosen[evenly_spaced(len(chosen), count)]

    def settings(self, count: int) -> dict[str, Any]:
        """Return the settings that a view's specification records."""
        if self.kind == "uniform":
            return {"kind": "evenly-spaced", "frames": count}
        return {**asdict(self), "frames": count}


def evenly_spaced(num_frames: int, count: int) -> NDArray[np.int64]:
    """Return `count` frame indices from the first to the last; a short clip repeats frames.

    Returns:
        Non-decreasing, int64, shape (count,).
    """
    return np.linspace(0, num_frames - 1, count).round().astype(np.int64)


def clip_seed(clip_id: str, seed: int) -> int:
    """Return a seed for one clip, which depends only on the clip's bytes and `seed`."""
    return (int(clip_id, 16) + seed) % 2**32


def draw_index(clip_id: str, *, count: int, seed: int) -> int:
    """Draw one of 0 to count - 1 uniformly, from the clip's bytes and `seed` alone."""
    digest = hashlib.sha256(f"{seed}:{clip_id}".encode()).digest()
    return int.from_bytes(digest[:8]) % count
