"""Files that nobody should have to decode: a typed failure, or frames with a recorded warning.

Never a crash, a hang or a clip that is short without a word.
"""

import os
import re
import resource
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kinestore.pipeline.video.decoded_video import (
    DecodedVideo,
    decode_frames,
    iter_frames,
)
from kinestore.pipeline.video.errors import VideoError
from kinestore.pipeline.video.frame_times import FrameTimes
from kinestore.pipeline.video.open_video import MAX_PIXELS
from kinestore.pipeline.video.reader import VideoReader
from kinestore.store import UsageError
from tests.helpers.numbered import draw_number, make_video
from tests.helpers.paths import ROOT

NUM_FRAMES = 40
KINDS: dict[str, dict[str, Any]] = {
    "mpeg4.avi": {"codec": "mpeg4", "b_frames": 2},
    "h264.mp4": {"b_frames": 2},
    "faststart.mp4": {"b_frames": 2, "container_options": {"movflags": "faststart"}},
    "fragmented.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "h264.mkv": {"b_frames": 2},
    "h264.ts": {"b_frames": 2},
    "h264.flv": {},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}},
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """The bytes of a good video of numbered frames under noise, by kind."""
    folder, made = tmp_path_factory.mktemp("whole"), dict[str, bytes]()
    rng = np.random.default_rng(0)
    noisy = [
        np.clip(draw_number(i).astype(int) + rng.integers(0, 40, (64, 64, 3)), 0, 255)
        for i in range(NUM_FRAMES)
    ]

    def bytes_of(kind: str) -> bytes:
        if kind not in made:
            pictures = [picture.astype(np.uint8) for picture in noisy]
            path = make_video(folder / kind, pictures=pictures, **KINDS[kind])
            made[kind] = path.read_bytes()
        return made[kind]

    return bytes_of


def verdict(path: Path) -> tuple[str, int]:
    """ "" or the kind of failure or "warning", and the number of frames."""
    started = time.perf_counter()
    try:
        video = DecodedVideo(path)
        assert video.rgb([0, video.num_frames - 1]).shape[0] == 2
        found = ("warning" if video.info.warning else "", video.num_frames)
    except VideoError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        found = (error.kind, 0)
    assert time.perf_counter() - started < 20
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_file_has_no_warning(kind: str, whole: Any, tmp_path: Path) -> None:
    path = tmp_path / kind
    path.write_bytes(whole(kind))
    assert verdict(path) == ("", NUM_FRAMES)


@pytest.mark.parametrize("twentieths", range(20))
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_off_anywhere_is_never_short_without_a_word(
    kind: str, twentieths: int, whole: Any, tmp_path: Path
) -> None:
    path = tmp_path / kind
    path.write_bytes(whole(kind)[: len(whole(kind)) * twentieths // 20])
    assert verdict(path)[0] in ("not-a-video", "no-frames", "no-video-stream", "warning")


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bits_are_never_short_without_a_word(
    kind: str, seed: int, whole: Any, tmp_path: Path
) -> None:
    rng = np.random.default_rng(seed)
    damaged = np.frombuffer(whole(kind), np.uint8).copy()
    for place in rng.integers(0, len(damaged), 8):
        damaged[place] ^= 1 << int(rng.integers(8))
    path = tmp_path / kind
    path.write_bytes(damaged.tobytes())
    told, num_frames = verdict(path)
    assert told or num_frames == NUM_FRAMES


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(sorted(KINDS)), st.data())
def test_any_flipped_bytes_give_frames_or_a_typed_failure(
    whole: Any, tmp_path: Path, kind: str, data: st.DataObject
) -> None:
    flip_and_judge(whole(kind), tmp_path / kind, data)


@pytest.mark.slow
@settings(
    max_examples=5000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(sorted(KINDS)), st.data())
def test_many_flipped_bytes_give_frames_or_a_typed_failure(
    whole: Any, tmp_path: Path, kind: str, data: st.DataObject
) -> None:
    flip_and_judge(whole(kind), tmp_path / kind, data)


def flip_and_judge(good: bytes, path: Path, data: st.DataObject) -> None:
    # Headers are where a parser can be hurt most: half of the flips go there.
    head, anywhere = st.integers(0, min(4096, len(good)) - 1), st.integers(0, len(good) - 1)
    damaged = bytearray(good)
    for place in data.draw(st.lists(head | anywhere, min_size=1, max_size=24)):
        damaged[place] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged)
    told, num_frames = verdict(path)
    assert told or num_frames >= 1


def replace_once(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new, 1)


def avi_with(good: bytes, *, offset: int, value: int) -> bytes:
    """Another number in the main header (`avih`) or the stream header (`strh`) of an AVI."""
    return good[:offset] + struct.pack("<I", value) + good[offset + 4 :]


@pytest.mark.parametrize("codec", ["rawvideo", "mjpeg", "mpeg4"])
def test_a_picture_size_out_of_this_world_takes_no_memory(codec: str, tmp_path: Path) -> None:
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = make_video(tmp_path / "huge.avi", 5, codec=codec, pixel_format=pixel_format)
    data = path.read_bytes()
    strf = data.index(b"strf") + 8
    for offset in (strf + 4, strf + 8):
        data = avi_with(data, offset=offset, value=60_000)
    for place in [m.start() for m in re.finditer(b"\xff\xc0\x00\x11\x08", data)]:  # JPEG's own
        data = data[: place + 5] + struct.pack(">HH", 60_000, 60_000) + data[place + 9 :]
    path.write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told = verdict(path)
    assert told == (("", 5) if codec == "mpeg4" else (told[0], 0))  # MPEG-4 says it again, rightly
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def png_packet(width: int, height: int) -> bytes:
    encoder: Any = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "rgb24"
    encoder.time_base = Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), format="rgb24")
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def mux_png(path: Path, packets: list[bytes]) -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("png", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "rgb24"
        for index, data in enumerate(packets):
            packet = av.Packet(data)
            packet.pts = packet.dts = index
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 25), stream, True
            container.mux(packet)
    return path


def test_a_huge_picture_amid_small_ones_is_left_out(tmp_path: Path) -> None:
    small, huge = png_packet(64, 64), png_packet(9000, 9000)
    assert len(huge) < 1 << 20 and MAX_PIXELS < 9000 * 9000
    path = mux_png(tmp_path / "huge.nut", [small, small, huge, small])
    video = DecodedVideo(path)
    assert video.num_frames == 3
    assert video.info.warning == "1 packets could not be decoded"


def test_pictures_that_change_size_all_take_the_first_ones(tmp_path: Path) -> None:
    path = mux_png(tmp_path / "sizes.nut", [png_packet(64, 64), png_packet(96, 48)])
    video = DecodedVideo(path)
    assert video.rgb([0, 1]).shape == (2, 64, 64, 3)
    assert video.luma([0, 1], size=(8, 8)).shape == (2, 8, 8)
    assert "2 sizes" in str(video.info.warning)


@pytest.mark.parametrize("name", ["picture.mp4", "picture.png"])
def test_a_still_picture_is_no_video(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(png_packet(64, 64))
    assert verdict(tmp_path / name) == ("not-a-video", 0)


def test_a_wrong_duration_is_told(whole: Any, tmp_path: Path) -> None:
    good = whole("mpeg4.avi")
    path = tmp_path / "long.avi"
    length = good.index(b"strh") + 8 + 32  # dwLength
    path.write_bytes(avi_with(good, offset=length, value=100_000))
    assert verdict(path) == ("warning", NUM_FRAMES)
    assert "claims 100000 frames and 40 came" in str(DecodedVideo(path).info.warning)


@pytest.mark.parametrize(("scale", "rate"), [(1, 0), (0, 25), (0, 0), (2**32 - 1, 1)])
def test_a_frame_rate_of_nothing_still_gives_every_frame(
    scale: int, rate: int, whole: Any, tmp_path: Path
) -> None:
    good = whole("mpeg4.avi")
    path = tmp_path / "rate.avi"
    strh = good.index(b"strh") + 8
    path.write_bytes(
        avi_with(avi_with(good, offset=strh + 20, value=scale), offset=strh + 24, value=rate)
    )
    _, num_frames = verdict(path)
    assert num_frames == NUM_FRAMES
    frames = decode_frames(path)
    assert np.isfinite(frames.pts_s).all() and (np.diff(frames.pts_s) >= 0).all()


def test_negative_times_are_kept(whole: Any, tmp_path: Path) -> None:
    good, path = tmp_path / "good.flv", tmp_path / "early.wmv"
    good.write_bytes(whole("h264.flv"))
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-itsoffset", "-1", "-i", str(good)]
    subprocess.run([*ffmpeg, "-c", "copy", "-avoid_negative_ts", "disabled", str(path)], check=True)
    frames = decode_frames(path)
    assert len(frames.rgb) == NUM_FRAMES
    assert frames.pts_s[0] < 0 and (np.diff(frames.pts_s) >= 0).all()


def test_times_that_the_container_jumbled_do_not_run_backwards(whole: Any, tmp_path: Path) -> None:
    good, path = tmp_path / "good.mkv", tmp_path / "jumbled.wmv"
    good.write_bytes(whole("h264.mkv"))  # B-frames, whose order ASF does not keep
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(good)]
    subprocess.run([*ffmpeg, "-c", "copy", str(path)], check=True)
    video = DecodedVideo(path)
    assert (np.diff(video.pts_s) >= 0).all() and video.info.warning is None


def test_times_that_run_backwards_are_counted() -> None:
    times = FrameTimes(25.0, by_place=False)
    for pts in (0, 40, 20, 80, 60, 100):
        frame = av.VideoFrame(16, 16, "yuv420p")
        frame.pts, frame.time_base = pts, Fraction(1, 1000)
        assert times.add(frame) == pts / 1000
    assert times.num_backwards == 2  # 40 to 20, and 80 to 60


def test_a_file_that_shrinks_while_it_is_read_is_told(whole: Any, tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(whole("faststart.mp4"))
    with VideoReader(path) as reader:
        for index, _, _ in reader:
            if index == 3:
                os.truncate(path, path.stat().st_size // 3)
        assert reader.info().num_frames < NUM_FRAMES
        assert "frames and" in str(reader.warning)


def test_a_file_that_is_deleted_while_it_is_read_is_read_to_its_end(
    whole: Any, tmp_path: Path
) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(whole("h264.mp4"))
    count = 0
    for index, _, _ in iter_frames(path):
        if index == 3:
            path.unlink()
        count += 1
    assert count == NUM_FRAMES


NO_PERMISSION = """
import os, sys
from kinestore.pipeline.video.decoded_video import DecodedVideo
from kinestore.pipeline.video.errors import VideoError
os.setresuid(65534, 65534, 65534)
try:
    DecodedVideo(sys.argv[1])
except VideoError as error:
    print(error.kind)
"""


def test_a_file_without_permission_is_named(whole: Any, tmp_path: Path) -> None:
    path = tmp_path / "secret.mp4"
    path.write_bytes(whole("h264.mp4"))
    path.chmod(0)
    if os.geteuid():
        assert verdict(path)[0] == "unreadable-file"
        return
    tmp_path.chmod(0o755)
    for folder in tmp_path.parents[:2]:
        folder.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", NO_PERMISSION, str(path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.stdout.strip() == "unreadable-file", done.stderr


def test_more_rgb_than_memory_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", 4)
    with pytest.raises(UsageError, match=r"GiB of RGB, over 8; name fewer indices"):
        DecodedVideo(path).rgb(np.zeros(1_000_000, np.int64))
