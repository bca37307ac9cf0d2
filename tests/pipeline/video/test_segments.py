"""Segments of a video are clips of their own, decoded exactly."""

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

import kinestore as ks
from kinestore.pipeline.previews.thumbnails import thumbnails
from kinestore.pipeline.training.networks.data.clip_source import open_source
from kinestore.pipeline.video.decoded_video import DecodedVideo
from kinestore.pipeline.video.errors import VideoError
from kinestore.pipeline.video.find_videos import find_videos
from kinestore.pipeline.video.identity import identify
from kinestore.pipeline.video.segment import Segment, split_uri
from kinestore.store import Store, UsageError
from tests.helpers.numbered import make_video, read_number


def seconds(start: float, end: float) -> Segment:
    return Segment(by_frames=False, start=start, end=end)


def numbers(pictures: NDArray[np.uint8]) -> list[int]:
    return [read_number(picture) for picture in pictures]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty frames, 0.04 s each."""
    return make_video(tmp_path_factory.mktemp("video") / "v.mp4", 30, b_frames=2)


@pytest.mark.parametrize(
    ("segment", "wanted"),
    [
        (seconds(0, 0.04), [0]),
        (seconds(0.2, 0.4), [5, 6, 7, 8, 9]),  # 0.4 s is the time of frame 10, which is outside
        (seconds(0.19, 0.21), [5]),
        (seconds(1.12, 1.2), [28, 29]),
        (Segment(by_frames=True, start=7, end=10), [7, 8, 9]),
        (Segment(by_frames=True, start=29, end=30), [29]),
    ],
)
@pytest.mark.parametrize("buffer_bytes", [256 << 20, 1])
def test_a_segment_has_exactly_its_frames(
    video: Path, segment: Segment, wanted: list[int], buffer_bytes: int
) -> None:
    decoded = DecodedVideo(video, segment=segment, buffer_bytes=buffer_bytes)
    assert decoded.num_frames == decoded.info.num_frames == len(wanted)
    assert numbers(decoded.rgb(range(len(wanted)))) == wanted
    np.testing.assert_allclose(decoded.pts_s, np.array(wanted) / 25, atol=1e-6)
    assert decoded.info.warning is None
    assert decoded.info.duration_s == pytest.approx(len(wanted) / 25)


@pytest.mark.parametrize(
    ("segment", "message"),
    [
        (seconds(0.5, 1.5), r"ends at 1\.200 s, and the segment at 1\.5 s"),
        (seconds(9, 10), r"ends at 1\.200 s, and the segment at 10 s"),
        (
            Segment(by_frames=True, start=20, end=31),
            "has 30 frames, and the segment ends at frame 31",
        ),
        (seconds(0.05, 0.06), "holds no frame"),
    ],
)
def test_what_lies_beyond_the_end_is_an_error(video: Path, segment: Segment, message: str) -> None:
    with pytest.raises(VideoError, match=message):
        DecodedVideo(video, segment=segment)


def test_identity_is_bytes_and_segment(video: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(video.read_bytes())
    ids = [identify(f"{path}{end}") for path in (video, copy) for end in ("", "#t=0,1", "#t=0,0.5")]
    assert ids[:3] == ids[3:] and len(set(ids)) == 3
    assert identify(f"{video}#t=0.0,1.0") == ids[1]  # one number, spelled in two ways
    assert identify(f"{video}#frames=0,1") not in ids
    assert split_uri("a#b.mp4") == ("a#b.mp4", None) == split_uri("a#b.mp4")
    assert split_uri("a.mp4#t=2,1") == ("a.mp4#t=2,1", None)


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("start_s,end_s", ["1,0.5"], "line 2: start_s=1, end_s=0.5: must be from 0, and end after"),
        ("start_s,end_s", ["1,1"], "end after they start"),
        ("start_s,end_s", ["-1,1"], "must be from 0"),
        ("start_s,end_s", ["1,"], "has start_s=1: a segment needs start_s and end_s, or"),
        ("start_s,end_s", ["1,inf"], "must be from 0"),
        ("start_s,end_s", ["a,b"], "start_s=a, end_s=b: must be numbers"),
        ("start_s,end_s", ["0,1", "0.0,1.00"], "line 3 names the segment .*a second time"),
        ("start_frame,end_frame", ["0,1.5"], "must be whole numbers"),
        ("start_s,end_frame", ["0,1"], "a segment needs start_s and end_s, or start_frame"),
        ("start_s", ["0"], "a segment needs start_s and end_s"),
    ],
)
def test_wrong_segments_are_refused_by_line(
    header: str, rows: list[str], message: str, tmp_path: Path
) -> None:
    lines = [f"video,{header}", *(f"v.mp4,{row}" for row in rows)]
    (tmp_path / "m.csv").write_text("\n".join(lines))
    with pytest.raises(UsageError, match=message):
        find_videos(tmp_path / "m.csv")


def test_segments_are_clips_in_a_store(video: Path, tmp_path: Path) -> None:
    rows = ["video,label,Start_s,End s", f"{video},a,0,0.4", f"{video},b,0.2,0.8", f"{video},c,,"]
    rows.append(f"{video},d,1,7")
    (tmp_path / "m.csv").write_text("\n".join(rows))
    frames = ["even:3@64"]
    result = ks.extract(tmp_path / "m.csv", store=tmp_path / "s", frames=frames, workers=1)
    assert (result.num_done, result.num_failed) == (3, 1)
    store = Store(tmp_path / "s")
    (failure,) = store.failures()
    assert failure.kind == "segment-beyond-end" and failure.uri == f"{video}#t=1,7"
    assert str(failure.message).startswith(f"{video}#t=1,7: ends at 1.200 s")
    rows_by_label = {row["label"]: row for row in store.clips().to_pylist()}
    assert [rows_by_label[name]["num_frames"] for name in "abc"] == [10, 15, 30]
    assert rows_by_label["b"]["uri"] == f"{video}#t=0.2,0.8"
    kept = store.frames("even-3-64")
    shown = {name: numbers(kept[rows_by_label[name]["clip_id"]]) for name in "abc"}
    assert shown == {"a": [0, 4, 9], "b": [5, 12, 19], "c": [0, 14, 29]}
    streamed = open_source(store, "videos:even:3@64", num_clips=1)
    assert len(streamed.clip_ids) == 3
    for clip_id in streamed.clip_ids:
        np.testing.assert_array_equal(streamed.testing(clip_id, num_clips=1)[0], kept[clip_id])
    assert set(thumbnails(store, streamed.clip_ids)) == set(streamed.clip_ids)
    again = ks.extract(tmp_path / "m.csv", store=tmp_path / "s", frames=frames, workers=1)
    assert (again.num_done, again.num_skipped, again.num_failed) == (0, 3, 1)


def test_a_segment_may_end_while_the_last_frame_is_held(video: Path, tmp_path: Path) -> None:
    """Thirty frames until 1.2 s, of which the last is held for 5 s."""
    held = tmp_path / "held.mkv"
    with av.open(str(video)) as known, av.open(str(held), "w") as made:
        stream = made.add_stream_from_template(known.streams.video[0])
        packets = [one for one in known.demux(video=0) if one.dts is not None]
        last = max(packets, key=lambda one: one.pts or 0)
        last.duration = round(5 / (last.time_base or 1))
        for packet in packets:
            packet.stream = stream
            made.mux(packet)
    end_s = DecodedVideo(held).info.duration_s
    assert end_s == pytest.approx(6.16, abs=0.01)
    assert DecodedVideo(held, segment=seconds(1, 6)).num_frames == 5
    with pytest.raises(VideoError, match=r"ends at 6\.16\d s, and the segment at 6\.5 s"):
        DecodedVideo(held, segment=seconds(1, 6.5))
