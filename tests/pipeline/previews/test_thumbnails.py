"""Small pictures and captions of clips, from real videos in a real store."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from kinestore.pipeline.previews import captions as captions_module
from kinestore.pipeline.previews import thumbnails as thumbnails_module
from kinestore.pipeline.previews.captions import Caption, captions
from kinestore.pipeline.previews.thumbnails import SIDE, thumbnails
from kinestore.pipeline.video.identity import identify
from kinestore.store import Clip, Embedding, Source, Store, ViewSpec
from tests.helpers.numbered import draw_number, make_video, read_number
from tests.helpers.stored import INFO

VIEWS = {
    name: ViewSpec(extractor=name, shape=(1,), settings={}) for name in ("blip", "blip-text", "cnn")
}


def keep(store: Store, *videos: Path) -> list[str]:
    """Put videos into a store, as if they had been extracted; gives their clip_ids."""
    clips = [
        Clip(clip_id=identify(str(path)), source=Source(uri=str(path)), info=INFO)
        for path in videos
    ]
    store.append_clips(clips)
    return [clip.clip_id for clip in clips]


def told(view: str, store: Store, clip_id: str, *, frame: int, caption: str | None) -> None:
    """Keep an embedding with its frame and caption."""
    noted = Embedding(
        vector=np.zeros(1, np.float32),
        frame_index=np.array([frame]),
        pts_s=np.array([frame / 25]),
        caption=caption,
    )
    store.append(VIEWS[view], [clip_id], [noted])


def opened(picture: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    found = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    assert found is not None and found.dtype == np.uint8
    return found.astype(np.uint8)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


def test_it_is_the_frame_of_the_caption_else_the_middle_one(store: Store, tmp_path: Path) -> None:
    videos = [
        make_video(tmp_path / f"{name}.mp4", first=first)
        for name, first in {"a": 0, "b": 40}.items()
    ]
    with_caption, without = keep(store, *videos)
    told("blip", store, with_caption, frame=23, caption="a man walks")
    told("cnn", store, without, frame=2, caption=None)
    found = thumbnails(store, [with_caption, without])
    assert read_number(opened(found[with_caption])) == 23
    assert read_number(opened(found[without])) == 40 + INFO.num_frames // 2


def test_of_a_long_clip_the_middle_is_not_sought_to_its_end(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thumbnails_module, "_LATEST", 3)
    (clip_id,) = keep(store, make_video(tmp_path / "a.mp4"))
    assert read_number(opened(thumbnails(store, [clip_id])[clip_id])) == 3


def test_the_longer_side_is_cut_and_a_small_picture_is_left(store: Store, tmp_path: Path) -> None:
    wide = make_video(
        tmp_path / "wide.mp4", pictures=[np.full((90, 320, 3), 99, np.uint8)] * INFO.num_frames
    )
    tall = make_video(
        tmp_path / "tall.mp4", pictures=[np.full((640, 2, 3), 99, np.uint8)] * INFO.num_frames
    )
    small = make_video(tmp_path / "small.mp4")
    found = thumbnails(store, keep(store, wide, tall, small))
    shapes = sorted(opened(picture).shape for picture in found.values())
    assert shapes == [(45, SIDE, 3), (64, 64, 3), (SIDE, 1, 3)]


def test_a_video_that_is_gone_changed_or_broken_has_none(store: Store, tmp_path: Path) -> None:
    names = ("gone", "changed", "broken", "good")
    videos = {name: make_video(tmp_path / f"{name}.mp4", first=n) for n, name in enumerate(names)}
    videos["broken"].write_bytes(b"no video")  # known by these very bytes
    ids = dict(zip(names, keep(store, *videos.values()), strict=True))
    videos["gone"].unlink()
    make_video(videos["changed"], first=77)
    steps: list[tuple[object, ...]] = []
    found = thumbnails(store, list(ids.values()), progress=lambda *now: steps.append(now))
    assert set(found) == {ids["good"]}
    assert steps == [("thumbnails", done, 4) for done in range(1, 5)]


def test_a_frame_beyond_the_end_has_none(store: Store, tmp_path: Path) -> None:
    (clip_id,) = keep(store, make_video(tmp_path / "a.mp4"))
    told("blip", store, clip_id, frame=30, caption="a man walks")
    assert thumbnails(store, [clip_id]) == {}


def test_the_same_bytes_at_another_place_serve_where_one_is_gone(
    store: Store, tmp_path: Path
) -> None:
    first = make_video(tmp_path / "a.mp4")
    second = tmp_path / "b.mp4"
    second.write_bytes(first.read_bytes())
    clip_id, same = keep(store, first, second)
    assert clip_id == same
    first.unlink()
    assert set(thumbnails(store, [clip_id])) == {clip_id}


def test_of_too_many_clips_the_first_by_name_have_one(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = keep(store, *(make_video(tmp_path / f"{n}.mp4", first=n) for n in range(4)))
    monkeypatch.setattr(thumbnails_module, "MOST", 2)
    assert set(thumbnails(store, ids)) == set(sorted(ids)[:2])
    assert set(thumbnails(store, ids[2:])) == set(ids[2:])


def test_two_runs_give_the_same_bytes(store: Store, tmp_path: Path) -> None:
    ids = keep(store, *(make_video(tmp_path / f"{n}.mp4", first=n) for n in range(4)))
    once, again = thumbnails(store, ids), thumbnails(store, list(reversed(ids)))
    assert once == again and list(once) == list(again) == sorted(ids)


def test_captions_of_blip_come_before_those_of_its_text_view(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, three = keep(store, *(make_video(tmp_path / f"{n}.mp4", first=n) for n in range(3)))
    told("blip-text", store, one, frame=1, caption="text only")
    told("blip", store, one, frame=2, caption="a man walks")
    told("blip-text", store, two, frame=3, caption="two men")
    told("cnn", store, three, frame=4, caption=None)
    assert captions(store, [one, two, three]) == {
        one: Caption(text="a man walks", frame=2),
        two: Caption(text="two men", frame=3),
    }
    assert captions(store, [three]) == {}
    monkeypatch.setattr(captions_module, "LONGEST", 5)
    assert captions(store, [one])[one].text == "a man"


def test_a_picture_of_a_number_is_what_it_was_drawn_from() -> None:
    """The ruler of these tests, measured: half a byte's worth of columns is not lost to WebP."""
    good, file = cv2.imencode(".webp", draw_number(201), [cv2.IMWRITE_WEBP_QUALITY, 70])
    assert good and read_number(opened(bytes(file))) == 201
