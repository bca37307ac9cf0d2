"""Frames of a clip that are kept as pictures, for networks that train end to end.

Shape legend: T frames, C channels, H height, W width.
"""

import importlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinestore.extractors import evenly_spaced
from kinestore.pipeline.video.decoded_video import DecodedVideo
from kinestore.pipeline.video.reader import MAX_PIXELS
from kinestore.pipeline.video.samplers import centre_segments, first_frames
from kinestore.store import FramesSpec, UsageError

CODE_VERSION = 1
"""Goes up whenever the same clip would give other bytes."""

SPELLED = re.compile(
    r"(?:(segments):([0-9]{1,6})x([0-9]{1,6})|(even|first):([0-9]{1,6}))"
    r"@([0-9]{1,6})(?:x([0-9]{1,6}))?"
)

MOST_FRAMES = 1024
SIDES = (16, 1024)
"""Pixels that a side has, at the least and at the most."""
MOST_BYTES = 256 << 20
"""Of one clip. A worker holds a shard of them in memory, and a shard is one clip or more."""

RGB_BYTES = 256 << 20
"""RGB that is held at once, before or after scaling. Less would have long videos, whose pictures
are not kept, decoded again and again."""


@dataclass(frozen=True, kw_only=True)
class TakenFrames:
    """Which frames of a clip are kept, and how large.

    Attributes:
        sampling: "segments" (consecutive frames at the centre of each of equal segments:
            `pipeline.clips.centre_segments`), "even" (from the first to the last) or "first".
        counts: Segments and frames of each; or the frames alone.
        size: Width and height.
    """

    sampling: str
    counts: tuple[int, ...]
    size: tuple[int, int]

    batch = 1  # nothing is gained by taking frames of several clips together

    def __post_init__(self) -> None:
        least, most = SIDES
        if not 1 <= self.num_frames <= MOST_FRAMES:
            raise UsageError(
                f"frames={self.name!r}: must be 1 to {MOST_FRAMES} frames, and are "
                f"{self.num_frames}"
            )
        if not all(least <= side <= most for side in self.size):
            raise UsageError(f"frames={self.name!r}: sides must have {least} to {most} pixels")
        if (size_bytes := 3 * self.num_frames * self.size[0] * self.size[1]) > MOST_BYTES:
            raise UsageError(
                f"frames={self.name!r}: must be {MOST_BYTES >> 20} MiB a clip or less, and are "
                f"{size_bytes / 2**20:.0f}; take fewer or smaller frames"
            )

    @property
    def num_frames(self) -> int:
        """T."""
        return int(np.prod(self.counts))

    @property
    def name(self) -> str:
        """As a person writes it, always in the same way."""
        width, height = self.size
        counts = "x".join(map(str, self.counts))
        return f"{self.sampling}:{counts}@{width}" + (f"x{height}" if height != width else "")

    @property
    def spec(self) -> FramesSpec:
        """What the store knows them by."""
        width, height = self.size
        return FramesSpec(
            kind=self.name.replace(":", "-").replace("@", "-"),
            shape=(self.num_frames, height, width, 3),
            settings={
                "code": CODE_VERSION,
                "sampling": {"kind": self.sampling, **self._counts()},
                "size": [width, height],
                "resize": "to cover, bilinear-antialiased",
                "crop": "centre",
                "colour": "rgb, upright",
            },
        )

    def _counts(self) -> dict[str, int]:
        if len(self.counts) == 1:
            return {"frames": self.num_frames}
        return {"segments": self.counts[0], "length": self.counts[1]}

    def make(self) -> "TakenFrames":
        """Itself, once the library that scales pictures is loaded: no clip is to wait for that."""
        importlib.import_module("torchvision.transforms.v2")
        return self

    def indices(self, num_frames: int) -> NDArray[np.int64]:
        """The frames of a video of so many: non-decreasing, int64, shape (T,)."""
        if self.sampling == "segments":
            segments, length = self.counts
            return centre_segments(num_frames, num_segments=segments, length=length).ravel()
        if self.sampling == "even":
            return evenly_spaced(num_frames, self.num_frames)
        return first_frames(num_frames, max_length=self.num_frames)[0]

    def take(self, video: DecodedVideo) -> NDArray[np.uint8]:
        """The frames of a clip: RGB, upright, uint8, shape (T, H, W, 3).

        Raises:
            VideoError: If the video cannot be read a second time.
            RuntimeError: If the pictures are too narrow to be scaled, as torch has it where there
                is no memory for that.
        """
        indices = self.indices(video.num_frames)
        frames = np.empty(self.spec.shape, np.uint8)
        for some in self._by_memory(video, np.unique(indices)):
            for index, picture in zip(some, cover(video.rgb(some), size=self.size), strict=True):
                frames[indices == index] = picture
        return frames

    def _by_memory(
        self, video: DecodedVideo, distinct: NDArray[np.int64]
    ) -> Iterator[NDArray[np.int64]]:
        """The frames, in as few lots as memory allows."""
        stored = video.info.width, video.info.height
        width, height = stored[::-1] if round(video.info.rotation / 90) % 2 else stored
        scaled_width, scaled_height = covering((width, height), size=self.size)
        pixels = max(width * height, scaled_width * scaled_height)
        if pixels > MAX_PIXELS:
            raise RuntimeError(f"pictures of {width}x{height} are too narrow to be scaled so far")
        lot = max(1, RGB_BYTES // (3 * pixels))
        return (distinct[at : at + lot] for at in range(0, len(distinct), lot))


def read_frames(given: Sequence[str]) -> dict[str, TakenFrames]:
    """Read what `--frames` says: `segments:SxL@SIZE`, `even:T@SIZE` or `first:T@SIZE`, by name.

    SIZE is a side in pixels, or WIDTHxHEIGHT.

    Raises:
        UsageError: If it says something else, or is out of bounds.
    """
    found = [_read(text) for text in given]
    return {taken.name: taken for taken in found}


def known_as(name: str) -> TakenFrames:
    """The frames that a store knows by this name, such as "segments-8x5-256@0123456789abcdef".

    Raises:
        UsageError: If `extract --frames` keeps no such frames.
    """
    text = re.sub(r"(\w+)-(\w+)-(\w+)@\w+", r"\1:\2@\3", name)
    taken = _read(text) if SPELLED.fullmatch(text) else None
    if taken is None or taken.spec.name != name:
        raise UsageError(
            f"frames {name!r}: are none that `extract --frames` of this version keeps, so nothing "
            "tells which frames of a video they would be; train on frames that it kept, or with "
            "--input videos:segments:8x5@256"
        )
    return taken


def _read(text: str) -> TakenFrames:
    spelled = SPELLED.fullmatch(text)
    if spelled is None:
        raise UsageError(
            f"frames={text!r}: must be segments:SxL@SIZE, even:T@SIZE or first:T@SIZE, with SIZE a "
            "side in pixels or WIDTHxHEIGHT, such as segments:8x5@256"
        )
    segments, *counts, sampling, count, width, height = spelled.groups()
    return TakenFrames(
        sampling=segments or sampling,
        counts=tuple(map(int, counts if segments else [count])),
        size=(int(width), int(height or width)),
    )


def covering(picture: tuple[int, int], *, size: tuple[int, int]) -> tuple[int, int]:
    """The (width, height) that a picture is scaled to, its shape kept, to cover `size`.

    One side is that of `size`; the other is rounded down, as torchvision's Resize does.
    """
    (width, height), (wide, high) = picture, size
    if width * high >= height * wide:
        return high * width // height, high
    return wide, wide * height // width


def cover(rgb_THWC: NDArray[np.uint8], *, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale pictures to cover `size` = (width, height) and cut that from their centre.

    It is torchvision's bilinear resize with antialiasing, and its centre crop: what networks are
    mostly trained on, and what the extractors here see. Without antialiasing, pixels between the
    samples would be lost and edges would flicker as things move. OpenCV's INTER_AREA, which
    averages too, takes four times as long (0.7 ms against 0.15 for a 412x268 picture).

    Returns:
        uint8, shape (T, size[1], size[0], 3).
    """
    import torch
    from torchvision.transforms.v2 import InterpolationMode, functional

    width, height = covering((rgb_THWC.shape[2], rgb_THWC.shape[1]), size=size)
    pictures_TCHW = torch.from_numpy(rgb_THWC).permute(0, 3, 1, 2)
    scaled_TCHW = functional.resize(
        pictures_TCHW, [height, width], InterpolationMode.BILINEAR, antialias=True
    )
    cut_TCHW: Any = functional.center_crop(scaled_TCHW, [size[1], size[0]])
    cut: NDArray[np.uint8] = cut_TCHW.permute(0, 2, 3, 1).numpy()
    return cut
