"""Streams, times, rates and orientation are those of the ffmpeg command."""

import re
import struct
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from kinestore.pipeline.video.decoded_video import DecodedVideo, decode_frames, iter_frames
from kinestore.pipeline.video.errors import VideoError

FAST, SLOW = "lt(n,60)+not(mod(n,6))", "not(mod(n,6))+gte(n,60)"
"""30 frames a second and then 5, or the other way round: 70 of 120 frames, in 4 seconds."""

X264 = ["-c:v", "libx264", "-preset", "ultrafast"]
VP8 = ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8"]
SHOWN = re.compile(r"showinfo.* n: *\d+ pts: *(-?\d+) ")
TIME_BASE = re.compile(r"showinfo.*config in time_base: (\S+),")


def ffmpeg(*arguments: str | Path) -> bytes:
    """What the ffmpeg command writes to its standard output."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=True).stdout


def make(path: Path, *arguments: str, size: str = "64x48", rate: int = 30, s: float = 1) -> Path:
    ffmpeg("-f", "lavfi", "-i", f"testsrc=s={size}:r={rate}:d={s}", *arguments, path)
    return path


def times_by_ffmpeg(path: Path) -> list[float]:
    """The time of each frame in seconds, without ffmpeg's shift of a file's start to 0."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-copyts", "-noautorotate", "-i", str(path)]
    command += ["-an", "-vf", "showinfo=checksum=0", "-fps_mode", "passthrough", "-f", "null", "-"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    base = Fraction(TIME_BASE.findall(told)[0])
    return [float(int(pts) * base) for pts in SHOWN.findall(told)]


def pixels_by_ffmpeg(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    raw = ["-an", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    return np.frombuffer(ffmpeg("-i", path, *raw), np.uint8).reshape(shape)


@pytest.mark.parametrize("selected", [FAST, SLOW], ids=["fast-first", "slow-first"])
@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("v.mkv", ["-c:v", "mpeg4", "-bf", "2"]),
        ("v.webm", VP8),
        ("v.flv", X264),
        ("v.wmv", ["-c:v", "wmv2"]),
        ("v.ts", X264),
        ("v.mp4", X264),
        ("v.avi", ["-c:v", "mjpeg"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_variable_rate_has_ffmpegs_times_and_the_rate_that_they_give(
    name: str, codec: list[str], selected: str, tmp_path: Path
) -> None:
    chosen = ["-vf", f"select='{selected}'", "-fps_mode", "vfr"]
    video = DecodedVideo(make(tmp_path / name, *chosen, *codec, s=4))
    assert np.allclose(video.pts_s, times_by_ffmpeg(tmp_path / name), rtol=0, atol=1e-6)
    assert video.info.warning is None
    assert video.info.duration_s == pytest.approx(4, abs=0.25)
    assert video.info.fps == pytest.approx(video.num_frames / video.info.duration_s)


@pytest.mark.parametrize("codec", ["libtheora", "ffv1", "dvvideo"])
def test_a_header_without_a_right_rate_does_not_leave_a_duration_of_0(
    codec: str, tmp_path: Path
) -> None:
    name = {"libtheora": "v.ogv", "ffv1": "v.nut", "dvvideo": "v.dv"}[codec]
    more = ["-pix_fmt", "yuv420p"] if codec == "dvvideo" else []
    info = DecodedVideo(
        make(tmp_path / name, "-c:v", codec, *more, size="720x576", rate=25, s=0.4)
    ).info
    assert info.fps == pytest.approx(25)
    assert info.duration_s == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("gap", "codec", "delay"),
    [
        ("not(between(n,10,59))", ["-c:v", "mjpeg"], 0),
        ("not(between(n,10,59))", ["-c:v", "mpeg4", "-bf", "2"], 1),
        ("not(between(n,10,59))", [*X264, "-bf", "2"], None),
        ("not(mod(n,3))", ["-c:v", "mjpeg"], 0),
        ("lt(n,10)+gt(n,98)", ["-c:v", "ffv1"], 0),
    ],
)
def test_empty_places_of_an_avi_are_time_and_no_damage(
    gap: str, codec: list[str], delay: int | None, tmp_path: Path
) -> None:
    """FFmpeg's times include the decoder's delay, in frames; ours start where the video does."""
    chosen = ["-vf", f"select='{gap}'", "-fps_mode", "vfr"]
    video = DecodedVideo(make(tmp_path / "v.avi", *chosen, *codec, rate=25, s=4))
    expected = np.array(times_by_ffmpeg(tmp_path / "v.avi"))
    if delay is not None:
        assert expected[0] == pytest.approx(delay / 25)
    assert np.allclose(video.pts_s, expected - expected[0], rtol=0, atol=1e-6)
    assert video.info.warning is None
    assert video.info.duration_s == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize("name", ["v.mkv", "v.flv", "v.mp4", "v.ts", "v.wmv", "v.webm", "v.ogv"])
def test_sound_that_goes_on_is_no_damage(name: str, tmp_path: Path) -> None:
    codec = {"v.webm": VP8, "v.ogv": ["-c:v", "libtheora"], "v.wmv": ["-c:v", "wmv2"]}
    path = tmp_path / name
    make(path, "-f", "lavfi", "-i", "sine=d=6", *codec.get(name, X264), rate=25, s=1)
    video = DecodedVideo(path)
    assert (video.num_frames, video.info.warning) == (25, None)
    assert video.info.duration_s == pytest.approx(1)


TRAILERS = {
    "id3": b"TAG" + b"x" * 125,
    "zeros": bytes(1000),
    "free": struct.pack(">I4s", 100, b"free") + bytes(92),
    "free-cut": struct.pack(">I4s", 1000, b"free") + bytes(92),
    "text": b"appended by an uploader\n" * 20,
    "few": b"abc",
}


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.ts", "v.avi", "v.flv", "v.m2ts"])
def test_what_follows_a_video_is_no_damage_and_a_cut_is(name: str, tmp_path: Path) -> None:
    whole = make(tmp_path / name, "-c:v", "mpeg4" if name == "v.avi" else "libx264", rate=25)
    good = whole.read_bytes()
    for trailer in TRAILERS.values():
        whole.write_bytes(good + trailer)
        video = DecodedVideo(whole)
        assert (video.num_frames, video.info.warning) == (25, None), trailer[:8]
    if name not in ("v.mp4", "v.flv"):  # their index is at the end, or nothing tells
        for missing in (1, 50):
            whole.write_bytes(good[:-missing])
            assert f"{missing} bytes short" in str(DecodedVideo(whole).info.warning)


@pytest.mark.parametrize(("start", "length"), [(0, 1.0), (1.0, 0.8), (2.0, 1.0)])
def test_what_an_edit_list_leaves_out_is_no_damage(
    start: float, length: float, tmp_path: Path
) -> None:
    path = make(tmp_path / "v.mp4", *X264, rate=25, s=3)
    data = bytearray(path.read_bytes())
    place = data.index(b"elst") + 12  # duration in 1/1000 s, then the start in 1/12800 s
    data[place : place + 8] = struct.pack(">Ii", int(1000 * length), int(12800 * start))
    path.write_bytes(data)
    video = DecodedVideo(path)
    assert (video.num_frames, video.info.warning) == (round(25 * length), None)
    assert np.allclose(video.pts_s, times_by_ffmpeg(path), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["late.mkv", "late.ts", "late.mp4"])
def test_a_start_at_another_time_than_0_is_kept(name: str, tmp_path: Path) -> None:
    good = make(tmp_path / "v.flv", *X264, "-bf", "2", rate=25)
    more = ["-c", "copy", "-avoid_negative_ts", "disabled", str(tmp_path / name)]
    ffmpeg("-itsoffset", "2.5", "-i", good, *more)
    times = [time_s for _, time_s, _ in iter_frames(tmp_path / name)]
    assert np.allclose(times, times_by_ffmpeg(tmp_path / name), rtol=0, atol=1e-6)
    assert times[0] > 1


SMALL = ["-f", "lavfi", "-i", "testsrc=s=32x32:r=5:d=1"]
FILM = ["-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=1"]
NOT_MARKED = ["-disposition:v:0", "0", "-disposition:v:1", "0"]
STREAMS = {
    "thumbnails-first": [*SMALL, *FILM, *NOT_MARKED],
    "film-first": [*FILM, *SMALL, *NOT_MARKED],
    "film-marked": [*SMALL, *FILM, "-disposition:v:0", "0", "-disposition:v:1", "default"],
    "small-one-marked": [*SMALL, *FILM, "-disposition:v:0", "default", "-disposition:v:1", "0"],
    "equal": [*FILM, *FILM, *NOT_MARKED],
}


@pytest.mark.parametrize("suffix", ["mkv", "mov", "ts"])
@pytest.mark.parametrize("made", STREAMS)
def test_the_stream_is_the_one_that_ffmpeg_takes(made: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"v.{suffix}"
    inputs = STREAMS[made]
    ffmpeg(*inputs[:8], "-map", "0:v", "-map", "1:v", *inputs[8:], "-c:v", "mpeg4", path)
    frames = decode_frames(path).rgb
    assert np.array_equal(frames, pixels_by_ffmpeg(path, frames.shape))
    assert DecodedVideo(path).num_frames == len(frames)


def test_a_stream_without_a_packet_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "v.mkv"
    with av.open(str(path), "w") as container:
        for size in (640, 64):
            stream = container.add_stream("mpeg4", rate=25)
            stream.width = stream.height = size
            stream.pix_fmt = "yuv420p"
        for pts in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), pts, np.uint8))
            frame.pts = pts
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert DecodedVideo(path).upright_size == (64, 64)


@pytest.mark.parametrize("name", ["v.mp3", "v.m4a", "v.flac"])
def test_sound_with_a_cover_is_no_video(name: str, tmp_path: Path) -> None:
    cover = make(tmp_path / "c.png", "-frames:v", "1")
    marked = ["-c:v", "copy", "-disposition:v", "attached_pic"]
    sound = ["-f", "lavfi", "-i", "sine=d=1", "-i", str(cover), "-map", "0:a", "-map", "1:v"]
    ffmpeg(*sound, *marked, tmp_path / name)
    with pytest.raises(VideoError, match="has a cover picture, and no video stream") as caught:
        DecodedVideo(tmp_path / name)
    assert caught.value.kind == "no-video-stream"


def test_a_film_with_a_larger_cover_is_the_film(tmp_path: Path) -> None:
    cover = make(tmp_path / "c.png", "-frames:v", "1", size="640x480")
    film, path = make(tmp_path / "f.mp4", *X264), tmp_path / "v.mp4"
    maps = ["-map", "1:v", "-map", "0:v", "-c", "copy", "-disposition:v:0", "attached_pic"]
    ffmpeg("-i", film, "-i", cover, *maps, path)
    assert (DecodedVideo(path).num_frames, DecodedVideo(path).info.codec) == (30, "h264")


MATRICES = {
    "hflip": ["-display_hflip"],
    "vflip": ["-display_vflip"],
    "both": ["-display_hflip", "-display_vflip"],
    "90-hflip": ["-display_rotation", "90", "-display_hflip"],
    "90-vflip": ["-display_rotation", "90", "-display_vflip"],
    "180-hflip": ["-display_rotation", "180", "-display_hflip"],
    "270-hflip": ["-display_rotation", "270", "-display_hflip"],
    **{str(angle): ["-display_rotation", str(angle)] for angle in (1, 30, 91, 270)},
}


@pytest.mark.parametrize("matrix", MATRICES)
def test_a_picture_is_turned_and_mirrored_as_ffmpeg_does(matrix: str, tmp_path: Path) -> None:
    flat, path = make(tmp_path / "f.mp4", *X264, s=0.2), tmp_path / "v.mp4"
    subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), *MATRICES[matrix], "-i", flat, "-c", "copy", path],
        capture_output=True,
        check=True,
    )
    frames = decode_frames(path).rgb
    assert np.array_equal(frames, pixels_by_ffmpeg(path, frames.shape))
    for video in (DecodedVideo(path), DecodedVideo(path, buffer_bytes=1)):
        assert np.array_equal(video.rgb([4, 0]), frames[[4, 0]])
        assert video.upright_size == frames.shape[2:0:-1]
        luma = video.luma([0], size=video.upright_size)[0].astype(int)
        assert luma.shape == frames.shape[1:3]
        if set(matrix.split("-")) & {"hflip", "vflip", "both", "180", "270"}:
            gray = frames[0] @ [0.257, 0.504, 0.098] + 16
            assert np.abs(luma - gray).mean() < 6  # chroma has half the size
