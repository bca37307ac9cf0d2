import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np
import pytest

from kinestore.pipeline.video.decoded_video import (
    DecodedVideo,
    decode_frames,
    iter_frames,
    probe,
)
from kinestore.pipeline.video.errors import VideoError
from kinestore.pipeline.video.frame_conversion import RgbConverter
from kinestore.pipeline.video.reader import VideoReader
from kinestore.store import UsageError
from tests.helpers.numbered import draw_number, make_video, read_number
from tests.helpers.paths import ROOT, SHARED_DATA

REAL_CLIPS = sorted(p for p in SHARED_DATA.rglob("*") if p.suffix in (".avi", ".mp4"))

CODECS: dict[str, dict[str, Any]] = {
    "mpeg4-b-frames.avi": {"codec": "mpeg4", "b_frames": 2, "gop_size": 9},
    "h264-closed-gop.mp4": {"b_frames": 2, "options": {"flags": "+cgop"}},
    "h264-open-gop.mp4": {"b_frames": 2, "options": {"x264-params": "open-gop=1"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "b_frames": 2},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}},
    "full-range.mp4": {"pixel_format": "yuvj420p"},
    "444.mp4": {"pixel_format": "yuv444p"},
    "hevc.mp4": {"codec": "libx265", "b_frames": 2, "options": {"x265-params": "log-level=none"}},
    "10-bit.mkv": {
        "codec": "libx265",
        "pixel_format": "yuv420p10le",
        "options": {"x265-params": "log-level=none"},
    },
    "gray.mp4": {"pixel_format": "gray"},
    "interlaced.mp4": {"options": {"x264-params": "tff=1"}},
    "field-coded.mpg": {"codec": "mpeg2video", "options": {"flags": "+ildct+ilme"}},
    "odd-size.mkv": {"codec": "ffv1", "pixel_format": "yuv420p", "crop": (63, 61)},
    "packed.avi": {"codec": "mpeg4", "b_frames": 2, "packed": True},
}

TEST_PICTURE = "smptehdbars=size=320x240:rate=25:duration=0.2"
AS_709 = ["-vf", "scale=out_color_matrix=bt709", "-colorspace", "bt709"]
LOSSLESS = ["-c:v", "libx264", "-qp", "0"]
COLOURS: dict[str, list[str]] = {
    "untagged": ["-pix_fmt", "yuv420p", *LOSSLESS],
    "bt601": ["-pix_fmt", "yuv420p", "-colorspace", "smpte170m", *LOSSLESS],
    "bt709": [*AS_709, "-pix_fmt", "yuv420p", *LOSSLESS],
    "10-bit": [
        *[*AS_709, "-pix_fmt", "yuv420p10le", "-c:v", "libx265"],
        *["-x265-params", "lossless=1:log-level=none"],
    ],
    "interlaced": ["-vf", "setfield=tff", "-pix_fmt", "yuv420p", "-flags", "+ildct", *LOSSLESS],
    "anamorphic": ["-vf", "setsar=4/3", "-pix_fmt", "yuv420p", *LOSSLESS],
    "4:4:4": ["-pix_fmt", "yuv444p", *LOSSLESS],
    "rgb": ["-pix_fmt", "bgr0", "-c:v", "libx264rgb", "-qp", "0"],
}


def ffmpeg(*arguments: str | Path) -> bytes:
    """What the ffmpeg command writes to its standard output."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=True).stdout


def reference_frames(path: Path) -> list[str]:
    """A hash of each frame's YUV bytes, as the ffmpeg command decodes them."""
    all_of_it = ["-map", "0:v:0", "-fps_mode", "passthrough"]
    told = ffmpeg(
        "-threads", "1", "-i", path, *all_of_it, "-f", "framehash", "-hash", "md5", "-"
    ).decode()
    lines = [line for line in told.splitlines() if not line.startswith("#")]
    return [line.rsplit(",", 1)[1].strip() for line in lines]


def frame_bytes(frame: av.VideoFrame) -> bytes:
    """The samples of a planar picture without the decoder's padding."""
    sample_bytes = (frame.format.components[0].bits + 7) // 8
    found = []
    for plane in frame.planes:
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        found.append(rows[:, : plane.width * sample_bytes].tobytes())
    return b"".join(found)


@pytest.mark.skipif(not REAL_CLIPS, reason="the real clips (../shared/data) are not here")
@pytest.mark.parametrize("path", REAL_CLIPS, ids=lambda path: path.name)
def test_real_clip_equals_ffmpeg_frame_for_frame(path: Path) -> None:
    frames = list(iter_frames(path))
    found = [hashlib.md5(frame_bytes(frame)).hexdigest() for _, _, frame in frames]
    assert found == reference_frames(path)
    times = [time_s for _, time_s, _ in frames]
    assert times == sorted(times)
    asked = np.linspace(len(frames) - 1, 0, 8).round().astype(int).tolist()  # backwards
    in_order = [
        RgbConverter()(frames[i][2], (frames[0][2].width, frames[0][2].height)).copy()
        for i in asked
    ]
    assert np.array_equal(decode_frames(path, asked).rgb, in_order)
    assert np.array_equal(DecodedVideo(path).rgb(asked), in_order)


def test_sparse_frames_of_a_packed_avi_are_those_asked_for(shared_data: Path) -> None:
    path = next(shared_data.rglob("TrumanShow*.avi"))
    asked = [0, 6, 13, 20, 26, 33, 40, 47]  # decord's get_batch answers 0 6 13 0 6 13 20 27
    every = decode_frames(path)
    assert len(every.rgb) == 48
    assert np.array_equal(decode_frames(path, asked).rgb, every.rgb[asked])


def make_kind(folder: Path, name: str, num_frames: int = 40) -> Path:
    """A numbered video of one of `CODECS`."""
    made = dict(CODECS[name])
    crop, packed = made.pop("crop", None), made.pop("packed", False)
    if crop is not None:
        pictures = [draw_number(i)[: crop[1], : crop[0]] for i in range(num_frames)]
        return make_video(folder / name, pictures=pictures, **made)
    path = make_video(folder / name, num_frames, **made)
    if packed:  # as DivX writes B-frames: two in one packet, and an empty one after it
        whole = path.rename(folder / f"unpacked-{name}")
        ffmpeg("-i", whole, "-c", "copy", "-bsf:v", "mpeg4_unpack_bframes", path)
    return path


@pytest.mark.parametrize("name", CODECS)
def test_generated_video_equals_ffmpeg_frame_for_frame(name: str, tmp_path: Path) -> None:
    path = make_kind(tmp_path, name)
    found = [hashlib.md5(frame_bytes(frame)).hexdigest() for _, _, frame in iter_frames(path)]
    assert found == reference_frames(path)


@pytest.mark.parametrize("tenths", [7, 8, 9])
@pytest.mark.parametrize("name", ["mpeg4-b-frames.avi", "mpeg2.mpg", "vp9.webm", "field-coded.mpg"])
def test_truncated_video_equals_ffmpeg_frame_for_frame(
    name: str, tenths: int, tmp_path: Path
) -> None:
    whole = make_kind(tmp_path, name).read_bytes()
    path = tmp_path / f"cut-{name}"
    path.write_bytes(whole[: len(whole) * tenths // 10])
    frames = [frame for _, _, frame in iter_frames(path)]
    expected = reference_frames(path)
    assert len(frames) == len(expected) and len(frames) > 10
    found = [hashlib.md5(frame_bytes(frame)).hexdigest() for frame in frames]
    # What the last picture lacks ffmpeg fills with whatever its memory held: two runs differ.
    assert found[:-1] == expected[:-1]


def test_a_variable_frame_rate_keeps_every_frame_at_its_own_time(tmp_path: Path) -> None:
    steady, path = make_video(tmp_path / "steady.mp4", 40), tmp_path / "variable.mp4"
    shown = "not(mod(n,3)*mod(n,7))"  # frames 0 3 6 7 9 12 14 ...
    ffmpeg("-i", steady, "-vf", f"select='{shown}'", "-fps_mode", "vfr", path)
    frames = decode_frames(path)
    numbers = [n for n in range(40) if n % 3 * (n % 7) == 0]
    assert [read_number(picture) for picture in frames.rgb] == numbers
    assert np.allclose(frames.pts_s, np.array(numbers) / 25, atol=1e-3)


@pytest.mark.parametrize("name", COLOURS)
def test_colours_are_those_of_the_picture_that_was_encoded(name: str, tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    ffmpeg("-f", "lavfi", "-i", TEST_PICTURE, *COLOURS[name], path)
    frames = decode_frames(path).rgb.astype(int)
    raw = ["-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    truth = np.frombuffer(ffmpeg("-f", "lavfi", "-i", TEST_PICTURE, *raw), np.uint8)
    assert np.abs(frames - truth.reshape(frames.shape)).mean() < 2.5
    if name != "10-bit":
        theirs = np.frombuffer(ffmpeg("-i", path, *raw), np.uint8)
        assert np.array_equal(frames, theirs.reshape(frames.shape))


@pytest.mark.parametrize("name", [name for name in CODECS if "crop" not in CODECS[name]])
def test_every_frame_carries_its_own_number(name: str, tmp_path: Path) -> None:
    path = make_kind(tmp_path, name)
    frames = decode_frames(path)
    assert [read_number(picture) for picture in frames.rgb] == list(range(40))
    asked = [39, 0, 17, 17]
    some = decode_frames(path, asked)
    assert [read_number(picture) for picture in some.rgb] == asked
    assert some.indices.tolist() == asked
    # mpeg and webm start their clock late or round it to milliseconds
    assert np.allclose(np.diff(frames.pts_s), 1 / 25, atol=2e-3)


@pytest.mark.parametrize("num_frames", [1, 2])
def test_very_short_videos_are_whole(num_frames: int, tmp_path: Path) -> None:
    video = DecodedVideo(make_video(tmp_path / "short.mp4", num_frames))
    assert video.num_frames == num_frames
    assert [read_number(p) for p in video.rgb(range(num_frames))] == list(range(num_frames))


def test_a_video_beyond_the_buffer_gives_the_same_frames(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", 30, b_frames=2)
    kept, decoded_again = DecodedVideo(path), DecodedVideo(path, buffer_bytes=20_000)
    for asked in ([0], [29, 3, 3], range(30)):
        assert np.array_equal(kept.rgb(asked), decoded_again.rgb(asked))
        assert np.array_equal(
            kept.luma(asked, size=(16, 8)), decoded_again.luma(asked, size=(16, 8))
        )


@pytest.mark.parametrize(
    ("name", "seeks"),
    [
        ("h264-closed-gop.mp4", True),
        ("hevc.mp4", True),
        ("vp9.webm", True),
        ("mpeg4-b-frames.avi", False),  # AVI keeps no times
    ],
)
def test_frames_of_a_long_video_are_reached_by_seeking(
    name: str, seeks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_kind(tmp_path, name, 250)
    video = DecodedVideo(path, buffer_bytes=1)
    decoded = count_decoded(monkeypatch)
    for asked in ([249], [3, 120, 240], [200, 199, 200]):
        assert [read_number(picture) for picture in video.rgb(asked)] == asked
    assert (sum(decoded) < 400) == seeks
    thumbnails = video.thumbnails()[1]
    assert np.array_equal(thumbnails, DecodedVideo(path).thumbnails()[1])


def test_an_open_gop_is_right_whether_seeking_worked_or_not(tmp_path: Path) -> None:
    path = make_kind(tmp_path, "h264-open-gop.mp4", 250)
    video = DecodedVideo(path, buffer_bytes=1)
    for index in range(0, 250, 7):
        assert read_number(video.rgb([index])[0]) == index


def test_a_seek_that_lies_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_kind(tmp_path, "h264-closed-gop.mp4", 250)
    video = DecodedVideo(path, buffer_bytes=1)
    other = make_video(tmp_path / "other.mp4", 250, first=1)
    path.write_bytes(other.read_bytes())  # the same times, other pictures
    decoded = count_decoded(monkeypatch)
    assert read_number(video.rgb([240])[0]) == 241  # decoded in order: what the file now holds
    assert sum(decoded) > 240


def count_decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows with each picture that a reader gives."""
    decoded, pictures = list[int](), VideoReader.pictures

    def counted(self: VideoReader) -> Iterator[av.VideoFrame]:
        for frame in pictures(self):
            decoded.append(1)
            yield frame

    monkeypatch.setattr(VideoReader, "pictures", counted)
    return decoded


def test_thumbnails_of_a_long_video_are_thinned_evenly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kinestore.pipeline.video.luma_thumbnails.MAX_THUMBNAILS", 16)
    path = make_video(tmp_path / "v.mp4", 100)
    for video in (DecodedVideo(path), DecodedVideo(path, buffer_bytes=1)):
        indices, thumbnails = video.thumbnails()
        assert indices.tolist() == list(range(0, 100, 8)) and len(thumbnails) == 13
        exact = video.luma(indices, size=(32, 24)).astype(int)
        assert np.abs(exact - thumbnails).mean() < 1  # bars: every row is alike


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_metadata_turns_the_picture_as_ffmpeg_does(degrees: int, tmp_path: Path) -> None:
    flat = make_video(tmp_path / "flat.mp4", 3, first=11)
    turned, shown = tmp_path / "turned.mp4", tmp_path / "shown.mp4"
    ffmpeg("-display_rotation", str(degrees), "-i", flat, "-c", "copy", turned)
    ffmpeg("-i", turned, "-qp", "0", shown)
    ours, theirs = decode_frames(turned).rgb, decode_frames(shown).rgb
    assert np.abs(ours.astype(int) - theirs).max() < 16  # a second encoding lies between
    assert np.abs(ours.astype(int) - decode_frames(flat).rgb).max() > 200


def test_a_turned_picture_that_is_not_square_is_turned_in_every_way(tmp_path: Path) -> None:
    wide = np.zeros((48, 64, 3), np.uint8)
    wide[:, :32] = 255  # the left half is white
    flat, turned = make_video(tmp_path / "f.mp4", pictures=[wide] * 3), tmp_path / "t.mp4"
    ffmpeg("-display_rotation", "90", "-i", flat, "-c", "copy", turned)
    for video in (DecodedVideo(turned), DecodedVideo(turned, buffer_bytes=1)):
        assert video.rgb([0]).shape == (1, 64, 48, 3)
        assert (video.rgb([0])[0, 40:] > 240).all()  # counter-clockwise: left is below
        assert video.luma([0], size=(1, 2))[0].ravel().tolist() == [16, 235]


def test_luma_is_the_average_of_the_plane(tmp_path: Path) -> None:
    half = np.zeros((64, 64, 3), np.uint8)
    half[:, 32:] = 255
    video = DecodedVideo(make_video(tmp_path / "v.mp4", pictures=[half]))
    # Limited range: black is 16 and white 235.
    assert np.abs(video.luma([0], size=(2, 1))[0].astype(int) - [[16, 235]]).max() <= 2


def test_probe_reads_the_header_alone(tmp_path: Path) -> None:
    info = probe(make_video(tmp_path / "v.mp4", 30))
    assert (info.num_frames, info.fps, info.width, info.height) == (30, 25.0, 64, 64)
    assert (info.codec, info.duration_s) == ("h264", 1.2)


def make_odd(kind: str, folder: Path) -> Path:
    path = folder / "odd.mp4"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("this is not a video\n" * 200)
    elif kind == "directory":
        path.mkdir()
    elif kind == "named-pipe":
        os.mkfifo(path)
    elif kind == "audio":
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=8000)
            samples = np.zeros((1, 8000), np.float32)
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate = 8000
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        ("nothing", "missing-file"),
        ("empty", "not-a-video"),
        ("text", "not-a-video"),
        ("directory", "not-a-file"),
        ("named-pipe", "not-a-file"),
        ("audio", "no-video-stream"),
    ],
)
def test_what_is_no_video_is_a_typed_failure(made: str, kind: str, tmp_path: Path) -> None:
    path = make_odd(made, tmp_path)
    with pytest.raises(VideoError, match=str(path)) as caught:
        DecodedVideo(path)
    assert caught.value.kind == kind


def test_an_index_beyond_the_end_names_the_last_frame(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", 5)
    reads: list[Callable[[list[int]], object]]
    reads = [lambda asked: decode_frames(path, asked), DecodedVideo(path).rgb]
    for read in reads:
        with pytest.raises(UsageError, match=r"index 5: .* has frames 0 to 4"):
            read([5])
        with pytest.raises(UsageError, match=r"index -1: .* counted from 0"):
            read([-1])
    with pytest.raises(UsageError, match="at least one frame"):
        decode_frames(path, [])


@pytest.mark.slow
def test_memory_stays_bounded_on_a_long_video() -> None:
    command = [sys.executable, "-m", "benchmarks.memory", "--hours", "0.15"]
    root = ROOT
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    reading = done.stdout.splitlines()[:-2]  # the last two lines are those of torch
    peaks = [int(line.split("peak")[1].split()[0]) for line in reading]
    assert len(peaks) == 5 and max(peaks) < 1000
