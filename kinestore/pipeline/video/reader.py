"""One pass over a video file in order, with bounded memory and all damage counted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import av
from av.packet import Packet

from kinestore.pipeline.video.errors import VideoError
from kinestore.pipeline.video.frame_times import FrameTimes
from kinestore.pipeline.video.open_video import open_video
from kinestore.pipeline.video.orientation import rotation, upright_size
from kinestore.pipeline.video.truncation import missing_bytes
from kinestore.store import VideoInfo
from kinestore.store.io.addresses import local_path

PACKED_FRAMES = 2
"""Frames that headers of packed AVIs count too many, in real and undamaged files."""

LAST_FRAME_S = 0.02
"""Seconds by which the last packet of an FLV may end before its header's duration."""

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
        self._container, self.stream = open_video(self.path)
        self._times = FrameTimes(float(self.stream.average_rate or 0), by_place=self.without_times)
        self._ends_s: dict[int, float] = {}
        self._lost_packets = 0
        self._hidden_packets = 0
        self._damaged_frames = 0
        self._rotation = 0
        self.size = self.upright_size = self.stream.width, self.stream.height
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
            for packet in self._container.demux():
                self._note_end(packet)
                if packet.stream is self.stream:
                    yield from self._decode(packet)
        except IndexError:
            pass  # PyAV, after the last packet, of a stream that began after the file was opened
        except av.InvalidDataError:
            self._lost_packets += not self._flv_is_whole()  # or the file ends within something
            yield from self._decode(self._flush_packet())
        except (av.FFmpegError, OSError) as error:
            message = f"{self.path}: reading stopped ({error.strerror})"
            raise VideoError("read-error", message) from error

    def _decode(self, packet: "Packet[Any]") -> Iterator[av.VideoFrame]:
        self._times.add_packet(packet)
        self._hidden_packets += packet.is_discard  # before the start of an edit list
        try:
            yield from packet.decode()
        except (av.InvalidDataError, av.ArgumentError):  # the latter: over MAX_PIXELS
            self._lost_packets += 1

    def _flush_packet(self) -> "Packet[Any]":
        """Return the empty packet after which a decoder returns its last pictures."""
        packet: Packet[Any] = Packet()
        packet.stream = self.stream
        if self.stream.time_base:
            packet.time_base = self.stream.time_base
        return packet

    def _flv_is_whole(self) -> bool:
        """Return whether the packets of an FLV reach the last time of its header: a tag follows."""
        last_s = (self._container.duration or 0) / av.time_base
        reached_s = max(self._ends_s.values(), default=0.0)
        return self._container.format.name == "flv" and 0 < last_s <= reached_s + LAST_FRAME_S

    def _note_end(self, packet: "Packet[Any]") -> None:
        """Note where the packets of each stream end: what the header claims may be sound."""
        start = packet.dts if packet.pts is None else packet.pts
        if start is not None and packet.time_base:
            end_s = float((start + (packet.duration or 0)) * packet.time_base)
            self._ends_s[packet.stream_index] = end_s

    def __iter__(self) -> Iterator[tuple[int, float, av.VideoFrame]]:
        for index, frame in enumerate(self.pictures()):
            time_s = self._times.add(frame)
            self._damaged_frames += frame.is_corrupt
            self._sizes.add((frame.width, frame.height))
            if index == 0:
                self.size = frame.width, frame.height
                self.upright_size = upright_size(frame)
                self._rotation = rotation(frame)
            yield index, time_s, frame

    def header(self) -> VideoInfo:
        """Return the header's claims; `num_frames` is 0 where it has none."""
        num_frames, fps = self.stream.frames, float(self.stream.average_rate or 0)
        return self._info(num_frames, fps, num_frames / fps if fps else 0.0, warning=None)

    def info(self) -> VideoInfo:
        """Return the properties found by a pass that was iterated to its end."""
        fps, duration_s = self._times.rate_and_duration_s()
        return self._info(self._times.num_frames, fps, duration_s, warning=self.warning)

    def info_of(self, num_frames: int) -> VideoInfo:
        """Return the properties of a segment of so many frames; the pass may have ended with it."""
        fps, _ = self._times.rate_and_duration_s()
        warning = "; ".join(self._damage()) or None
        return self._info(num_frames, fps, num_frames / fps if fps else 0.0, warning=warning)

    @property
    def end_s(self) -> float:
        """Time at which the last frame so far ends, in seconds of the container's clock."""
        return self._times.end_s

    @property
    def warning(self) -> str | None:
        """Damage found by a pass that was iterated to its end, in words; None if there is none."""
        found = []
        claimed, came = self._claimed_frames(), self._times.num_frames
        if missing := missing_bytes(self.path, self._container.format.name):
            found.append(f"the file is cut off, {missing} bytes short")
        if claimed > max(came + self._hidden_packets, self._times.num_places) + PACKED_FRAMES:
            found.append(f"the header claims {claimed} frames and {came} came")
        elif not claimed and self._ends_early():
            found.append(
                f"the header claims {self._claimed_s():.1f} s and frames end at "
                f"{self._times.last_s:.1f}"
            )
        return "; ".join([*found, *self._damage()]) or None

    def _damage(self) -> list[str]:
        """Return the damage of what was read so far."""
        found = []
        if self._lost_packets:
            found.append(f"{self._lost_packets} packets could not be decoded")
        if self._damaged_frames:
            found.append(f"{self._damaged_frames} frames are damaged")
        if self._times.num_backwards:
            found.append(f"presentation times run backwards {self._times.num_backwards} times")
        if len(self._sizes) > 1:
            found.append(f"pictures come in {len(self._sizes)} sizes; all are made the first's")
        return found

    def _claimed_frames(self) -> int:
        """Return the frames that the header claims; those that an edit list leaves out are not."""
        claimed = self.stream.frames
        if "mov" in self._container.format.name.split(","):
            return min(claimed, len(self.stream.index_entries) or claimed)
        return claimed

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
        end_s = max(self._ends_s.values(), default=self._times.last_s)
        return end_s + max(SHORT_BY_S, 0.05 * self._claimed_s()) < self._claimed_s()

    def _info(
        self, num_frames: int, fps: float, duration_s: float, *, warning: str | None
    ) -> VideoInfo:
        return VideoInfo(
            num_frames=num_frames,
            fps=fps,
            width=self.size[0],
            height=self.size[1],
            codec=self.stream.codec_context.name,
            duration_s=duration_s,
            rotation=self._rotation,
            size_bytes=self.path.stat().st_size,
            warning=warning,
        )
