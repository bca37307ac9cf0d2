"""One pass over a video file in order, with bounded memory and all damage counted."""

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from kinestore.pipeline.video.errors import VideoError, unreadable
from kinestore.pipeline.video.truncation import missing_bytes
from kinestore.store import VideoInfo
from kinestore.store.io.addresses import local_path

MAX_PIXELS = 8192 * 8192
"""Larger pictures are rejected before a decoder allocates memory for them."""

PACKED_FRAMES = 2
"""Frames that headers of packed AVIs count too many, in real and undamaged files."""

SHORT_BY_S = 1.0
"""Seconds without frames at the end of a header's duration that give no warning."""


class VideoReader:
    """One pass over a video's frames in order: a context manager to iterate over.

    Each item is (index, pts_s, frame): the index from 0, the presentation time in seconds and the
    decoder's picture. Packets that cannot be decoded are skipped and counted, as by the `ffmpeg`
    command; afterwards `warning` lists them.

    Args:
        path: A video file.

    Raises:
        VideoError: If it is not a video that can be opened, or reading it fails.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = local_path(path)
        self._container = _open(self.path)
        self.stream = self._container.streams.video[0]
        self._lost_packets = 0
        self._hidden_packets = 0
        self._damaged_frames = 0
        self._num_frames = 0
        self._last_s = 0.0
        self._backwards = 0
        self._rotation = 0
        self.size = self.stream.width, self.stream.height
        self._sizes: set[tuple[int, int]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    @property
    def without_times(self) -> bool:
        """True if the file has no presentation times: FFmpeg's guesses for AVI run backwards."""
        return bool(self._container.format.name == "avi")

    def seek(self, pts: int) -> None:
        """Continue from the last key frame at or before `pts`, in the stream's time base."""
        self._container.seek(pts, stream=self.stream, backward=True)

    def pictures(self) -> Iterator[av.VideoFrame]:
        """Yield the decoder's pictures from the current position."""
        try:
            for packet in self._container.demux(self.stream):
                self._hidden_packets += packet.is_discard  # before the start of an edit list
                try:
                    yield from packet.decode()
                except (av.InvalidDataError, av.ArgumentError):  # the latter: over MAX_PIXELS
                    self._lost_packets += 1
        except av.InvalidDataError:
            self._lost_packets += 1  # the file ends in the middle of something
        except (av.FFmpegError, OSError) as error:
            message = f"{self.path}: reading stopped ({error.strerror})"
            raise VideoError("read-error", message) from error

    def __iter__(self) -> Iterator[tuple[int, float, av.VideoFrame]]:
        without_times, frame_s = self.without_times, 1 / float(self.stream.average_rate or 25)
        for index, frame in enumerate(self.pictures()):
            known = None if without_times else frame.time
            time_s = index * frame_s if known is None else known
            self._backwards += index > 0 and time_s < self._last_s
            self._last_s = time_s
            self._num_frames = index + 1
            self._damaged_frames += frame.is_corrupt
            self._sizes.add((frame.width, frame.height))
            if index == 0:
                self.size = frame.width, frame.height
                self._rotation = int(frame.rotation)
            yield index, self._last_s, frame

    def header(self) -> VideoInfo:
        """Return the header's claims; `num_frames` is 0 where it has none."""
        return self._info(self.stream.frames, warning=None)

    def info(self) -> VideoInfo:
        """Return the properties found by a pass that was iterated to its end."""
        return self._info(self._num_frames, warning=self.warning)

    @property
    def warning(self) -> str | None:
        """Damage found by a pass that was iterated to its end, in words; None if there is none."""
        found = []
        claimed, came = self.stream.frames, self._num_frames + self._hidden_packets
        if missing := missing_bytes(self.path, self._container.format.name):
            found.append(f"the file is cut off, {missing} bytes short")
        if claimed > came + PACKED_FRAMES:
            found.append(f"the header claims {claimed} frames and {came} came")
        elif not claimed and self._ends_early():
            found.append(
                f"the header claims {self._claimed_s():.1f} s and frames end at {self._last_s:.1f}"
            )
        if self._lost_packets:
            found.append(f"{self._lost_packets} packets could not be decoded")
        if self._damaged_frames:
            found.append(f"{self._damaged_frames} frames are damaged")
        if self._backwards:
            found.append(f"presentation times run backwards {self._backwards} times")
        if len(self._sizes) > 1:
            found.append(f"pictures come in {len(self._sizes)} sizes; all are made the first's")
        return "; ".join(found) or None

    def _claimed_s(self) -> float:
        stream, container = self.stream, self._container
        if stream.duration and stream.time_base:
            return float((stream.start_time or 0) * stream.time_base) + float(
                stream.duration * stream.time_base
            )
        if container.duration:
            return ((container.start_time or 0) + container.duration) / av.time_base
        return 0.0

    def _ends_early(self) -> bool:
        return self._last_s + max(SHORT_BY_S, 0.05 * self._claimed_s()) < self._claimed_s()

    def _info(self, num_frames: int, *, warning: str | None) -> VideoInfo:
        fps = float(self.stream.average_rate or 0)
        return VideoInfo(
            num_frames=num_frames,
            fps=fps,
            width=self.size[0],
            height=self.size[1],
            codec=self.stream.codec_context.name,
            duration_s=num_frames / fps if fps else 0.0,
            rotation=self._rotation,
            size_bytes=self.path.stat().st_size,
            warning=warning,
        )


def check_regular_file(path: str | Path) -> None:
    """Reject what is not a regular file: opening a named pipe would wait forever.

    Raises:
        VideoError: Of kind "missing-file", "not-a-file" or "unreadable-file".
    """
    try:
        mode = Path(path).stat().st_mode
    except OSError as error:
        raise unreadable(path, error) from error
    if not stat.S_ISREG(mode):
        raise VideoError("not-a-file", f"{path}: is not a regular file")


def _open(path: Path) -> InputContainer:
    check_regular_file(path)
    limits = {"max_pixels": str(MAX_PIXELS)}
    try:
        # Titles in a wrong encoding would raise UnicodeDecodeError, and they are not used.
        # An absolute path: FFmpeg takes the "a:" of a name such as "a:b.mp4" for a protocol.
        named = str(path.absolute())
        container = av.open(named, metadata_errors="ignore", options=dict(limits))
    except PermissionError as error:
        raise unreadable(path, error) from error
    except (av.FFmpegError, OSError) as error:
        raise VideoError(
            "not-a-video", f"{path}: is not a video that FFmpeg knows ({error.strerror})"
        ) from error
    try:
        _check(container, path).codec_context.options = limits
    except VideoError:
        container.close()
        raise
    return container


def _check(container: InputContainer, path: Path) -> VideoStream:
    if container.format.name.endswith("_pipe") or container.format.name == "image2":
        raise VideoError("not-a-video", f"{path}: is a still picture ({container.format.name})")
    if not container.streams.video:
        raise VideoError("no-video-stream", f"{path}: has no video stream")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise VideoError("no-decoder", f"{path}: its video stream is of no codec that FFmpeg knows")
    if stream.width * stream.height > MAX_PIXELS:
        size = f"{stream.width}x{stream.height}"
        raise VideoError("too-large", f"{path}: claims pictures of {size}, over {MAX_PIXELS} px")
    stream.codec_context.thread_count = 1  # clips run side by side: one thread each
    return stream
