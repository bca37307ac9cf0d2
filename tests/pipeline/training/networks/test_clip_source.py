"""Sources of a network's clips: stored frames and videos give the same, and are read with care."""

import shutil
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from numpy.typing import NDArray

from kinestore.pipeline.training.networks.clip_data import rows_of_source
from kinestore.pipeline.training.networks.data.clip_source import open_source, padded_notes
from kinestore.pipeline.training.networks.data.prefetch import prefetch
from kinestore.pipeline.training.networks.data.streamed_videos import StreamedVideos
from kinestore.pipeline.video.errors import VideoError
from kinestore.samplers import center_segments
from kinestore.store import FramesSpec, Source, Store, StoreError, UsageError
from tests.helpers.filmed import keep, numbered_store, taken
from tests.helpers.numbered import make_video, read_number
from tests.helpers.stored import clip

STREAMED = "videos:segments:3x2@32"


def numbers(pictures: NDArray[np.uint8]) -> list[int]:
    return [read_number(picture) for picture in pictures]


def by_name(store: Store, name: str) -> str:
    """The clip of a video."""
    rows = store.clips().select(["clip_id", "uri"]).to_pylist()
    (found,) = {row["clip_id"] for row in rows if Path(row["uri"]).name == name}
    return str(found)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return numbered_store(tmp_path / "videos", "segments:3x2@32", "segments:6x2@32")


@pytest.mark.parametrize("num_clips", [1, 2])
def test_a_tested_clip_is_the_same_bytes_kept_and_streamed(store: Store, num_clips: int) -> None:
    kept = open_source(store, f"frames:segments-{3 * num_clips}x2-32", num_clips=num_clips)
    streamed = open_source(store, STREAMED, num_clips=num_clips)
    assert kept.clip_ids == streamed.clip_ids and len(kept.clip_ids) == 2
    assert (kept.size, kept.num_segments, kept.length) == ((32, 32), 3, 2)
    assert (streamed.size, streamed.num_segments, streamed.length) == ((32, 32), 3, 2)
    for clip_id in kept.clip_ids:
        first, second = (some.testing(clip_id, num_clips=num_clips) for some in (kept, streamed))
        assert first.shape == (num_clips, 6, 32, 32, 3)
        np.testing.assert_array_equal(first, second)


def test_turned_and_oblong_videos_are_the_same_bytes_too(tmp_path: Path) -> None:
    edge = [np.zeros((48, 64, 3), np.uint8) for _ in range(12)]
    for number, picture in enumerate(edge):
        picture[: 4 * number, :32] = (255, 9, 99)
    flat = make_video(tmp_path / "flat.mp4", pictures=edge)
    turned = tmp_path / "turned.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-display_rotation", "90"]
    subprocess.run([*command, "-i", flat, "-c", "copy", turned], check=True)
    store = Store.create(tmp_path / "store")
    keep(store, [Source(uri=str(path)) for path in (flat, turned)], "segments:2x3@24x40")
    kept = open_source(store, "frames", num_clips=1)
    streamed = open_source(store, "videos:segments:2x3@24x40", num_clips=1)
    clips = [streamed.testing(clip_id, num_clips=1) for clip_id in streamed.clip_ids]
    assert clips[0].shape == (1, 6, 40, 24, 3) and not np.array_equal(clips[0], clips[1])
    for clip_id, pictures in zip(streamed.clip_ids, clips, strict=True):
        np.testing.assert_array_equal(kept.testing(clip_id, num_clips=1), pictures)


def test_clips_take_turns_among_the_kept_segments(store: Store) -> None:
    source = open_source(store, "frames:segments-6x2-32", num_clips=2)
    clip_id = by_name(store, "0.mp4")  # of 30 frames, numbered from 0
    # 29 starts in 6 segments: 29 * (2 i + 1) // 12 = 2, 7, 12, 16, 21, 26
    even, odd = source.testing(clip_id, num_clips=2)
    assert numbers(even) == [2, 3, 12, 13, 21, 22] and numbers(odd) == [7, 8, 16, 17, 26, 27]
    (middle,) = source.testing(clip_id, num_clips=1)
    np.testing.assert_array_equal(middle, even)
    drawn = {tuple(numbers(source.training(clip_id, seed=seed))[::2]) for seed in range(100)}
    assert drawn == {(a, b, c) for a in (2, 7) for b in (12, 16) for c in (21, 26)}
    assert np.array_equal(source.training(clip_id, seed=7), source.training(clip_id, seed=7))


def test_streamed_training_draws_other_frames_by_seed(store: Store) -> None:
    source = open_source(store, STREAMED, num_clips=1)
    clip_id = by_name(store, "0.mp4")
    starts = set()
    for seed in range(40):
        shown = numbers(source.training(clip_id, seed=seed))
        assert shown[1::2] == [start + 1 for start in shown[::2]]
        # 29 starts: three segments of 9
        assert [start // 9 for start in shown[::2]] == [0, 1, 2]
        starts.add(tuple(shown[::2]))
    assert len(starts) > 30
    assert np.array_equal(source.training(clip_id, seed=3), source.training(clip_id, seed=3))


def test_a_video_shorter_than_its_segments_repeats_frames(tmp_path: Path) -> None:
    store = numbered_store(tmp_path / "videos", "segments:3x2@32", num_frames=[1, 2])
    kept, streamed = (open_source(store, text, num_clips=1) for text in ("frames", STREAMED))
    for clip_id in kept.clip_ids:
        first, second = (some.testing(clip_id, num_clips=1) for some in (kept, streamed))
        np.testing.assert_array_equal(first, second)
    assert numbers(streamed.training(by_name(store, "0.mp4"), seed=0)) == [0] * 6


def test_videos_that_changed_are_left_out_and_counted(store: Store) -> None:
    first = by_name(store, "0.mp4")
    videos = store.path.parent
    make_video(Path(videos / "1.mp4"), 41, first=99)
    source = open_source(store, STREAMED, num_clips=1)
    assert (source.clip_ids, source.num_changed) == ([first], 1)
    rows = rows_of_source(store, source)
    assert rows.clip_ids == [first] and len(rows.missing) == 1
    shutil.move(videos / "0.mp4", videos / "away.mp4")
    with pytest.raises(UsageError, match="none of 2 clips has a video whose bytes are those that"):
        open_source(store, STREAMED, num_clips=1)


def test_a_clip_is_read_from_whichever_file_still_has_its_bytes(store: Store) -> None:
    clip_id = by_name(store, "0.mp4")
    copy = store.path.parent / "copy.mp4"
    shutil.copy(store.path.parent / "0.mp4", copy)
    keep(store, [Source(uri=str(copy), label="b", group="new")])
    wanted = open_source(store, STREAMED, num_clips=1).training(clip_id, seed=0)
    (store.path.parent / "0.mp4").unlink()
    source = open_source(store, STREAMED, num_clips=1)
    np.testing.assert_array_equal(source.training(clip_id, seed=0), wanted)
    rows = rows_of_source(store, source)
    row = rows.clip_ids.index(clip_id)
    assert (rows.classes[rows.labels[row]], rows.groups[row]) == ("b", "new")  # the newest source


def test_a_video_that_goes_or_shrinks_under_way_is_named(store: Store) -> None:
    source = StreamedVideos(store, taken("segments:3x2@32"))
    clip_id = by_name(store, "0.mp4")
    path = store.path.parent / "0.mp4"
    make_video(path, 4)
    with pytest.raises(VideoError, match=r"0\.mp4: changed after it was hashed"):
        source.testing(clip_id, num_clips=1)
    path.unlink()
    with pytest.raises(VideoError, match=r"0\.mp4: no such file"):
        source.testing(clip_id, num_clips=1)


def test_frames_that_were_cut_off_are_named(store: Store) -> None:
    source = open_source(store, "frames:segments-3x2-32", num_clips=1)
    (part,) = (store.path / "frames" / source.name).glob("*.h5")
    part.write_bytes(part.read_bytes()[:-20_000])
    with pytest.raises(StoreError, match=part.name):
        source.testing(source.clip_ids[-1], num_clips=1)
    with pytest.raises(StoreError, match=rf"{part.name}.*kinestore verify"):
        open_source(store, "frames:segments-3x2-32", num_clips=1)


@pytest.mark.parametrize(
    ("sampling", "wanted"),
    [
        ({"kind": "even", "frames": 6}, (6, 1)),
        ({"kind": "first", "frames": 6}, (1, 6)),
        ({"kind": "segments", "segments": 2, "length": 3}, (2, 3)),
        ({"kind": "segments", "segments": 9, "length": 3}, (6, 1)),  # others' notes may be wrong
        ("every second", (6, 1)),
        (None, (6, 1)),
    ],
)
def test_frames_of_other_kinds(tmp_path: Path, sampling: object, wanted: tuple[int, int]) -> None:
    store = Store.create(tmp_path / "store")
    store.append_clips([clip("a")])
    spec = FramesSpec(kind="mine", shape=(6, 8, 9, 3), settings={"sampling": sampling})
    pictures = np.random.default_rng(0).integers(0, 256, (1, 6, 8, 9, 3), np.uint8)
    store.append_frames(spec, ["a"], pictures)
    source = open_source(store, "frames", num_clips=1)
    assert (source.num_segments, source.length) == wanted and source.size == (8, 9)
    np.testing.assert_array_equal(source.training("a", seed=0), pictures[0])


def test_grey_frames_are_refused(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store")
    spec = FramesSpec(kind="grey", shape=(2, 8, 8, 1), settings={})
    store.append_frames(spec, ["a"], np.zeros((1, 2, 8, 8, 1), np.uint8))
    with pytest.raises(UsageError, match=r"grey@\w+: has 1 channels a pixel, must have 3"):
        open_source(store, "frames", num_clips=1)


@pytest.mark.parametrize(
    ("text", "num_clips", "said"),
    [
        ("frame", 1, "input='frame': must be frames, frames:NAME or videos:segments:8x5@256"),
        ("videos", 1, "input='videos': must say which frames to decode, as videos:segments"),
        ("videos:even:8@64", 2, "clips=2: videos:even:8@64 has one clip of each video"),
        ("videos:step:4@64", 3, "clips=3: videos:step:4@64 has one clip of each video"),
        ("videos:first:11of10@64", 1, "'first:11of10@64': takes more frames than the longest has"),
        ("videos:random:4x0@64", 1, "'random:4x0@64': its numbers must be 1 or more"),
        ("videos:segments:8@64", 1, "frames='segments:8@64': must be segments:SxL@SIZE"),
        (
            "frames",
            1,
            r"has several kinds of frames; choose one of segments-3x2",
        ),
        ("frames:rgb", 1, "frames 'rgb': not in"),
        ("frames:segments-3x2-32", 2, "clips=2: must divide the 3 segments that segments-3x2-32"),
    ],
)
def test_inputs_that_are_none(store: Store, text: str, num_clips: int, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        open_source(store, text, num_clips=num_clips)


def test_a_store_without_frames_says_how_to_keep_some(tmp_path: Path) -> None:
    store = numbered_store(tmp_path / "videos")
    with pytest.raises(
        UsageError, match="has no frames yet; store some with `kinestore extract --fra"
    ):
        open_source(store, "frames", num_clips=1)


def test_the_streamed_centre_is_that_of_the_sampling_function(store: Store) -> None:
    source = open_source(store, "videos:segments:2x3@32", num_clips=1)
    (shown,) = source.testing(by_name(store, "0.mp4"), num_clips=1)
    assert numbers(shown) == center_segments(30, num_segments=2, length=3).ravel().tolist()


def test_items_read_ahead_come_in_order_and_errors_at_their_item() -> None:
    asked: list[int] = []

    def load(item: int) -> int:
        asked.append(item)
        if item == 7:
            raise ValueError("seven")
        return item * item

    results = prefetch(load, iter(range(100)), num_workers=2)
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    assert max(asked) <= 2 + 4  # four ahead: memory is bounded
    assert [next(results) for _ in range(4)] == [9, 16, 25, 36]
    with pytest.raises(ValueError, match="seven"):
        next(results)
    assert max(asked) < 12
    assert list(prefetch(load, [], num_workers=2)) == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        # 30 frames: step = 30 // 3 = 10, times 10 - 1 = 9
        ("step:4@32", [0, 9, 18, 27]),
        ("first:3@32", [0, 1, 2]),
        ("first:4of40@32", [0, 10, 20, 29]),  # the last is past the end
        ("even:3@32", [0, 14, 29]),
        # 7 pieces: 7 * 1 // 4 = 1 and 7 * 3 // 4 = 5
        ("pieces:2x4@32", [4, 5, 6, 7, 20, 21, 22, 23]),
        ("pieces:1x16@32", list(range(16))),
    ],
)
def test_other_frames_are_the_same_kept_and_streamed(
    tmp_path: Path, text: str, wanted: list[int]
) -> None:
    store = numbered_store(tmp_path / "videos", text)
    kept, streamed = open_source(store, "frames", num_clips=1), StreamedVideos(store, taken(text))
    assert (kept.num_segments, kept.length) == (streamed.num_segments, streamed.length)
    clip_id = by_name(store, "0.mp4")
    (clip,) = streamed.testing(clip_id, num_clips=1)
    assert numbers(clip) == wanted
    np.testing.assert_array_equal(kept.testing(clip_id, num_clips=1)[0], clip)
    if not text.startswith("pieces"):
        np.testing.assert_array_equal(streamed.training(clip_id, seed=5), clip)


def test_streamed_pieces_are_drawn_whole_and_dealt_in_turn(store: Store) -> None:
    source = open_source(store, "videos:pieces:1x8@32", num_clips=3)
    clip_id = by_name(store, "0.mp4")  # three pieces, and six frames more
    assert [numbers(clip)[0] for clip in source.testing(clip_id, num_clips=3)] == [0, 8, 16]
    drawn = [numbers(source.training(clip_id, seed=seed)) for seed in range(30)]
    assert {frames[0] for frames in drawn} == {0, 8, 16}
    assert all(frames == list(range(frames[0], frames[0] + 8)) for frames in drawn)


def test_streamed_random_clips_are_drawn_by_seed(store: Store) -> None:
    source = open_source(store, "videos:random:4x3@32", num_clips=3)
    clip_id = by_name(store, "0.mp4")
    # 30 - 9 = 21 starts, evenly from the first to the last
    assert [numbers(clip)[0] for clip in source.testing(clip_id, num_clips=3)] == [0, 10, 20]
    drawn = [numbers(source.training(clip_id, seed=seed)) for seed in range(40)]
    assert all(np.diff(frames).tolist() == [3, 3, 3] for frames in drawn)
    assert len({frames[0] for frames in drawn}) > 10
    assert drawn[7] == numbers(source.training(clip_id, seed=7))


@pytest.mark.parametrize("text", ["first:31@32", "first:4of41@32"])
def test_videos_too_short_for_their_first_frames_are_counted(tmp_path: Path, text: str) -> None:
    store = numbered_store(tmp_path / "videos", text)  # of 30 and 41 frames
    for source in (open_source(store, "frames", num_clips=1), StreamedVideos(store, taken(text))):
        (note,) = padded_notes(store, source)
        assert "videos shorter than 31 frames, whose last frame is repeated" in note
        assert note.endswith("1 of 2")
    assert not list(padded_notes(store, StreamedVideos(store, taken("even:31@32"))))
