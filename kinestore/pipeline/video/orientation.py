"""Display matrices: how players, and the `ffmpeg` command, turn and mirror stored pictures.

Shape legend: H height, W width.
"""

import math
import struct
from collections.abc import Callable
from typing import cast

import av
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import SideData
from numpy.typing import NDArray

_COPY_SIDE = 16

Pixels = NDArray[np.uint8]

_RIGHT_ANGLES: dict[str, Callable[[Pixels], Pixels]] = {
    "": lambda stored: stored,
    "hflip": lambda stored: stored[:, ::-1],
    "vflip": lambda stored: stored[::-1],
    "hflip,vflip": lambda stored: stored[::-1, ::-1],
    "transpose=clock": lambda stored: np.rot90(stored, -1),
    "transpose=cclock": np.rot90,
    "transpose=cclock_flip": lambda stored: stored.swapaxes(0, 1),
    "transpose=clock_flip": lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
}
"""What each of FFmpeg's filters does to pixels of shape (H, W) or (H, W, 3)."""


class Orientations:
    """The orientation of each frame of one video: FFmpeg's filters by the angle of its matrix.

    Reading a matrix takes longer than reading the angle; in practice a video has one.
    """

    def __init__(self) -> None:
        self._filters: dict[int, str] = {}

    def filters(self, frame: av.VideoFrame) -> str:
        """Return the filters that turn a frame upright; one without a matrix has none."""
        angle = int(frame.rotation)
        if angle not in self._filters:
            self._filters[angle] = _filters(frame)
        return self._filters[angle]

    def stored_size(self, frame: av.VideoFrame, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (width, height) before turning of a picture that has `size` when upright."""
        return size[::-1] if self.filters(frame).startswith("transpose") else size

    def turn(self, frame: av.VideoFrame, pixels: Pixels) -> Pixels:
        """Turn pixels of a frame, of shape (H, W) or (H, W, 3), by right angles; returns a view."""
        return _RIGHT_ANGLES.get(self.filters(frame), _RIGHT_ANGLES[""])(pixels)


def rotation(frame: av.VideoFrame) -> int:
    """Return the rotation of a frame's display matrix in degrees, counter-clockwise, -180 to 180.

    That of a mirrored picture is the angle of its horizontal axis.
    """
    matrix = _matrix(frame)
    angle = 0.0 if matrix is None else _angle(matrix)
    return 0 if math.isnan(angle) else _rounded(angle)


def upright_size(frame: av.VideoFrame) -> tuple[int, int]:
    """Return the width and height of a frame as it is displayed."""
    return Orientations().stored_size(frame, (frame.width, frame.height))


class OddAngles:
    """Rotates pictures by angles that are not right, with FFmpeg's filter, in the stored size."""

    def __init__(self) -> None:
        self._graphs: dict[tuple[str, str, int, int], Graph] = {}

    def rotate(self, frame: av.VideoFrame, filters: str) -> av.VideoFrame:
        """Return a frame rotated; one whose angle is right is returned itself."""
        if filters in _RIGHT_ANGLES:
            return frame
        key = (filters, frame.format.name, frame.width, frame.height)
        if key not in self._graphs:
            self._graphs = {key: _graph(frame, filters)}  # a video rarely has two
        graph = self._graphs[key]
        graph.push(frame)
        return cast(av.VideoFrame, graph.pull())


def _graph(frame: av.VideoFrame, rotate: str) -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    name, angle = rotate.split("=", 1)
    graph.link_nodes(source, graph.add(name, angle), graph.add("buffersink")).configure()
    return graph


def _filters(frame: av.VideoFrame) -> str:
    """Return the filters that the `ffmpeg` command inserts for a frame (ffmpeg_filter.c)."""
    matrix = _matrix(frame)
    if matrix is None or math.isnan(angle := _angle(matrix)):
        return ""
    clockwise = -_rounded(angle) % 360
    if clockwise == 90:
        return "transpose=cclock_flip" if matrix[3] > 0 else "transpose=clock"
    if clockwise == 180:
        flips = [name for name, scale in (("hflip", 0), ("vflip", 4)) if matrix[scale] < 0]
        return ",".join(flips)
    if clockwise == 270:
        return "transpose=clock_flip" if matrix[3] < 0 else "transpose=cclock"
    if clockwise > 1:
        return f"rotate={clockwise:f}*PI/180"
    return "vflip" if clockwise == 0 and matrix[4] < 0 else ""


def _matrix(frame: av.VideoFrame) -> tuple[int, ...] | None:
    """Read the display matrix, from a small copy of the frame.

    PyAV's side data and their frame form a cycle, which would keep the decoder's pictures in memory
    until the garbage collector runs.
    """
    found = frame.reformat(width=_COPY_SIDE, height=_COPY_SIDE).side_data.get("DISPLAYMATRIX")
    return struct.unpack("=9i", bytes(found)[:36]) if isinstance(found, SideData) else None


def _angle(matrix: tuple[int, ...]) -> float:
    """Return degrees counter-clockwise (libavutil/display.c); NaN of a matrix without an angle."""
    width, height = math.hypot(matrix[0], matrix[3]), math.hypot(matrix[1], matrix[4])
    if not width or not height:
        return math.nan
    return -math.degrees(math.atan2(matrix[1] / height, matrix[0] / width))


def _rounded(angle: float) -> int:
    """Round half away from zero, as C does."""
    return int(math.copysign(math.floor(abs(angle) + 0.5), angle))
