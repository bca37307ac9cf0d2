"""Frame-exact decoding: in order from the first frame, selecting afterwards, never seeking.

Seeking by index returns wrong frames on the field's own data sets: packed AVI bitstreams and open
GOPs have no exact table of where a frame begins, and headers miscount. Decoding in order costs
about a tenth of a millisecond a frame at 320x240, and only frames that somebody wants become RGB.

Shape legend: T frames of the video, N frames asked for, H height, W width.
"""

import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from store import KinestoreError, UsageError, VideoInfo

MAX_PIXELS = 8192 * 8192
"""Larger pictures are refused before a decoder allocates them."""

BUFFER_BYTES = 256 << 20
"""Decoded pictures kept for a second look; a longer video is decoded again instead."""

PLANAR_LUMA = frozenset({"yuv420p", "yuv422p", "yuv444p"})
"""Pixel formats whose first plane is 8-bit luma in the usual limited range."""


class VideoError(KinestoreError):
    """A video that cannot be used: `kind` is a short stable word, the message one sentence."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Frames as they were shown.

    Attributes:
        rgb: uint8, shape (N, H, W, 3), turned upright.
        indices: Place of each frame in the video, from 0, int64, shape (N,).
        pts_s: Presentation time of each in seconds, float64, shape (N,).
    """

    rgb: NDArray[np.uint8]
    indices: NDArray[np.int64]
    pts_s: NDArray[np.float64]


def check_regular_file(path: str | Path) -> None:
    """Refuse what is not a file: opening a named pipe would wait for ever.

    Raises:
        VideoError: Of kind "missing-file", "not-a-file" or "unreadable-file".
    """
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        raise VideoError("missing-file", f"{path}: no such file") from None
    except OSError as error:
        raise VideoError("unreadable-file", f"{path}: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise VideoError("not-a-file", f"{path}: is not a regular file")


def probe(path: str | Path) -> VideoInfo:
    """Read a video's header; `num_frames` is what the header claims (0 where it says nothing).

    Raises:
        VideoError: If it is not a video that can be read.
    """
    with _open(path) as container:
        stream = container.streams.video[0]
        return _info(path, stream, num_frames=stream.frames, rotation=0)


def iter_frames(path: str | Path) -> Iterator[tuple[int, float, av.VideoFrame]]:
    """Every frame in order: its index, its presentation time in seconds and the picture.

    Raises:
        VideoError: If it is not a video that can be read to its end.
    """
    with _open(path) as container:
        stream = container.streams.video[0]
        # AVI keeps no presentation times, and FFmpeg's guesses at them run backwards.
        timeless = container.format.name == "avi"
        seconds_a_frame = 1 / float(stream.average_rate or 25)
        try:
            for index, frame in enumerate(container.decode(stream)):
                known = None if timeless else frame.time
                yield index, index * seconds_a_frame if known is None else known, frame
        except av.FFmpegError as error:
            raise VideoError(
                "decode-error", f"{path}: decoding stopped ({error.strerror})"
            ) from error


def decode_frames(path: str | Path, indices: Sequence[int] | None = None) -> Frames:
    """Decode a video in order and keep the frames asked for.

    Args:
        path: A video file.
        indices: Frames to keep, from 0, in the order wanted; None keeps all.

    Raises:
        VideoError: If it is not a video that can be read to its end.
        UsageError: If the video has no frame of such an index.
    """
    video = DecodedVideo(path)
    chosen = np.arange(video.num_frames) if indices is None else np.asarray(indices, np.int64)
    return Frames(rgb=video.rgb(chosen), indices=chosen, pts_s=video.pts_s[chosen])


class DecodedVideo:
    """One decode of a video, from which each extractor takes the frames that it wants.

    Pictures stay as the decoder gave them (YUV), in at most `BUFFER_BYTES`; of a longer video
    nothing is kept, and each request decodes it again.

    Attributes:
        info: What the decode told.
        num_frames: Frames that came out of the decoder.
        pts_s: Presentation time of each in seconds, float64, shape (T,).

    Raises:
        VideoError: If it is not a video that can be read to its end.
    """

    def __init__(self, path: str | Path, *, buffer_bytes: int = BUFFER_BYTES) -> None:
        self._path = path
        self._kept: list[av.VideoFrame] | None = []
        times, size, rotation = [], 0, 0
        for index, time_s, frame in iter_frames(path):
            rotation = int(frame.rotation) if index == 0 else rotation
            times.append(time_s)
            size += sum(plane.buffer_size for plane in frame.planes)
            if self._kept is not None and size <= buffer_bytes:
                self._kept.append(frame)
            else:
                self._kept = None
        if not times:
            raise VideoError("no-frames", f"{path}: holds no frame that can be decoded")
        self.num_frames = len(times)
        self.pts_s = np.array(times, dtype=np.float64)
        with _open(path) as container:
            stream = container.streams.video[0]
            self.info = _info(path, stream, num_frames=self.num_frames, rotation=rotation)

    def rgb(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """Frames as RGB, turned upright: uint8, shape (N, H, W, 3)."""
        chosen = self._check(indices)
        pictures = {index: _rgb(frame) for index, frame in self._take(chosen)}
        return np.stack([pictures[i] for i in chosen])

    def luma(
        self, indices: Sequence[int] | NDArray[np.int64], *, size: tuple[int, int]
    ) -> NDArray[np.uint8]:
        """Frames' luma planes, turned upright and averaged down to `size` = (width, height).

        Returns:
            uint8, shape (N, height, width), in the video's own range (mostly 16 to 235).
        """
        chosen = self._check(indices)
        planes = {i: _luma(frame, size) for i, frame in self._take(chosen)}
        return np.stack([planes[i] for i in chosen])

    def _check(self, indices: Sequence[int] | NDArray[np.int64]) -> list[int]:
        chosen = [int(i) for i in indices]
        if not chosen:
            raise UsageError("indices=[]: name at least one frame")
        for index in chosen:
            if not 0 <= index < self.num_frames:
                raise UsageError(
                    f"index {index}: {self._path} has frames 0 to {self.num_frames - 1}"
                )
        return chosen

    def _take(self, chosen: list[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        wanted = set(chosen)
        if self._kept is not None:
            yield from ((index, self._kept[index]) for index in sorted(wanted))
            return
        for index, _, frame in iter_frames(self._path):
            if index in wanted:
                yield index, frame
            if index >= max(wanted):
                return


def _open(path: str | Path) -> InputContainer:
    check_regular_file(path)
    try:
        # Titles in a wrong encoding would raise UnicodeDecodeError, and nobody reads them here.
        container = av.open(str(path), metadata_errors="ignore")
    except PermissionError as error:
        raise VideoError("unreadable-file", f"{path}: {error.strerror}") from error
    except (av.FFmpegError, OSError) as error:
        raise VideoError(
            "not-a-video", f"{path}: is not a video that FFmpeg knows ({error.strerror})"
        ) from error
    if not container.streams.video:
        container.close()
        raise VideoError("no-video-stream", f"{path}: has no video stream")
    stream = container.streams.video[0]
    if stream.width * stream.height > MAX_PIXELS:
        size = f"{stream.width}x{stream.height}"
        container.close()
        raise VideoError("too-large", f"{path}: claims pictures of {size}, over {MAX_PIXELS} px")
    stream.codec_context.thread_count = 1  # clips run side by side: one thread each
    return container


def _info(path: str | Path, stream: VideoStream, *, num_frames: int, rotation: int) -> VideoInfo:
    fps = float(stream.average_rate or 0)
    return VideoInfo(
        num_frames=num_frames,
        fps=fps,
        width=stream.width,
        height=stream.height,
        codec=stream.codec_context.name,
        duration_s=num_frames / fps if fps else 0.0,
        rotation=rotation,
        size_bytes=Path(path).stat().st_size,
    )


def _upright(picture: NDArray[np.uint8], frame: av.VideoFrame) -> NDArray[np.uint8]:
    turns = round(frame.rotation / 90) % 4
    return np.rot90(picture, turns) if turns else picture


def _rgb(frame: av.VideoFrame) -> NDArray[np.uint8]:
    return _upright(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8), frame)


def _luma(frame: av.VideoFrame, size: tuple[int, int]) -> NDArray[np.uint8]:
    if frame.format.name not in PLANAR_LUMA:
        frame = frame.reformat(format="yuv420p")
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    upright = np.ascontiguousarray(_upright(rows[:, : plane.width], frame))
    return cv2.resize(upright, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
