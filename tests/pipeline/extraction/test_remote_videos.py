"""Videos in an object store: found, told apart, fetched for as long as they are embedded."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kinestore import extractors
from kinestore.pipeline.extraction.decode_and_embed import embed_clips
from kinestore.pipeline.extraction.extract_videos import extract
from kinestore.pipeline.extraction.ipc import ClipRequest, ClipResult
from kinestore.pipeline.verification.verify import verify
from kinestore.pipeline.video.errors import VideoError
from kinestore.pipeline.video.find_videos import find_videos
from kinestore.pipeline.video.identity import identify
from kinestore.store import Source, Store, UsageError
from kinestore.store.io import object_storage
from kinestore.store.io.addresses import open_storage
from kinestore.store.io.atomic import local_folder
from tests.helpers.numbered import make_video

NUM_CLIPS = 5

pytestmark = pytest.mark.usefixtures("own_temporary_folder")


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips in two class folders, a text that is none, and a manifest."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(NUM_CLIPS):
        name = f"{'even' if number % 2 == 0 else 'odd one'}/{number}.mp4"
        (folder / name).parent.mkdir(exist_ok=True)
        make_video(folder / name, 12 + number, first=number * 7)
    (folder / "even" / "text.avi").write_text("no video at all\n")
    return folder


@pytest.fixture(scope="module")
def address(local: Path, bucket: str) -> str:
    """The same in an object store."""
    there = f"{bucket}/{uuid.uuid4().hex}/videos"
    for path in local.rglob("*.*"):
        upload(path, f"{there}/{path.relative_to(local).as_posix()}")
    return there


def upload(path: Path, to: str) -> None:
    open_storage(to).publish(path, "")


def test_folders_are_labels_as_on_a_disk(local: Path, address: str) -> None:
    found = [
        replace(s, uri=s.uri.removeprefix(f"{address}/"))
        for s in find_videos(address + "/").sources
    ]
    here = [replace(s, uri=s.uri.removeprefix(f"{local}/")) for s in find_videos(local).sources]
    assert found == here and len(found) == NUM_CLIPS + 1
    assert {source.label for source in found} == {"even", "odd one"}
    assert [s.label for s in find_videos(f"{address}/even").sources] == [None] * 4
    assert find_videos(f"{address}/even/0.mp4").sources == [Source(uri=f"{address}/even/0.mp4")]


def test_every_object_is_found_whatever_the_slashes_of_its_name(local: Path, bucket: str) -> None:
    there = f"{bucket}/{uuid.uuid4().hex}"
    names = ["a//b.mp4", "a.mp4", "a.mp4/c.mp4", "/d.mp4", "e/f.mp4", "///g.mp4"]
    for name in names:
        upload(local / "even" / "0.mp4", f"{there}/{name}")
    found = [source.uri for source in find_videos(there).sources]
    assert sorted(found) == sorted(f"{there}/{name}" for name in names)
    assert {identify(uri) for uri in found} == {identify(str(local / "even" / "0.mp4"))}


def test_a_manifest_may_lie_there_and_name_what_lies_there(
    local: Path, address: str, tmp_path: Path
) -> None:
    beside, parent = f"{address}/even/0.mp4", address.rpartition("/")[0]
    (tmp_path / "m.csv").write_text(f"video,label\neven/0.mp4,a\n../x.avi,b\n{local}/y.avi,c\n")
    upload(tmp_path / "m.csv", f"{address}/m.csv")
    uris = [source.uri for source in find_videos(f"{address}/m.csv").sources]
    assert uris == [beside, f"{parent}/x.avi", f"{local}/y.avi"]
    (tmp_path / "here.txt").write_text(f"{beside}\nz.avi\nfile://{local}/y.avi\n")
    uris = [source.uri for source in find_videos(tmp_path / "here.txt").sources]
    assert uris == [beside, str(tmp_path / "z.avi"), f"{local}/y.avi"]
    (tmp_path / "bad.txt").write_text("s3://me:geheim@bucket/x.avi\n")
    with pytest.raises(UsageError, match=r"bad\.txt: s3://: a bucket's name must") as told:
        find_videos(tmp_path / "bad.txt")
    assert "geheim" not in str(told.value)


def test_what_is_not_there_is_one_sentence(address: str) -> None:
    with pytest.raises(UsageError, match=f"{address}/absent: no such folder, manifest or video"):
        find_videos(f"{address}/absent")
    with pytest.raises(UsageError, match="s3://nobody/x: no such folder"):
        find_videos("s3://nobody/x")


def test_identity_is_the_same_wherever_the_bytes_lie(
    local: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = identify(str(local / "even/0.mp4"))
    assert identify(f"{address}/even/0.mp4") == expected
    monkeypatch.setattr(object_storage, "BLOCK_BYTES", 1000)  # streamed
    assert identify(f"{address}/even/0.mp4") == expected
    with pytest.raises(VideoError, match=r"absent\.mp4: no such file") as missing:
        identify(f"{address}/absent.mp4")
    with pytest.raises(VideoError, match="even: is a folder") as folder:
        identify(f"{address}/even")
    assert (missing.value.kind, folder.value.kind) == ("missing-file", "unreadable-file")


def test_a_clip_is_embedded_as_on_a_disk_and_its_copy_removed(local: Path, address: str) -> None:
    models = {"motion": extractors.create("motion")}
    folders = (address, str(local))
    requests = [ClipRequest(f"{folder}/odd one/1.mp4", ("motion",)) for folder in folders]
    (_, there), (_, here) = embed_clips(requests, producers=models)
    assert isinstance(there, ClipResult) and isinstance(here, ClipResult)
    assert there.info == here.info
    assert np.array_equal(there.embeddings["motion"].vector, here.embeddings["motion"].vector)
    assert there.seconds["fetch"] > 0 and "fetch" not in here.seconds
    assert list(local_folder().iterdir()) == []


def error_of(uri: str) -> str:
    ((_, answer),) = embed_clips([ClipRequest(uri, ())], producers={})
    assert isinstance(answer, VideoError)
    return str(answer)


def test_errors_name_the_address_and_leave_no_copy(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"{address}/even/text.avi"
    assert error_of(text).startswith(f"{text}: is not a video")
    assert tempfile.gettempdir() not in error_of(text)
    assert error_of(f"{address}/absent.mp4").endswith("absent.mp4: no such file")
    usage = shutil.disk_usage("/")._replace(free=3)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert re.search(r"0\.mp4: no room in .* for \d+ bytes", error_of(f"{address}/even/0.mp4"))
    assert list(local_folder().iterdir()) == []


def hashes(store: str | Path) -> set[str]:
    """Of the parts' bytes, by what they belong to; numbers may differ."""
    return {
        re.sub(r"/\d+-", "/", name)
        for name in open_storage(store).walk()
        if name.endswith(".parquet")
    }


@pytest.mark.slow
@pytest.mark.parametrize("delay_s", [5.0, 8.0])
def test_a_killed_job_goes_on_to_the_same_bytes(
    delay_s: float, bucket: str, tmp_path: Path
) -> None:
    folder, target = tmp_path / "videos", f"{bucket}/{uuid.uuid4().hex}/store"
    folder.mkdir()
    for number in range(40):
        make_video(folder / f"{number:02d}.mp4", 40, first=number * 3)
    extract(folder, store=tmp_path / "whole", extractors=["motion"], workers=2)
    command = [sys.executable, "-m", "kinestore", "extract", str(folder), "--store", target]
    command += ["-e", "motion", "--workers", "2"]
    job = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(delay_s)
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    summary = extract(folder, store=target, extractors=["motion"], workers=2)
    assert (summary.num_done + summary.num_skipped, summary.num_failed) == (40, 0)
    assert hashes(target) == hashes(tmp_path / "whole")
    assert verify(target).sound


@pytest.mark.slow
def test_a_job_from_there_to_there_gives_the_rows_of_a_local_one(
    local: Path, address: str, tmp_path: Path
) -> None:
    lines = [source.uri.removeprefix(f"{address}/") for source in find_videos(address).sources]
    (tmp_path / "m.txt").write_text("\n".join([*lines, "absent.mp4"]) + "\n")
    upload(tmp_path / "m.txt", f"{address}/m.txt")
    target = f"{address.rpartition('/')[0]}/store"
    job = {"extractors": ["motion"], "workers": 2}
    summary = extract(f"{address}/m.txt", store=target, **job)  # type: ignore[arg-type]
    extract(local, store=tmp_path / "store", **job)  # type: ignore[arg-type]
    assert (summary.num_done, summary.num_failed) == (NUM_CLIPS, 2)
    assert summary.stage_seconds["fetch"] > 0
    failures = {failure.uri: (failure.stage, failure.kind) for failure in Store(target).failures()}
    assert failures == {
        f"{address}/absent.mp4": ("read", "missing-file"),
        f"{address}/even/text.avi": ("decode", "not-a-video"),
    }
    there, here = Store(target).load("motion"), Store(tmp_path / "store").load("motion")
    assert there.clip_ids == here.clip_ids and np.array_equal(there.features, here.features)
    assert all(uri.startswith(f"{address}/") for uri in there.uris)
    again = extract(f"{address}/m.txt", store=target, **job)  # type: ignore[arg-type]
    assert (again.num_done, again.num_skipped, again.num_frames) == (0, NUM_CLIPS, 0)
    assert open_storage(target).kind("summary.json") == "file"
    assert list(local_folder().iterdir()) == []
