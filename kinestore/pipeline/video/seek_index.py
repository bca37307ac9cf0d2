"""Verified seeking: few frames of a long video without decoding the rest.

Seeking by time fails on real files. So the first pass, in order, records each frame's time, whether
it is a key frame, and a checksum of its luma; a frame reached by seeking is accepted only if all of
that agrees. Otherwise the video is decoded in order again.
"""

import zlib
from collections.abc import Iterator, Sequence

import av
import numpy as np

from kinestore.pipeline.video.frame_conversion import luma_plane
from kinestore.pipeline.video.reader import VideoReader

ROW_STEP = 16
"""Every 16th row of the luma goes into the checksum."""

LEAD = 32
"""Cost of a seek, in frames, besides those between the key frame and the target."""


class SeekIndex:
    """Time and checksum of each frame, from the first pass."""

    def __init__(self) -> None:
        self._pts: list[int | None] = []
        self._sums: list[int] = []
        self._keys: list[int] = []

    def add(self, frame: av.VideoFrame) -> None:
        """Record the next frame in order."""
        if frame.key_frame:
            self._keys.append(len(self._pts))
        self._pts.append(frame.pts)
        self._sums.append(_checksum(frame))

    def runs(self, wanted: Sequence[int]) -> list[tuple[int, list[int]]] | None:
        """Group increasing frames by the key frame to start from; None where seeking saves nothing.

        Seeking needs distinct, increasing presentation times.
        """
        if not self._keys or self._keys[0] != 0 or not self._times_increase():
            return None
        place = np.searchsorted(self._keys, wanted, side="right") - 1
        runs = [
            (self._keys[key], [i for i, at in zip(wanted, place, strict=True) if at == key])
            for key in np.unique(place)
        ]
        cost = sum(LEAD + targets[-1] - key for key, targets in runs)
        return runs if 2 * cost < wanted[-1] else None

    def reach(
        self, reader: VideoReader, key: int, targets: Sequence[int]
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        """Seek to a key frame and decode to the targets; ends early if a checksum differs."""
        start = self._pts[key]
        if start is None:
            return
        reader.seek(start)
        wanted = {self._pts[index]: index for index in targets}
        for frame in reader.pictures():
            index = wanted.get(frame.pts)
            if index is not None:
                if _checksum(frame) != self._sums[index]:
                    return
                yield index, frame
            if frame.pts is None or frame.pts >= (self._pts[targets[-1]] or 0):
                return

    def _times_increase(self) -> bool:
        return None not in self._pts and bool((np.diff(np.array(self._pts, np.int64)) > 0).all())


def _checksum(frame: av.VideoFrame) -> int:
    return zlib.crc32(luma_plane(frame)[::ROW_STEP].tobytes())
