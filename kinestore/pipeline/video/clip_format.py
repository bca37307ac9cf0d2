"""Formats of stored clips of frames, on which networks train end to end.

Shape legend: T frames, C channels, H height, W width.
"""

import importlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinestore.pipeline.video.decoded_video import DecodedVideo
from kinestore.pipeline.video.open_video import MAX_PIXELS
from kinestore.samplers import (
    center_segments,
    consecutive_clips,
    evenly_spaced,
    first_frames,
    stepped_frames,
    uniform_clips,
)
from kinestore.store import FramesSpec, UsageError

_CODE_VERSION = 1
"""Incremented whenever the same video would give other bytes."""

_NUMBER = "([0-9]{1,6})"
_GRAMMAR = re.compile(
    f"(?:(segments|pieces|random):{_NUMBER}x{_NUMBER}|(first):{_NUMBER}of{_NUMBER}"
    f"|(even|first|step|random):{_NUMBER})@{_NUMBER}(?:x{_NUMBER})?"
)

_COUNT_NAMES = {
    "segments": ("segments", "length"),
    "pieces": ("pieces", "length"),
    "first": ("frames", "longest"),
    "random": ("frames", "stride"),
}
"""Names of the two counts in the settings; a single count is "frames"."""

MAX_CLIP_FRAMES = 1024
MIN_SIDE, MAX_SIDE = 16, 1024
MAX_CLIP_BYTES = 256 << 20
"""Size limit of one clip: a worker holds a shard in memory, and a shard is at least one clip."""

RGB_BYTES = 256 << 20
"""RGB in memory at once, before or after scaling. With less, long videos, whose pictures are not
kept in memory, would be decoded again and again."""


@dataclass(frozen=True, kw_only=True)
class ClipFormat:
    """Choice of the frames of a video that are stored as a clip, and their size.

    Attributes:
        sampling: "segments" (consecutive frames at the center of each of equal segments, as in
            `samplers.center_segments`), "even" (from the first to the last), "first", "step"
            (`samplers.stepped_frames` as released), "pieces" (pieces that do not overlap, at the
            center of each of equal runs of them) or "random" (a clip at a random place for each
            epoch, and the center one for testing).
        counts: Segments or pieces, and frames of each; the frames alone; or the frames, and of
            "first" the longest sequence, of "random" their stride.
        size: Width and height.
    """

    sampling: str
    counts: tuple[int, ...]
    size: tuple[int, int]

    batch = 1  # taking frames of several clips together is not faster

    def __post_init__(self) -> None:
        if self.sampling == "first" and self.counts[0] > self.counts[-1]:
            raise UsageError(f"frames={self.name!r}: takes more frames than the longest has")
        if not 1 <= self.num_frames <= MAX_CLIP_FRAMES:
            raise UsageError(
                f"frames={self.name!r}: must be 1 to {MAX_CLIP_FRAMES} frames, and are "
                f"{self.num_frames}"
            )
        if not all(MIN_SIDE <= side <= MAX_SIDE for side in self.size):
            raise UsageError(
                f"frames={self.name!r}: sides must have {MIN_SIDE} to {MAX_SIDE} pixels"
            )
        if (size_bytes := 3 * self.num_frames * self.size[0] * self.size[1]) > MAX_CLIP_BYTES:
            raise UsageError(
                f"frames={self.name!r}: must be {MAX_CLIP_BYTES >> 20} MiB a clip or less, and are "
                f"{size_bytes / 2**20:.0f}; take fewer or smaller frames"
            )

    @property
    def num_frames(self) -> int:
        """T."""
        by_parts = self.sampling in ("segments", "pieces")
        return int(np.prod(self.counts)) if by_parts else self.counts[0]

    @property
    def segments(self) -> tuple[int, int]:
        """Segments of a clip and frames of each, as a network takes them."""
        if self.sampling in ("segments", "pieces"):
            return self.counts[0], self.counts[1]
        in_a_row = self.sampling in ("first", "random")
        return (1, self.num_frames) if in_a_row else (self.num_frames, 1)

    @property
    def name(self) -> str:
        """The format as users write it, always spelled in the same way."""
        width, height = self.size
        counts = ("of" if self.sampling == "first" else "x").join(map(str, self.counts))
        return f"{self.sampling}:{counts}@{width}" + (f"x{height}" if height != width else "")

    @property
    def spec(self) -> FramesSpec:
        """The store's name and settings of such clips."""
        width, height = self.size
        names = _COUNT_NAMES[self.sampling] if len(self.counts) == 2 else ("frames",)
        return FramesSpec(
            kind=self.name.replace(":", "-").replace("@", "-"),
            shape=(self.num_frames, height, width, 3),
            settings={
                "code": _CODE_VERSION,
                "sampling": {"kind": self.sampling, **dict(zip(names, self.counts, strict=True))},
                "size": [width, height],
                "resize": "to cover, bilinear-antialiased",
                "crop": "centre",
                "colour": "rgb, upright",
            },
        )

    def load(self) -> "ClipFormat":
        """Return itself once the library that scales pictures is imported: no clip waits for it."""
        importlib.import_module("torchvision.transforms.v2")
        return self

    def indices(self, num_frames: int) -> NDArray[np.int64]:
        """Return which of a video's frames the clip has: non-decreasing, int64, shape (T,)."""
        count, last = self.counts[0], self.counts[-1]
        match self.sampling:
            case "segments" | "pieces":
                return self.parts(num_frames, count=count).ravel()
            case "even":
                return evenly_spaced(num_frames, count)
            case "step":
                return stepped_frames(num_frames, count=count, as_released=True)
            case "random":
                return uniform_clips(
                    num_frames, num_clips=1, length=count, stride=self.stride
                ).ravel()
        return first_frames(num_frames, max_length=last, count=count)[0]

    def parts(self, num_frames: int, *, count: int) -> NDArray[np.int64]:
        """Return the frames of the centers of `count` segments, or runs of pieces: (count, L)."""
        length = self.counts[1]
        if self.sampling == "segments":
            return center_segments(num_frames, num_segments=count, length=length)
        pieces = consecutive_clips(num_frames, length=length)
        return pieces[center_segments(len(pieces), num_segments=count).ravel()]

    @property
    def stride(self) -> int:
        """Distance of the frames of a random clip."""
        return self.counts[1] if len(self.counts) == 2 else 1

    def frames_of(self, video: DecodedVideo) -> NDArray[np.uint8]:
        """Return the clip of a video: RGB, upright, uint8, shape (T, H, W, 3).

        Raises:
            VideoError: If the video cannot be read a second time.
            RuntimeError: If the pictures are too narrow to be scaled, as torch raises where there
                is not enough memory for that.
        """
        indices = self.indices(video.num_frames)
        frames = np.empty(self.spec.shape, np.uint8)
        for chunk in self._chunks(video, np.unique(indices)):
            pictures = resize_to_cover(video.rgb(chunk), size=self.size)
            for index, picture in zip(chunk, pictures, strict=True):
                frames[indices == index] = picture
        return frames

    def _chunks(
        self, video: DecodedVideo, distinct: NDArray[np.int64]
    ) -> Iterator[NDArray[np.int64]]:
        """Divide the frames into as few chunks as memory allows."""
        width, height = video.upright_size
        scaled_width, scaled_height = covering_size((width, height), size=self.size)
        pixels = max(width * height, scaled_width * scaled_height)
        if pixels > MAX_PIXELS:
            raise RuntimeError(f"pictures of {width}x{height} are too narrow to be scaled so far")
        count = max(1, RGB_BYTES // (3 * pixels))
        return (distinct[at : at + count] for at in range(0, len(distinct), count))


def parse_clip_formats(texts: Sequence[str]) -> dict[str, ClipFormat]:
    """Parse `segments:SxL@SIZE`, `even:T@SIZE`, `first:T@SIZE`, `step:T@SIZE` to formats by name.

    Also `first:NofL@SIZE`, `pieces:PxL@SIZE`, `random:L@SIZE` and `random:LxSTRIDE@SIZE`. SIZE
    is a side in pixels, or WIDTHxHEIGHT.

    Raises:
        UsageError: If a text has another form, or is out of bounds.
    """
    formats = [_parse(text) for text in texts]
    return {clip_format.name: clip_format for clip_format in formats}


def parse_frames_name(name: str) -> ClipFormat:
    """Return the format of frames that a store names, such as "segments-8x5-256@0123456789abcdef".

    Raises:
        UsageError: If this version of `extract` stores no such frames.
    """
    text = re.sub(r"(\w+)-(\w+)-(\w+)@\w+", r"\1:\2@\3", name)
    found = _parse(text) if _GRAMMAR.fullmatch(text) else None
    if found is None or found.spec.name != name:
        raise UsageError(
            f"frames {name!r}: were not stored by `extract` of this version, so it is unknown "
            "which frames of a video they are; train on frames that it stored, or on videos with "
            "the input videos:segments:8x5@256"
        )
    return found


def first_frames_of(spec: FramesSpec) -> int | None:
    """Return over how many first frames of a video clips reach; None for other frames."""
    match spec.settings.get("sampling"):
        case {"kind": "first", "frames": int(count), "longest": int(longest)} if count > 0:
            return (count - 1) * (longest // count) + 1
        case {"kind": "first"}:
            return spec.shape[0]
    return None


def _parse(text: str) -> ClipFormat:
    match = _GRAMMAR.fullmatch(text)
    if match is None:
        raise UsageError(
            f"frames={text!r}: must be segments:SxL@SIZE, even:T@SIZE, step:T@SIZE, first:T@SIZE, "
            "first:NofL@SIZE or pieces:PxL@SIZE, with SIZE a side in pixels or WIDTHxHEIGHT, such "
            "as segments:8x5@256"
        )
    *found, width, height = match.groups()
    sampling, *counts = (one for one in found if one is not None)
    numbers = tuple(map(int, counts))
    if sampling == "random" and 0 in numbers:
        raise UsageError(f"frames={text!r}: its numbers must be 1 or more")
    if sampling == "random" and numbers[1:] == (1,):
        numbers = numbers[:1]  # one spelling
    if sampling == "first" and len(set(numbers)) == 1:
        numbers = numbers[:1]
    return ClipFormat(sampling=sampling, counts=numbers, size=(int(width), int(height or width)))


def covering_size(picture: tuple[int, int], *, size: tuple[int, int]) -> tuple[int, int]:
    """Return the (width, height) to which a picture is scaled to cover `size`.

    The aspect ratio is kept: one side is that of `size`, and the other is rounded down, as
    torchvision's Resize does.
    """
    (width, height), (wide, high) = picture, size
    if width * high >= height * wide:
        return high * width // height, high
    return wide, wide * height // width


def resize_to_cover(rgb_THWC: NDArray[np.uint8], *, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale pictures to cover `size` = (width, height) and crop their center.

    This is torchvision's bilinear resize with antialiasing, and its center crop: what networks are
    mostly trained on, and what the extractors here see. Without antialiasing, pixels between the
    samples would be lost and edges would flicker as things move. OpenCV's INTER_AREA, which
    averages too, takes four times as long (0.7 ms against 0.15 for a 412x268 picture).

    Returns:
        uint8, shape (T, size[1], size[0], 3).
    """
    import torch
    from torchvision.transforms.v2 import InterpolationMode, functional

    width, height = covering_size((rgb_THWC.shape[2], rgb_THWC.shape[1]), size=size)
    pictures_TCHW = torch.from_numpy(rgb_THWC).permute(0, 3, 1, 2)
    scaled_TCHW = functional.resize(
        pictures_TCHW, [height, width], InterpolationMode.BILINEAR, antialias=True
    )
    cropped_TCHW: torch.Tensor = functional.center_crop(scaled_TCHW, [size[1], size[0]])
    cropped: NDArray[np.uint8] = cropped_TCHW.permute(0, 2, 3, 1).numpy()
    return cropped
