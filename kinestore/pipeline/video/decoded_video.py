"""Frame-exact decoding: in order from the first frame, with selection afterwards.

Seeking by index returns wrong frames on common data sets: packed AVI bitstreams and open GOPs have
no exact table of frame positions, and headers miscount. Decoding in order costs about a tenth of a
millisecond a frame at 320x240, and only requested frames are converted to RGB. In a long video,
frames are reached by seeking where the first pass can prove them right.

Shape legend: T frames of the video, N requested frames, H height, W width.
"""

from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from kinestore.extractors import clip_seed
from kinestore.pipeline.video.errors import VideoError
from kinestore.pipeline.video.frame_conversion import RgbConverter, luma
from kinestore.pipeline.video.identity import identify
from kinestore.pipeline.video.luma_thumbnails import LumaThumbnails
from kinestore.pipeline.video.orientation import Orientations
from kinestore.pipeline.video.reader import VideoReader
from kinestore.pipeline.video.seek_index import SeekIndex
from kinestore.pipeline.video.segment import Segment, frames_of
from kinestore.store import UsageError, VideoInfo

BUFFER_BYTES = 256 << 20
"""Decoded pictures kept in memory; a longer video is decoded again instead."""

MAX_RGB_BYTES = 8 << 30
"""Larger results are rejected."""

FIRST_RGB_BYTES = 1 << 30
"""Most memory reserved for frames that a header claims and that are not decoded yet."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Frames:
    """Decoded frames, as they are displayed.

    Attributes:
        rgb: uint8, shape (N, H, W, 3), turned upright.
        indices: Index of each frame in the video, from 0, int64, shape (N,).
        pts_s: Presentation time of each in seconds, float64, shape (N,).
    """

    rgb: NDArray[np.uint8]
    indices: NDArray[np.int64]
    pts_s: NDArray[np.float64]


def probe(path: str | Path) -> VideoInfo:
    """Read a video's header; `num_frames` is what the header claims (0 where it has no number).

    Raises:
        VideoError: If the video cannot be read.
    """
    with VideoReader(path) as reader:
        return reader.header()


def iter_frames(path: str | Path) -> Iterator[tuple[int, float, av.VideoFrame]]:
    """Yield every frame in order: its index, its presentation time in seconds and the picture.

    Raises:
        VideoError: If the video cannot be read.
    """
    with VideoReader(path) as reader:
        yield from reader


def decode_frames(path: str | Path, indices: Sequence[int] | None = None) -> Frames:
    """Decode a video in order and return the requested frames.

    Args:
        path: A video file.
        indices: Frames to return, from 0, in any order, such as [0, 10, 20]; None returns all.

    Raises:
        VideoError: If the video cannot be read.
        UsageError: If the video has no frame of such an index, or the result is too large.
    """
    with VideoReader(path) as reader:
        if indices is None:
            return _every_frame(reader)
        return _some_frames(reader, _check(indices, path))


def _every_frame(reader: VideoReader) -> Frames:
    convert, times = RgbConverter(), list[float]()
    pictures = np.empty((0, 0, 0, 3), np.uint8)
    for index, time_s, frame in reader:
        picture = convert(frame, reader.upright_size)
        if index == len(pictures):
            _check_rgb_bytes(index + 1, reader.size, reader.path)
            limit = FIRST_RGB_BYTES // picture.nbytes + 1
            claimed = max(1, min(reader.stream.frames - index, limit))
            room = np.empty((max(claimed, index), *picture.shape), np.uint8)
            pictures = np.concatenate([pictures, room]) if index else room
        pictures[index] = picture
        times.append(time_s)
    _require_frames(times, reader.path)
    count = len(times)
    return Frames(rgb=pictures[:count], indices=np.arange(count), pts_s=np.array(times))


def _some_frames(reader: VideoReader, chosen: NDArray[np.int64]) -> Frames:
    _check_rgb_bytes(len(chosen), reader.size, reader.path)
    convert, last, count = RgbConverter(), int(chosen.max()), 0
    pictures, times = np.empty((0, 0, 0, 3), np.uint8), np.empty(len(chosen))
    wanted = set(chosen.tolist())
    for index, time_s, frame in reader:
        count = index + 1
        if index in wanted:
            picture = convert(frame, reader.upright_size)
            if not pictures.size:
                pictures = np.empty((len(chosen), *picture.shape), np.uint8)
            pictures[chosen == index] = picture
            times[chosen == index] = time_s
        if index == last:
            return Frames(rgb=pictures, indices=chosen, pts_s=times)
    _require_frames(range(count), reader.path)
    raise UsageError(f"index {last}: {reader.path} has frames 0 to {count - 1}")


class DecodedVideo:
    """One decode of a video, from which each extractor takes its frames.

    Pictures stay as decoded (YUV), in at most `buffer_bytes`. Of a longer video only thumbnails
    and the seek index are kept; a request then decodes again. The clip of a segment is its frames
    alone, counted from 0, with their times in the file.

    Attributes:
        info: Properties of the decoded video.
        num_frames: Number of decoded frames.
        pts_s: Presentation time of each in seconds, float64, shape (T,).
        upright_size: Width and height of its pictures as they are displayed.

    Raises:
        VideoError: If the video cannot be read.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        buffer_bytes: int = BUFFER_BYTES,
        segment: Segment | None = None,
    ) -> None:
        self._path, self._segment = path, segment
        self._keyframes: dict[tuple[int, str, int], NDArray[np.int64]] = {}
        self._pictures: list[av.VideoFrame] | None = []
        self._seek_index = SeekIndex()
        self._thumbnails = LumaThumbnails()
        times: list[float] = []
        with VideoReader(path) as reader:
            width, height = reader.size
            claimed = reader.stream.frames if segment is None else 0
            if claimed * width * height * 3 // 2 > buffer_bytes:  # it will not fit
                self._pictures = None
            for _, time_s, frame in frames_of(reader, segment):
                times.append(time_s)
                self._thumbnails.add(frame)
                if self._pictures is None:
                    self._seek_index.add(frame)
                    continue
                self._pictures.append(frame)
                buffer_bytes -= sum(plane.buffer_size for plane in frame.planes)
                if buffer_bytes < 0:
                    pictures, self._pictures = self._pictures, None
                    for early in pictures:
                        self._seek_index.add(early)
            self.info = reader.info() if segment is None else reader.info_of(len(times))
            self.upright_size = reader.upright_size
            self._seekable = not reader.without_times and segment is None
        _require_frames(times, path)
        self.num_frames = len(times)
        self.pts_s = np.array(times, dtype=np.float64)

    def rgb(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return frames as RGB, turned upright: uint8, shape (N, H, W, 3).

        Raises:
            UsageError: If there is no frame of such an index, or the result is too large.
        """
        chosen = self._check(indices)
        _check_rgb_bytes(len(chosen), self.upright_size, self._path)
        convert = RgbConverter()
        pictures = np.empty((len(chosen), *self.upright_size[::-1], 3), np.uint8)
        for index, frame in self._take(chosen):
            pictures[chosen == index] = convert(frame, self.upright_size)
        return pictures

    def luma(
        self, indices: Sequence[int] | NDArray[np.int64], *, size: tuple[int, int]
    ) -> NDArray[np.uint8]:
        """Return luma planes, turned upright and averaged down to `size` = (width, height).

        Returns:
            uint8, shape (N, height, width), in the video's own range (mostly 16 to 235).
        """
        chosen = self._check(indices)
        planes, orientations = np.empty((len(chosen), *size[::-1]), np.uint8), Orientations()
        for index, frame in self._take(chosen):
            planes[chosen == index] = luma(frame, size, orientations)
        return planes

    @cached_property
    def clip_id(self) -> str:
        """Identity of the file's bytes, and of the segment, as in the store."""
        return identify(f"{self._path}{self._segment or ''}")

    def keyframes(self, *, num_keyframes: int, space: str, seed: int) -> NDArray[np.int64]:
        """Return keyframes; the same request is computed once for all callers.

        Args:
            num_keyframes: Number of keyframes, 1 or more.
            space: Feature space in which frames are clustered, one of `extractors.SPACES`.
            seed: Combined with the clip's identity: the keyframes depend on nothing else.

        Returns:
            Non-decreasing frame indices, int64, shape (num_keyframes,).
        """
        from kinestore.pipeline.video.keyframes import (
            choose_keyframes,  # scikit-learn takes long to import
        )

        request = (num_keyframes, space, seed)
        if request not in self._keyframes:
            self._keyframes[request] = choose_keyframes(
                self, num_keyframes=num_keyframes, space=space, seed=clip_seed(self.clip_id, seed)
            )
        return self._keyframes[request]

    def thumbnails(self) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Return luma thumbnails of all frames, or of evenly spaced ones of a long video.

        Returns:
            Their indices, int64, shape (N,), and the thumbnails, uint8, shape (N, 24, 32).
        """
        return self._thumbnails.indices(), np.stack(self._thumbnails.thumbnails)

    def _check(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        chosen = _check(indices, self._path)
        if (last := chosen.max()) >= self.num_frames:
            raise UsageError(f"index {last}: {self._path} has frames 0 to {self.num_frames - 1}")
        return chosen

    def _take(self, chosen: NDArray[np.int64]) -> Iterator[tuple[int, av.VideoFrame]]:
        wanted = [int(index) for index in np.unique(chosen)]
        if self._pictures is not None:
            yield from ((index, self._pictures[index]) for index in wanted)
            return
        missing = set(wanted)
        for index, frame in self._seek(wanted):
            missing.discard(index)
            yield index, frame
        if not missing:
            return
        with VideoReader(self._path) as reader:
            for index, _, frame in frames_of(reader, self._segment):
                if index in missing:
                    yield index, frame
                if index >= max(missing):
                    return

    def _seek(self, wanted: list[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        runs = self._seek_index.runs(wanted) if self._seekable else None
        if not runs:
            return
        with VideoReader(self._path) as reader:
            for key, targets in runs:
                yield from self._seek_index.reach(reader, key, targets)


def _check(indices: Sequence[int] | NDArray[np.int64], path: str | Path) -> NDArray[np.int64]:
    chosen = np.asarray(indices, np.int64)
    if not len(chosen):
        raise UsageError("indices=[]: name at least one frame")
    if (first := chosen.min()) < 0:
        raise UsageError(f"index {first}: frames of {path} are counted from 0")
    return chosen


def _check_rgb_bytes(count: int, size: tuple[int, int], path: str | Path) -> None:
    num_bytes = count * size[0] * size[1] * 3
    if num_bytes > MAX_RGB_BYTES:
        raise UsageError(
            f"{path}: {count} frames of {size[0]}x{size[1]} are {num_bytes / 2**30:.1f} GiB of "
            f"RGB, over {MAX_RGB_BYTES >> 30}; name fewer indices, or use iter_frames"
        )


def _require_frames(found: Sized, path: str | Path) -> None:
    if not len(found):
        raise VideoError("no-frames", f"{path}: holds no frame that can be decoded")
