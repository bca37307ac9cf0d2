import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np
import pytest

from pipeline.decode import DecodedVideo, VideoError, decode_frames, iter_frames, probe
from store import UsageError
from tests.numbered import SHARED_DATA, make_video, read_number

REAL_CLIPS = sorted(p for p in SHARED_DATA.rglob("*") if p.suffix in (".avi", ".mp4"))

CODECS: dict[str, dict[str, Any]] = {
    "mpeg4-b-frames.avi": {"codec": "mpeg4", "b_frames": 2, "gop_size": 9},
    "h264-closed-gop.mp4": {"b_frames": 2, "options": {"flags": "+cgop"}},
    "h264-open-gop.mp4": {"b_frames": 2, "options": {"x264-params": "open-gop=1"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "b_frames": 2},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}},
    "full-range.mp4": {"pixel_format": "yuvj420p"},
    "444.mp4": {"pixel_format": "yuv444p"},
}


def reference_frames(path: Path) -> list[str]:
    """A hash of each frame's YUV bytes, as the ffmpeg command decodes them."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-map", "0:v:0"]
    command += ["-fps_mode", "passthrough", "-f", "framehash", "-hash", "md5", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    return [line.rsplit(",", 1)[1].strip() for line in lines]


def frame_bytes(frame: av.VideoFrame) -> bytes:
    return frame.to_ndarray().tobytes()


@pytest.mark.skipif(not REAL_CLIPS, reason="the real clips (../shared/data) are not here")
@pytest.mark.parametrize("path", REAL_CLIPS, ids=lambda path: path.name)
def test_real_clip_equals_ffmpeg_frame_for_frame(path: Path) -> None:
    frames = list(iter_frames(path))
    found = [hashlib.md5(frame_bytes(frame)).hexdigest() for _, _, frame in frames]
    assert found == reference_frames(path)
    times = [time_s for _, time_s, _ in frames]
    assert times == sorted(times)


def test_sparse_frames_of_a_packed_avi_are_those_asked_for(shared_data: Path) -> None:
    path = next(shared_data.rglob("TrumanShow*.avi"))
    asked = [0, 6, 13, 20, 26, 33, 40, 47]  # decord's get_batch answers 0 6 13 0 6 13 20 27
    every = decode_frames(path)
    assert len(every.rgb) == 48
    assert np.array_equal(decode_frames(path, asked).rgb, every.rgb[asked])


@pytest.mark.parametrize("name", CODECS)
def test_every_frame_carries_its_own_number(name: str, tmp_path: Path) -> None:
    path = make_video(tmp_path / name, 40, **CODECS[name])
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


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_metadata_turns_the_picture_as_ffmpeg_does(degrees: int, tmp_path: Path) -> None:
    flat = make_video(tmp_path / "flat.mp4", 3, first=11)
    turned, shown = tmp_path / "turned.mp4", tmp_path / "shown.mp4"
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error"]
    rotate = [*ffmpeg, "-display_rotation", str(degrees), "-i", str(flat), "-c", "copy"]
    subprocess.run([*rotate, str(turned)], check=True)
    subprocess.run([*ffmpeg, "-i", str(turned), "-qp", "0", str(shown)], check=True)
    ours, theirs = decode_frames(turned).rgb, decode_frames(shown).rgb
    assert np.abs(ours.astype(int) - theirs).max() < 16  # a second encoding lies between
    assert np.abs(ours.astype(int) - decode_frames(flat).rgb).max() > 200


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
    for index in (5, -1):
        with pytest.raises(UsageError, match=f"index {index}: .* has frames 0 to 4"):
            decode_frames(path, [index])
    with pytest.raises(UsageError, match="at least one frame"):
        decode_frames(path, [])
