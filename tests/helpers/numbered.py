"""Videos whose frames carry their own number, and where the shared real clips lie."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

BITS = 8
SIZE = 64


def draw_number(number: int) -> NDArray[np.uint8]:
    """A picture of shape (64, 64, 3) whose columns are black or white by the number's bits."""
    bits = [(number >> bit) & 1 for bit in range(BITS)]
    row = np.repeat(np.array(bits, np.uint8) * 255, SIZE // BITS)
    return np.broadcast_to(row[None, :, None], (SIZE, SIZE, 3)).copy()


def read_number(picture: NDArray[np.uint8]) -> int:
    """The number that `draw_number` drew, as it came through a codec."""
    grey = picture.astype(np.float64).mean((0, 2)).reshape(BITS, -1).mean(1)
    return sum(1 << bit for bit in range(BITS) if grey[bit] > 127)


def make_video(
    path: Path,
    num_frames: int = 30,
    *,
    codec: str = "libx264",
    first: int = 0,
    pictures: list[NDArray[np.uint8]] | None = None,
    gop_size: int = 12,
    b_frames: int = 0,
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write a video of numbered frames, or of the pictures given."""
    shown = pictures or [draw_number(first + i) for i in range(num_frames)]
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream: Any = container.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width = shown[0].shape[:2]
        stream.pix_fmt = pixel_format
        stream.gop_size = gop_size
        stream.max_b_frames = b_frames
        stream.bit_rate = 2_000_000
        for index, picture in enumerate(shown):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def repeat_packets(path: Path, *, times: int) -> Path:
    """A long video at no cost: the packets of a short one over and over, at 25 frames/s."""
    out = path.with_name("repeated.mkv")
    with av.open(str(path)) as source, av.open(str(out), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        packets = [(bytes(p), p.is_keyframe) for p in source.demux(stream) if p.size]
        for index in range(times * len(packets)):
            data, is_key = packets[index % len(packets)]
            packet = av.Packet(data)
            packet.pts = packet.dts = index * 40
            packet.time_base, packet.is_keyframe = Fraction(1, 1000), is_key
            packet.stream = copy
            target.mux(packet)
    return out
