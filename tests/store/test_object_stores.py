"""What is so of an object store alone, over a real S3 server."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kinestore.pipeline.verification.verify import verify
from kinestore.store import FramesSpec, Store, StoreError, UsageError
from kinestore.store import join_cache as cache
from kinestore.store.errors import AccessError
from kinestore.store.io import object_storage
from kinestore.store.io.addresses import open_storage
from kinestore.store.io.atomic import local_folder
from kinestore.store.io.object_storage import ObjectStorage
from kinestore.store.io.storage import OpenFile
from kinestore.store.parts import commit_part
from kinestore.store.schema import embeddings_to_table
from tests.helpers.stored import SPEC, clip, content, embedding, filled, overwrite

pytestmark = pytest.mark.usefixtures("own_temporary_folder")


@pytest.fixture
def remote_store(bucket: str) -> Store:
    return filled(f"{bucket}/{uuid.uuid4().hex}/the store")


def test_a_marker_that_is_there_stays(remote_store: Store) -> None:
    storage = remote_store.storage
    storage.write_once("marker.json", "first")
    storage.write_once("marker.json", "second")
    assert content(storage, "marker.json") == b"first"


def test_a_server_without_conditional_writes_gets_a_marker_too(
    remote_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from s3fs import S3FileSystem

    pipe_file = S3FileSystem.pipe_file

    def refuse(self: object, path: str, value: bytes, mode: str = "overwrite") -> None:
        if mode == "create":
            raise OSError(errno.ENOSYS, "NotImplemented")
        pipe_file(self, path, value)

    monkeypatch.setattr(S3FileSystem, "pipe_file", refuse)
    storage = remote_store.storage
    storage.write_once("marker.json", "first")
    storage.write_once("marker.json", "second")
    assert content(storage, "marker.json") == b"first"


def test_a_clip_in_two_parts_is_one_row(remote_store: Store) -> None:
    table = embeddings_to_table(SPEC, ["a"], [embedding(1, 2)])  # of two jobs in one instant
    for number in (7, 8):
        commit_part(remote_store.storage, f"views/{SPEC.name}", table, number=number)
    assert remote_store.load("vector").features.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert verify(remote_store.address).sound


def test_nothing_but_parts_and_markers_is_left_there_or_here(
    remote_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "MIN_CACHED_BYTES", 0)  # a local join would be kept
    remote_store.load("vector")
    remote_store.take_snapshot("paper")
    found = list(remote_store.storage.walk())
    suffixes = sorted({name.rpartition(".")[2] for name in found})
    assert suffixes == ["json", "parquet"] and len(found) == 4 + 3  # parts, markers, snapshot
    assert list(local_folder().iterdir()) == []


def test_what_a_killed_writer_left_here_goes_with_the_next_start() -> None:
    code = (
        "import os, signal\n"
        "from kinestore.store.io.atomic import local_folder, temporary\n"
        "with temporary(local_folder()) as path:\n"
        "    print(path, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL
    left = Path(done.stdout.strip())
    assert left.exists() and left.parent.stat().st_mode & 0o777 == 0o700
    assert list(local_folder().iterdir()) == []


def test_many_parts_come_in_their_order(remote_store: Store) -> None:
    for number in range(2 * ObjectStorage.num_concurrent_reads + 3):
        remote_store.append_clips([clip("a", label=f"{number}")])
    assert Store(remote_store.address).load("vector", clips="a").classes == [f"{number}"]


def test_a_part_that_does_not_come_is_not_dropped(
    remote_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first, second) = remote_store.views()[0].parts.parts()
    read_range = ObjectStorage.read_range

    def cut(storage: ObjectStorage, name: str, begin: int, end: int) -> bytes:
        if name == first:
            raise OSError(errno.EIO, "connection reset", name)
        return read_range(storage, name, begin, end)

    monkeypatch.setattr(ObjectStorage, "read_range", cut)
    with pytest.raises(StoreError, match=f"{first}: cannot be read .*connection reset"):
        remote_store.load("vector")
    report = verify(remote_store.address, repair=True)
    kinds = {finding.kind for finding in report.findings} - {"missing-rows"}
    assert kinds == {"unreadable"} and not report.sound and report.dropped == ()
    assert [remote_store.storage.kind(part) for part in (first, second)] == ["file", "file"]


def test_a_local_store_that_was_copied_there_is_one(
    remote_store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cache, "MIN_CACHED_BYTES", 0)
    local = filled(str(tmp_path / "store"))
    local.load("vector")
    kind = FramesSpec(kind="tiny", shape=(2, 3, 4, 3), settings={})
    local.append_frames(kind, ["a"], np.zeros((1, 2, 3, 4, 3), np.uint8))
    there = open_storage(f"{remote_store.address}/../copy")
    for name in local.storage.walk():
        overwrite(there, name, content(local.storage, name))
    assert verify(there.address, repair=True).dropped == () and verify(there.address).sound
    copied = Store(there.address)
    assert copied.load("vector").features.tolist() == local.load("vector").features.tolist()
    with pytest.raises(UsageError, match="frames are mapped, so they need a store on a local"):
        copied.frames("tiny")
    with pytest.raises(UsageError, match="frames are mapped, so they need a store on a local"):
        copied.append_frames(kind, ["b"], np.zeros((1, 2, 3, 4, 3), np.uint8))
    (part,) = (name for name in there.walk() if name.startswith("frames/") and "h5" in name)
    overwrite(there, part, b"no HDF5")
    (finding,) = [f for f in verify(there.address).findings if f.kind == "broken-part"]
    assert finding.path == part


def test_large_objects_are_read_in_blocks(
    remote_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = bytes(range(256)) * 5
    storage = remote_store.storage
    overwrite(storage, "large", written)
    monkeypatch.setattr(object_storage, "BLOCK_BYTES", 100)
    assert content(storage, "large") == written
    with storage.open("large") as handle:
        handle.seek(-10, os.SEEK_END)
        assert (handle.read(), handle.tell()) == (written[-10:], len(written))
        handle.seek(500)
        assert handle.read(300) == written[500:800]
    assert remote_store.load("vector").clip_ids == ["a", "b", "c"]
    assert verify(remote_store.address).sound


@pytest.mark.parametrize("name", ["a b", "100%", "x#y?z=1", "é", "a//b", "[x]", "*"])
def test_odd_names_are_taken_as_they_are(name: str, remote_store: Store) -> None:
    folder = open_storage(f"{remote_store.address}/../{name}")
    overwrite(folder, "file", name.encode())
    assert content(open_storage(folder.address_of("file"))) == name.encode()
    assert folder.names() == {"file"} and list(folder.walk()) == ["file"]


@contextlib.contextmanager
def another_connection(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Iterator[None]:
    """What is in the environment is read when the file system is made."""
    from s3fs import S3FileSystem

    with monkeypatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        object_storage._file_system.cache_clear()
        S3FileSystem.clear_instance_cache()
        yield
    object_storage._file_system.cache_clear()
    S3FileSystem.clear_instance_cache()


def test_a_server_that_does_not_answer_is_one_sentence(
    remote_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
    with (
        another_connection(monkeypatch, **nobody),
        pytest.raises(StoreError, match=r"s3://.*cannot be read .*Could not connect"),
    ):
        Store(remote_store.address)
    assert Store(remote_store.address).load("vector").clip_ids == ["a", "b", "c"]


@pytest.mark.parametrize("end", ["view.json", ".parquet", "kinestore.json"])
def test_a_server_that_is_away_for_a_moment_breaks_nothing(
    end: str, remote_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, opened = Store(remote_store.address), ObjectStorage.open

    def away(storage: ObjectStorage, name: str = "") -> OpenFile:
        if name.endswith(end):
            reason = "cannot be read (timed out)"
            raise AccessError(errno.ETIMEDOUT, reason, storage.address_of(name))
        return opened(storage, name)

    with monkeypatch.context() as gone:
        gone.setattr(ObjectStorage, "open", away)
        with pytest.raises(StoreError, match="timed out") as told:
            (Store if end == "kinestore.json" else lambda _: store.load("vector"))(store.address)
        assert "--repair" not in str(told.value)
        with contextlib.suppress(AccessError):
            report = verify(store.address, repair=True)
            assert not report.sound and report.dropped == ()
            assert {finding.kind for finding in report.findings} <= {"unreadable", "missing-rows"}
    assert verify(store.address).sound and len(store.load("vector").clip_ids) == 3


def test_a_password_in_an_endpoint_is_not_repeated(
    remote_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = "http://me:geheim@127.0.0.1:9"
    settings = {"AWS_ENDPOINT_URL": endpoint, "AWS_MAX_ATTEMPTS": "1"}
    with (
        another_connection(monkeypatch, **settings),
        pytest.raises(StoreError, match=r"cannot be read") as told,
    ):
        Store(remote_store.address)
    assert "geheim" not in str(told.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(UsageError, match=r"needs the package s3fs; pip install 'kinestore\[remote"):
        Store("s3://kinestore/store")


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("ftp://me:geheim@host/x", "ftp://: must be a local path, file://, s3://, gs://"),
        ("s3://", "s3://: a bucket's name must follow"),
        ("s3:///store", "s3://: a bucket's name must follow"),
        ("s3://me:geheim@bucket/store", "credentials are taken from the environment"),
        ("s3://me:ge/heim@bucket/store", "credentials are taken from the environment"),
        ("s3://bucket/a/../../b", r"s3://bucket: '\.\.' leads out of the bucket"),
        ("file://store", "file://: must continue with a slash"),
        (Path("s3://bucket/store"), "s3:/bucket/store: give the address as text"),
    ],
)
def test_what_is_no_address_is_told_without_its_password(named: str | Path, message: str) -> None:
    for use in (Store, Store.create, open_storage):
        with pytest.raises(UsageError, match=message) as told:
            use(named)
        assert "heim" not in str(told.value)


def test_addresses_of_local_files_are_paths(tmp_path: Path) -> None:
    filled(f"file://{tmp_path}/a%20store")
    assert Store(tmp_path / "a store").load("vector").clip_ids == ["a", "b", "c"]
    assert open_storage("file://localhost/x").local_root == Path("/x")
    assert open_storage("odd:name").local_root == Path("odd:name")
    assert open_storage("S3://bucket/./a/b/../store/").address == "s3://bucket/a/store"
