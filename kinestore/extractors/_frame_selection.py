"""Selection of the frames of a clip that an extractor sees."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinestore.extractors._clip import ClipFrames
from kinestore.extractors._sampling import MAX_FRAMES, Sampling, read_sampling
from kinestore.samplers import (
    center_segments,
    consecutive_clips,
    evenly_spaced,
    first_frames,
    random_clip,
    stepped_frames,
)
from kinestore.store import UsageError

SPACES = ("luma", "cnn")
"""Feature spaces of keyframe clustering: luma thumbnails, or EfficientNet-Lite0 features."""

DEFAULT_KEYFRAMES = 8
"""Keyframes of a clip for a network that does not take another number."""


@dataclass(frozen=True, kw_only=True)
class FrameChoice:
    """Choice of the frames of a clip that an extractor sees.

    A network that takes more frames than are chosen sees each of them several times.

    Attributes:
        kind: As `read_sampling` reads it, such as "keyframes", "uniform", "step:4" or
            "first:10of100"; None for the extractor's default.
        num_keyframes: Keyframes of a clip, 1 or more; None for the extractor's own number. The
            number of other frames is that of the network's input.
        space: Feature space in which frames are clustered, one of `SPACES`.
        seed: Seed of the clustering and of random choices, combined with the clip's identity.
        frames: Frames that the network takes, where it can take any number; None for its own.
    """

    kind: str | None = None
    num_keyframes: int | None = None
    space: str = "luma"
    seed: int = 0
    frames: int | None = None

    def __post_init__(self) -> None:
        if self.kind is not None:
            read_sampling(self.kind)
        if self.num_keyframes is not None and self.num_keyframes < 1:
            raise UsageError(f"num_keyframes={self.num_keyframes}: must be 1 or more")
        if self.space not in SPACES:
            raise UsageError(f"space={self.space!r}: must be {' or '.join(SPACES)}")
        if self.seed < 0:
            raise UsageError(f"seed={self.seed}: must be 0 or more")
        if self.frames is not None and not 1 <= self.frames <= MAX_FRAMES:
            raise UsageError(f"frames={self.frames}: must be from 1 to {MAX_FRAMES}")

    @property
    def sampling(self) -> Sampling:
        """The kind as read; "keyframes" where there is none."""
        return read_sampling(self.kind or "keyframes")

    @property
    def keyframes(self) -> int:
        """Keyframes of a clip, where the extractor has no number of its own."""
        return self.num_keyframes or DEFAULT_KEYFRAMES

    def by_default(self, kind: str, *, num_keyframes: int | None = None) -> "FrameChoice":
        """Return the same choice, with this kind and number of keyframes where there is none."""
        return replace(
            self, kind=self.kind or kind, num_keyframes=self.num_keyframes or num_keyframes
        )

    def indices(self, clip: ClipFrames, count: int) -> NDArray[np.int64]:
        """Return the frames that a network sees: non-decreasing, int64, shape (count,)."""
        return self.masked_indices(clip, count)[0]

    def masked_indices(
        self, clip: ClipFrames, count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the frames that a network sees, and a mask that is False where there is none.

        Returns:
            Indices, non-decreasing, int64, and mask, bool, both of shape (count,). Only "first"
            leaves steps without a frame; their index is the clip's last one.
        """
        how = self.sampling
        if how.name == "first":
            chosen, mask = first_frames(
                clip.num_frames, max_length=how.longest or count, count=how.count
            )
        else:
            chosen = self._chosen(clip, how, count)
            mask = np.ones(len(chosen), np.bool_)
        spread = evenly_spaced(len(chosen), count)
        return chosen[spread], mask[spread]

    def pieces(self, clip: ClipFrames, count: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return pieces of the clip that do not overlap; of more than P, evenly spaced ones.

        Returns:
            Frames, int64, shape (P, count), and a mask, bool, shape (P,), that is False after the
            last piece of the clip: the frames of such a piece are those of the last one.
        """
        every, most = consecutive_clips(clip.num_frames, length=count), self.sampling.count or 1
        spread = center_segments(len(every), num_segments=most).ravel()
        places = np.arange(most) if len(every) <= most else spread
        return every[places.clip(max=len(every) - 1)], places < len(every)

    def settings(self, count: int) -> dict[str, Any]:
        """Return the settings that a view's specification records."""
        how = self.sampling
        if how.name == "uniform":
            return {"kind": "evenly-spaced", "frames": count}
        if how.name == "keyframes":
            keyframes = {"num_keyframes": self.keyframes, "space": self.space, "seed": self.seed}
            return {"kind": self.kind, **keyframes, "frames": count}
        by_name: dict[str, dict[str, Any]] = {
            "step": {"step": "released"},
            "first": {"longest": how.longest},
            "random": {"stride": how.stride, "seed": self.seed},
            "pieces": {"pieces": how.count},
        }
        chosen = {} if how.count in (None, count) else {"chosen": how.count}
        return {"kind": how.name, **by_name[how.name], **chosen, "frames": count}

    def _chosen(self, clip: ClipFrames, how: Sampling, count: int) -> NDArray[np.int64]:
        if how.name == "uniform":
            return evenly_spaced(clip.num_frames, count)
        if how.name == "keyframes":
            return clip.keyframes(num_keyframes=self.keyframes, space=self.space, seed=self.seed)
        if how.name == "step":
            return stepped_frames(clip.num_frames, count=how.count or count, as_released=True)
        if how.name == "random":
            seed = clip_seed(clip.clip_id, self.seed)
            length = how.count or count
            return random_clip(clip.num_frames, length=length, stride=how.stride, seed=seed)
        raise UsageError(
            f"sampling={self.kind!r}: is for networks on clips of frames, such as r3d and slow"
        )


def clip_seed(clip_id: str, seed: int) -> int:
    """Return a seed for one clip, which depends only on the clip's bytes and `seed`."""
    return (int(clip_id, 16) + seed) % 2**32


def draw_index(clip_id: str, *, count: int, seed: int) -> int:
    """Draw one of 0 to count - 1 uniformly, from the clip's bytes and `seed` alone."""
    digest = hashlib.sha256(f"{seed}:{clip_id}".encode()).digest()
    return int.from_bytes(digest[:8]) % count
