"""The same bytes in several files are named, and so is what the files contradict each other in."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from kinestore.pipeline.extraction.planning import identify_all
from kinestore.pipeline.extraction.same_bytes import notes_on_same_bytes
from kinestore.pipeline.video.errors import VideoError
from kinestore.pipeline.video.identity import identify
from kinestore.progress import no_progress
from kinestore.store import Source, Store
from tests.helpers.stored import clip


def source(path: Path, **columns: str) -> Source:
    path.write_bytes(b"same")
    return Source(uri=str(path), **columns)  # type: ignore[arg-type]


@pytest.mark.parametrize("column", ["label", "group", "split"])
def test_files_of_one_clip_that_differ_in_a_column_are_named(column: str, tmp_path: Path) -> None:
    store = Store.create(tmp_path / "s")
    sources = [source(tmp_path / f"{value}.mp4", **{column: value}) for value in "ab"]
    inputs = identify_all(sources, store, no_progress)
    first, second = notes_on_same_bytes(inputs.clips, store)
    assert first.endswith("one clip with it: 1")
    assert f"more than one {column}: 1" in second
    assert "a.mp4' (" in second and f"b.mp4' ({column} 'b')" in second


def test_a_stored_file_with_another_label_counts_and_a_relabelled_one_does_not(
    tmp_path: Path,
) -> None:
    store = Store.create(tmp_path / "s")
    new = source(tmp_path / "b.mp4", label="b")
    name = identify(new.uri)
    store.append_clips([clip(name, uri=new.uri, label="old")])
    assert not list(notes_on_same_bytes({name: [new]}, store))
    store.append_clips([clip(name, uri="/v/a.mp4", label="a")])
    (note,) = notes_on_same_bytes({name: [new]}, store)
    assert "'/v/a.mp4' (label 'a')" in note


def test_ctrl_c_stops_the_hashing_of_a_huge_file_at_once(tmp_path: Path) -> None:
    huge = tmp_path / "huge.mp4"
    with huge.open("wb") as handle:
        handle.truncate(120 << 30)
    store = Store.create(tmp_path / "s")
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    started = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        identify_all([Source(uri=str(huge))] * 9, store, no_progress)
    assert time.perf_counter() - started < 3
    time.sleep(0.2)
    assert not [t for t in threading.enumerate() if t.name.startswith("ThreadPool")]


def test_hashing_a_file_that_grows_without_end_ends(tmp_path: Path) -> None:
    grows = tmp_path / "grows.mp4"
    grows.write_bytes(bytes(3 << 20))

    def grow(num_bytes: int) -> None:
        with grows.open("ab") as handle:
            handle.write(bytes(2 * num_bytes))

    with pytest.raises(VideoError, match="grows while it is read") as caught:
        identify(str(grows), grow)
    assert caught.value.kind == "changing"
