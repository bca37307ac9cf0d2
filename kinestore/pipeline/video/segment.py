"""Segments of a video as clips of their own: `video.mp4#t=1.5,4` or `video.mp4#frames=30,90`.

The clip of a segment is the frames whose presentation times are at or after its start and before
its end, in seconds of the container's clock; or the frames of these numbers. The first form is that
of W3C's Media Fragments.
"""

import hashlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import av

from kinestore.pipeline.video.errors import VideoError
from kinestore.pipeline.video.reader import VideoReader
from kinestore.store import UsageError

_FRAGMENT = re.compile(r"(.+)#(t|frames)=([0-9.e+-]{1,30}),([0-9.e+-]{1,30})", re.DOTALL)

MAX_TIME = 1e9
"""Latest end of a segment, in seconds or frames."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A part of a video.

    Attributes:
        by_frames: Whether start and end are numbers of frames, and not seconds.
        start: 0 or more.
        end: Above `start`; the frame or time at it is no part of the segment.
    """

    by_frames: bool
    start: float
    end: float

    def __post_init__(self) -> None:
        unit = "frame" if self.by_frames else "s"
        if not (0 <= self.start < self.end <= MAX_TIME and math.isfinite(self.end)):
            raise UsageError(
                f"start_{unit}={self.start:g}, end_{unit}={self.end:g}: must be from 0, and end "
                "after they start"
            )
        if self.by_frames and (self.start % 1 or self.end % 1):
            raise UsageError(
                f"start_frame={self.start:g}, end_frame={self.end:g}: must be whole numbers"
            )

    def __str__(self) -> str:
        start, end = (repr(float(one)).removesuffix(".0") for one in (self.start, self.end))
        return f"#{'frames' if self.by_frames else 't'}={start},{end}"

    def clip_id(self, file_id: str) -> str:
        """Return the identity of the clip: a hash of the file's identity and of the segment."""
        return hashlib.sha256(f"{file_id}{self}".encode()).hexdigest()[:32]


def split_uri(uri: str) -> tuple[str, Segment | None]:
    """Return the address of a video's file, and the segment that follows it, if there is one."""
    match = _FRAGMENT.fullmatch(uri)
    if match is None:
        return uri, None
    file, unit, *numbers = match.groups()
    try:
        start, end = map(float, numbers)
        return file, Segment(by_frames=unit == "frames", start=start, end=end)
    except (UsageError, ValueError):
        return uri, None  # the name of a file, which may hold anything


def frames_of(
    reader: VideoReader, segment: Segment | None
) -> Iterator[tuple[int, float, av.VideoFrame]]:
    """Yield the frames of a video, or of its segment: number from 0, time in seconds, picture.

    Raises:
        VideoError: If the video ends before the segment does, or cannot be read.
    """
    if segment is None:
        yield from reader
        return
    number, place = 0, 0.0
    for index, time_s, frame in reader:
        place = float(index) if segment.by_frames else time_s
        if place >= segment.end:
            return
        if place >= segment.start:
            yield number, time_s, frame
            number += 1
    frame_s = 1 / (reader.header().fps or 25.0)  # ends are often rounded
    if segment.by_frames and place + 1 < segment.end:
        raise VideoError(
            "segment-beyond-end",
            f"{reader.path}: has {int(place) + 1} frames, and the segment ends at frame "
            f"{int(segment.end)}",
        )
    if not segment.by_frames and reader.end_s + frame_s < segment.end:
        raise VideoError(
            "segment-beyond-end",
            f"{reader.path}: ends at {reader.end_s:.3f} s, and the segment at {segment.end:g} s",
        )
