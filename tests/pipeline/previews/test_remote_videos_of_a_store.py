"""Addresses that a store names are followed only with a word of the user's."""

from pathlib import Path

import pytest

from kinestore.pipeline.previews import thumbnails as module
from kinestore.pipeline.previews.thumbnails import thumbnails, unfetched
from kinestore.pipeline.training.networks.data import streamed_videos
from kinestore.pipeline.video.clip_format import parse_clip_formats
from kinestore.store import Store, UsageError
from tests.helpers.stored import clip

ADDRESSES = ["s3://somebody/a.mp4", "S3://somebody/b.mp4", "gs://other/c.mp4", "http://host/d.mp4"]


@pytest.fixture
def sent(tmp_path: Path) -> Path:
    store = Store.create(tmp_path / "store")
    store.append_clips([clip(uri[-5], uri=uri) for uri in ADDRESSES])
    store.append_clips([clip("e", uri=str(tmp_path / "e.mp4"))])
    return store.path


@pytest.mark.parametrize("allowed", [False, True])
def test_a_thumbnail_asks_an_address_only_if_that_is_allowed(
    allowed: bool, sent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def note(clip_id: str, uri: str, frame: int) -> tuple[str, None]:
        asked.append(uri)
        return clip_id, None

    monkeypatch.setattr(module, "_thumbnail", note)
    store = Store(sent, remote_videos=allowed)
    assert thumbnails(store, list("abcde")) == {}
    assert sorted(asked) == sorted([str(sent.parent / "e.mp4"), *(ADDRESSES if allowed else [])])
    assert unfetched(store, list("abcde")).startswith("; 4 clips") is not allowed


def test_a_network_is_not_trained_on_videos_at_addresses_without_a_word(
    sent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamed_videos, "identify", None)  # nothing is opened
    (taken,) = parse_clip_formats(["segments:1x1@16"]).values()
    with pytest.raises(UsageError, match=r"4 of 5 videos lie at addresses.*--remote-videos"):
        streamed_videos.StreamedVideos(Store(sent), taken)


def test_a_video_that_lies_here_too_is_shown_and_not_counted(sent: Path) -> None:
    Store(sent).append_clips([clip("a", uri=str(sent.parent / "a.mp4"))])
    assert unfetched(Store(sent), list("ab")).startswith("; 1 clips")
