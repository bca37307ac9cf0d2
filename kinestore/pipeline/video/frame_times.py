"""Presentation times of decoded frames, as the `ffmpeg` command has them."""

from typing import Any

import av
from av.packet import Packet

DEFAULT_RATE = 25.0
"""Frames per second where the header has no rate."""


class FrameTimes:
    """Presentation times of a video's frames in order, and how long it lasts by them.

    AVI has no presentation times, only a row of places, one for each 1 / rate seconds, some of them
    empty. A frame has the place of the packet with which it left the decoder. The first frame has
    that of the first packet: the decoder's delay, which ffmpeg's times include, is subtracted.

    Args:
        rate: Average frames per second by the header; 0 where it has none.
        by_place: True for AVI.

    Attributes:
        num_frames: Frames so far.
        num_backwards: Frames with a time before that of the previous one.
        last_s: Time of the last frame in seconds.
        end_s: Latest time at which a frame ends, in seconds.
        num_places: Places of an AVI up to its last packet.
    """

    def __init__(self, rate: float, *, by_place: bool) -> None:
        self._rate = rate
        self._frame_s = 1 / (rate or DEFAULT_RATE)
        self._by_place = by_place
        self._best_effort = _BestEffort()
        self._first_place: int | None = None
        self._delay = 0
        self._pts: int | None = None
        self._start_s = self.end_s = 0.0
        self.num_frames = self.num_backwards = self.num_places = 0
        self.last_s = 0.0

    def add_packet(self, packet: "Packet[Any]") -> None:
        """Record the next packet, before it is decoded."""
        if self._by_place and packet.dts is not None:
            if self._first_place is None:
                self._first_place = packet.dts
            self.num_places = max(self.num_places, packet.dts + 1)

    def add(self, frame: av.VideoFrame) -> float:
        """Record the next frame and return its presentation time in seconds."""
        time_s, duration_s = self._time_at_place(frame) if self._by_place else self._time(frame)
        if self.num_frames == 0:
            self._start_s, self.end_s = time_s, time_s + duration_s
        elif time_s < self.last_s:
            self.num_backwards += 1
        self._start_s = min(self._start_s, time_s)
        self.end_s = max(self.end_s, time_s + duration_s)
        self.last_s = time_s
        self.num_frames += 1
        return time_s

    def rate_and_duration_s(self) -> tuple[float, float]:
        """Return frames per second and seconds: the header's rate where the times agree with it."""
        lasted_s = self.end_s - self._start_s
        by_rate_s = self.num_frames / self._rate if self._rate else 0.0
        if not lasted_s > 0 or (self._rate and abs(by_rate_s - lasted_s) < 1.01 * self._frame_s):
            return self._rate, by_rate_s
        return self.num_frames / lasted_s, lasted_s

    def _time_at_place(self, frame: av.VideoFrame) -> tuple[float, float]:
        following = 0 if self._pts is None else self._pts + 1
        place = following if frame.dts is None else max(following, frame.dts)
        if self._pts is None and self._first_place is not None:
            place = max(place, self._first_place)
            self._delay = place - self._first_place
        self._pts = place
        return (place - self._delay) * self._frame_s, self._frame_s

    def _time(self, frame: av.VideoFrame) -> tuple[float, float]:
        base = frame.time_base
        if not base:
            return self.num_frames * self._frame_s, self._frame_s
        ticks = frame.duration or max(1, round(self._frame_s / base))
        pts = self._best_effort(frame)
        if pts is None:
            pts = 0 if self._pts is None else self._pts + ticks
        self._pts = pts
        return float(pts) * base.numerator / base.denominator, float(ticks * base)


class _BestEffort:
    """FFmpeg's `best_effort_timestamp`, which PyAV does not return (libavcodec/decode.c).

    The presentation time of a frame, or the decoding time of its packet if presentation times are
    missing or have run backwards more often. Unlike in FFmpeg, two equal presentation times do not
    count as running backwards: the change to decoding times would itself be a step back.
    """

    def __init__(self) -> None:
        self._faulty_pts = self._faulty_dts = 0
        self._last_pts = self._last_dts = -(1 << 63)

    def __call__(self, frame: av.VideoFrame) -> int | None:
        pts, dts = frame.pts, frame.dts
        if dts is not None:
            self._faulty_dts += dts <= self._last_dts
            self._last_dts = dts
        elif pts is not None:
            self._last_dts = pts
        if pts is not None:
            self._faulty_pts += pts < self._last_pts
            self._last_pts = pts
        elif dts is not None:
            self._last_pts = dts
        if pts is not None and (self._faulty_pts <= self._faulty_dts or dts is None):
            return pts
        return dts
