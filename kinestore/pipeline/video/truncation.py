"""Detection of truncated files from the structure of their container.

Decoders end early without an error on a truncated file, but the container still holds the length.
Formats without such a structure (MPEG program streams, FLV, raw streams) cannot be checked.
"""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_TS_PACKETS = ((188, 0), (192, 4))
"""Size of an MPEG-TS packet and the offset of its sync byte: of broadcasts, and of cameras."""

_TS_SYNC = 0x47
_MAX_BOXES = 100_000

_MEDIA_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"moof", b"styp", b"sidx", b"emsg"})
"""Boxes of an MP4 that are, or come before, pictures. Padding, and what other programs appended
(tags, text), may claim any length."""


def missing_bytes(path: str | Path, format_name: str) -> int:
    """Return the number of bytes missing at the end of a file; 0 if none or unknown.

    Args:
        path: A file.
        format_name: FFmpeg's name of its container format, such as "avi" or "mov,mp4,m4a".
    """
    names = format_name.split(",")
    measure = next((_MEASURES[name] for name in names if name in _MEASURES), None)
    if measure is None:
        return 0
    size = Path(path).stat().st_size
    with Path(path).open("rb") as handle:
        try:
            return max(0, measure(handle, size) - size)
        except (struct.error, IndexError):
            return 0


def _avi(handle: BinaryIO, size: int) -> int:
    tag, length = struct.unpack("<4sI", handle.read(8))
    streamed = length >= 0xFFFFFF00  # written without seeking back
    return 8 + length if tag == b"RIFF" and not streamed else 0


def _mp4(handle: BinaryIO, size: int) -> int:
    place = 0
    for _ in range(_MAX_BOXES):
        if place >= size:
            break
        handle.seek(place)
        length, kind = struct.unpack(">I4s", handle.read(8))
        if length == 1:
            (length,) = struct.unpack(">Q", handle.read(8))
        if length < 8 or (place + length > size and kind not in _MEDIA_BOXES):
            return 0  # a length of 0 leads to the end of the file
        place += length
    return place


def _matroska(handle: BinaryIO, size: int) -> int:
    place = 0
    for element in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"):  # the header, then the segment
        handle.seek(place)
        head = handle.read(12)
        if not head.startswith(element):
            return 0
        num_bytes = 9 - head[4].bit_length()
        ones = (1 << 7 * num_bytes) - 1
        length = int.from_bytes(head[4 : 4 + num_bytes], "big") & ones
        if length == ones:  # streamed: length unknown
            return 0
        place += 4 + num_bytes + length
    return place


def _mpegts(handle: BinaryIO, size: int) -> int:
    for length, offset in _TS_PACKETS:
        begun = size // length * length  # the last packet, if it has begun and is not whole
        starts = (0, length, begun - length, begun)
        if all(_byte(handle, start + offset) == _TS_SYNC for start in starts if start >= 0):
            return begun + length
    return 0


def _byte(handle: BinaryIO, place: int) -> int:
    handle.seek(place)
    return handle.read(1)[0]


_MEASURES: dict[str, Callable[[BinaryIO, int], int]] = {
    "avi": _avi,
    "matroska": _matroska,
    "mov": _mp4,
    "mpegts": _mpegts,
}
