"""Sources of a network's clips: frames that the store holds, or the videos themselves.

Shape legend: N clips of a video, S segments, L frames in a row, T = S * L frames of a clip, H
height, W width.
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from kinestore.heads.support.seeds import derive_seed
from kinestore.pipeline.training.networks.data.streamed_videos import ClipPixels, StreamedVideos
from kinestore.pipeline.video.clip_format import first_frames_of, parse_clip_formats
from kinestore.store import FramesSpec, Store, StoredFrames, UsageError


class ClipLayout(Protocol):
    """The shape of clips, which a network is built for."""

    @property
    def name(self) -> str:
        """Name of the source in run folders."""

    @property
    def num_segments(self) -> int:
        """Return S."""

    @property
    def length(self) -> int:
        """Return L."""


class ClipSource(Protocol):
    """Clips of frames by clip_id.

    Attributes:
        name: Name of the source in run folders.
        clip_ids: The clips that it has.
        size: (H, W) of every frame.
        num_segments: S.
        length: L.
        num_changed: Clips left out because no file has their bytes anymore.
        first_frames: First frames of a video that a clip reaches over, if it has the first ones.
    """

    name: str
    clip_ids: list[str]
    size: tuple[int, int]
    num_segments: int
    length: int
    num_changed: int
    first_frames: int | None

    def training(self, clip_id: str, *, seed: int) -> ClipPixels:
        """Read one clip, drawn by the seed: uint8, shape (T, H, W, 3)."""

    def testing(self, clip_id: str, *, num_clips: int) -> ClipPixels:
        """Read clips for testing, the same each time: uint8, shape (num_clips, T, H, W, 3)."""


class StoredClips:
    """Clips of frames that the store holds.

    Stored segments are assigned to `num_clips` clips in turn, as `centre_segments` of that many
    times as many segments lie: training draws one for each place, testing takes each clip or the
    middle one.
    """

    num_changed = 0

    def __init__(self, frames: StoredFrames, *, num_clips: int) -> None:
        if frames.spec.shape[-1] != 3:
            raise UsageError(
                f"{frames.spec.name}: has {frames.spec.shape[-1]} channels a pixel, must have 3"
            )
        self._frames, self._num_clips = frames, num_clips
        kept, self.length = segments_of(frames.spec)
        if kept % num_clips:
            raise UsageError(
                f"clips={num_clips}: must divide the {kept} segments that {frames.spec.name} has "
                "of each video; extract more segments"
            )
        self.num_segments = kept // num_clips
        self.name, self.first_frames = frames.spec.name, first_frames_of(frames.spec)
        self.clip_ids = frames.clip_ids
        self.size = (frames.spec.shape[1], frames.spec.shape[2])

    def training(self, clip_id: str, *, seed: int) -> ClipPixels:
        """Read one clip, its segments drawn from the stored ones: uint8, shape (T, H, W, 3)."""
        rng = np.random.default_rng(derive_seed("kept-segments", seed))
        chosen = rng.integers(self._num_clips, size=self.num_segments)
        kept = self._kept(clip_id)
        return kept[np.arange(self.num_segments), chosen].reshape(-1, *kept.shape[3:])

    def testing(self, clip_id: str, *, num_clips: int) -> ClipPixels:
        """Read every clip, or the middle one: uint8, shape (num_clips, T, H, W, 3)."""
        kept = self._kept(clip_id)
        if num_clips == 1:
            middle = (self._num_clips - 1) // 2
            kept = kept[:, middle : middle + 1]
        pictures = kept.swapaxes(0, 1)
        return np.array(pictures.reshape(len(pictures), -1, *kept.shape[3:]))

    def _kept(self, clip_id: str) -> ClipPixels:
        """Return all stored frames, as in the file: (S, N, L, H, W, 3)."""
        frames = self._frames[clip_id]
        shape = (self.num_segments, self._num_clips, self.length, *frames.shape[1:])
        return frames.reshape(shape)


def segments_of(spec: FramesSpec) -> tuple[int, int]:
    """Return the number of segments and the frames of each; other frames are segments of one."""
    sampling, num_frames = spec.settings.get("sampling"), spec.shape[0]
    match sampling:
        case {"kind": "segments", "segments": int(segments), "length": int(length)}:
            if segments * length == num_frames:
                return segments, length
        case {"kind": "pieces", "pieces": int(pieces), "length": int(length)}:
            if pieces * length == num_frames:
                return pieces, length
        case {"kind": "first" | "random"}:
            return 1, num_frames
    return num_frames, 1


def padded_notes(store: Store, source: ClipSource) -> Iterator[str]:
    """Yield a sentence on videos that are too short for their first frames."""
    if source.first_frames is None:
        return
    rows = store.clips().select(["clip_id", "num_frames"]).to_pylist()
    num_frames = {row["clip_id"]: row["num_frames"] for row in rows}
    short = [one for one in source.clip_ids if num_frames.get(one, 0) < source.first_frames]
    if short:
        yield (
            f"{source.name}: videos shorter than {source.first_frames} frames, whose last frame is "
            f"repeated, as networks on frames take no mask: {len(short)} of {len(source.clip_ids)}"
        )


def open_source(store: Store, text: str, *, num_clips: int) -> ClipSource:
    """Open the clips that a text names.

    Args:
        store: Where they are, or where their videos are known.
        text: "frames", or "frames:NAME" where there are several kinds; or "videos:" with what
            `extract --frames` takes, as "videos:segments:8x5@256", or a random clip, as
            "videos:random:16x4@112".
        num_clips: N, 1 or more.

    Raises:
        UsageError: If the text is another, or there is no such clip.
    """
    where, _, rest = text.partition(":")
    if where == "frames":
        return StoredClips(store.frames(rest or _only_kind(store)), num_clips=num_clips)
    if where != "videos":
        raise UsageError(f"input={text!r}: must be frames, frames:NAME or videos:segments:8x5@256")
    if not rest:
        raise UsageError(
            f"input={text!r}: must say which frames to decode, as videos:segments:8x5@256"
        )
    (taken,) = parse_clip_formats([rest]).values()
    if num_clips > 1 and taken.sampling in ("even", "step", "first"):
        raise UsageError(
            f"clips={num_clips}: {text} has one clip of each video; leave it out, or take "
            "segments, pieces or random"
        )
    return StreamedVideos(store, taken)


def _only_kind(store: Store) -> str:
    kinds = [spec.name for spec in store.kinds_of_frames()]
    if len(kinds) != 1:
        there = (
            f"several kinds of frames; choose one of {', '.join(kinds)}"
            if kinds
            else "no frames yet; "
        )
        how = "" if kinds else "store some with `kinestore extract --frames segments:8x5@256`"
        raise UsageError(f"input='frames': {store.address} has {there}{how}")
    return kinds[0]
