"""Which frames of a clip an extractor looks at."""

import hashlib
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinestore.extractors._clip import ClipFrames
from kinestore.store import UsageError

KINDS = ("keyframes", "uniform")
SPACES = ("luma", "cnn")
"""Keyframes are clustered by luma thumbnails, or by EfficientNet-Lite0 features."""


@dataclass(frozen=True, kw_only=True)
class FrameChoice:
    """Which frames of a clip are looked at.

    A network that takes more frames than are chosen sees each several times over.

    Attributes:
        kind: "keyframes" (nearest to k-means centres), "uniform" (evenly spaced from the first
            to the last), or None for what the extractor does by default.
        num_keyframes: Frames chosen of a clip, 1 or more; evenly spaced frames are as many as
            the network takes.
        space: What frames are clustered by, one of `SPACES`.
        seed: Of the clustering and of what is drawn, both joined with the clip's identity.
    """

    kind: str | None = None
    num_keyframes: int = 8
    space: str = "luma"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in (None, *KINDS):
            raise UsageError(f"sampling={self.kind!r}: must be {' or '.join(KINDS)}")
        if self.num_keyframes < 1:
            raise UsageError(f"num_keyframes={self.num_keyframes}: must be 1 or more")
        if self.space not in SPACES:
            raise UsageError(f"space={self.space!r}: must be {' or '.join(SPACES)}")
        if self.seed < 0:
            raise UsageError(f"seed={self.seed}: must be 0 or more")

    def by_default(self, kind: str) -> "FrameChoice":
        """The same, with a kind where there is none yet."""
        return self if self.kind else replace(self, kind=kind)

    def indices(self, clip: ClipFrames, count: int) -> NDArray[np.int64]:
        """The frames that a network sees: non-decreasing, int64, shape (count,)."""
        if self.kind == "uniform":
            return evenly_spaced(clip.num_frames, count)
        chosen = clip.keyframes(num_keyframes=self.num_keyframes, space=self.space, seed=self.seed)
        return chosen[evenly_spaced(len(chosen), count)]

    def settings(self, count: int) -> dict[str, Any]:
        """What a view's specification says of them."""
        if self.kind == "uniform":
            return {"kind": "evenly-spaced", "frames": count}
        return {**asdict(self), "frames": count}


def evenly_spaced(num_frames: int, count: int) -> NDArray[np.int64]:
    """`count` frame indices from the first to the last; a short clip repeats frames.

    Returns:
        Non-decreasing, int64, shape (count,).
    """
    return np.linspace(0, num_frames - 1, count).round().astype(np.int64)


def clip_seed(clip_id: str, seed: int) -> int:
    """A seed for what is drawn of one clip: it depends on the clip's bytes and `seed` alone."""
    return (int(clip_id, 16) + seed) % 2**32


def draw(clip_id: str, *, count: int, seed: int) -> int:
    """One of 0 to count - 1, each as likely, by the clip's bytes and `seed` alone."""
    digest = hashlib.sha256(f"{seed}:{clip_id}".encode()).digest()
    return int.from_bytes(digest[:8]) % count
