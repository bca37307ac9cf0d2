"""The contract of the storage verbs, on a local file system and on a real S3 server."""

import hashlib
import inspect
import io
import os
import threading
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kinestore.store import UsageError
from kinestore.store.io.addresses import open_storage
from kinestore.store.io.atomic import local_folder
from kinestore.store.io.local_storage import LocalStorage
from kinestore.store.io.object_storage import ObjectStorage
from kinestore.store.io.storage import Storage
from tests.helpers.stored import content, overwrite

pytestmark = pytest.mark.usefixtures("own_temporary_folder")

CONTENT = bytes(range(256)) * 3


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """One file "f", and in the folder "a" the files "a/b c" and "a/d/e"."""
    if request.param == "local":
        made = open_storage(tmp_path / "storage")
    else:
        made = open_storage(f"{request.getfixturevalue('bucket')}/{uuid.uuid4().hex}")
    for name in ("f", "a/b c", "a/d/e"):
        overwrite(made, name, CONTENT)
    return made


def test_both_have_every_verb_and_no_other() -> None:
    verbs = {name for name, _ in inspect.getmembers(Storage) if not name.startswith("_")}
    for kind, own in ((LocalStorage, set()), (ObjectStorage, {"read_range", "protocol", "key"})):
        fields = set(inspect.signature(kind).parameters)
        public = {name for name in dir(kind) if not name.startswith("_")} | fields
        assert public - own == verbs


def test_addresses_lead_back(storage: Storage) -> None:
    for name in ("f", "a/b c"):
        assert storage.address_of(name) == f"{storage.address}/{name}"
        for address in (storage.address_of(name), storage.uri(name)):
            assert content(open_storage(address)) == CONTENT
    assert open_storage(storage.uri()).names() == storage.names()


def test_kinds_and_sizes(storage: Storage) -> None:
    kinds = {"f": "file", "a": "folder", "a/d": "folder", "a/d/e": "file", "absent": None}
    assert {name: storage.kind(name) for name in kinds} == kinds
    assert storage.kind() == "folder" and open_storage(storage.address_of("f")).kind() == "file"
    assert storage.kind("f/below") is None
    assert storage.size("f") == len(CONTENT)
    with pytest.raises(FileNotFoundError, match="absent"):
        storage.size("absent")
    with pytest.raises(OSError, match=r"not a regular file|is a folder"):
        storage.size("a")


def test_names_are_those_of_one_folder_and_walk_finds_all(storage: Storage) -> None:
    assert storage.names() == {"a", "f"}
    assert storage.names("a") == {"b c", "d"}
    assert storage.names("absent") == set()
    assert sorted(storage.walk()) == ["a/b c", "a/d/e", "f"]
    assert list(open_storage(storage.address_of("absent")).walk()) == []


def test_files_are_read_and_sought(storage: Storage) -> None:
    with storage.open("a/b c") as handle:
        assert handle.read(10) == CONTENT[:10]
        handle.seek(-6, io.SEEK_END)
        assert handle.read() == CONTENT[-6:]
    with storage.open("f") as handle:
        expected = hashlib.sha256(CONTENT).hexdigest()
        assert hashlib.file_digest(handle, "sha256").hexdigest() == expected
    with pytest.raises(FileNotFoundError, match="absent"):
        storage.open("absent")


def test_parquet_is_read_from_its_source(storage: Storage) -> None:
    with storage.temporary() as unfinished:
        pq.write_table(pa.table({"x": [1, 2]}), unfinished)
        storage.publish(unfinished, "t.parquet")
    with pq.ParquetFile(storage.parquet_source("t.parquet")) as file:
        assert file.read().to_pydict() == {"x": [1, 2]}


def test_a_local_copy_has_the_bytes_and_the_suffix_and_leaves_nothing(storage: Storage) -> None:
    overwrite(storage, "a/clip.mp4", CONTENT)
    with storage.local_copy("a/clip.mp4") as here:
        assert here.read_bytes() == CONTENT and here.suffix == ".mp4"
    assert here.exists() == (storage.local_root is not None)
    assert list(local_folder().iterdir()) == []
    with pytest.raises(FileNotFoundError), storage.local_copy("absent") as here:
        here.read_bytes()


def test_nothing_is_seen_before_it_is_published(storage: Storage) -> None:
    with storage.temporary("new") as unfinished:
        unfinished.write_bytes(b"half")
        assert storage.kind("new/x") is None
        unfinished.write_bytes(b"whole")
        storage.publish(unfinished, "new/x")
    assert content(storage, "new/x") == b"whole" and storage.names("new") == {"x"}
    with pytest.raises(RuntimeError), storage.temporary("new") as unfinished:
        unfinished.write_bytes(b"broken off")
        raise RuntimeError
    assert not unfinished.exists() and storage.names("new") == {"x"}
    assert list(local_folder().iterdir()) == []


def test_text_is_replaced_or_stays(storage: Storage) -> None:
    storage.write("n/é.json", "first ü")
    storage.write("n/é.json", "second ü")
    assert content(storage, "n/é.json").decode() == "second ü"
    storage.write_once("n/é.json", "third")
    storage.write_once("n/once.json", "only")
    assert content(storage, "n/é.json").decode() == "second ü"
    assert content(storage, "n/once.json") == b"only"
    assert storage.names("n") == {"é.json", "once.json"}


def test_of_many_that_write_once_one_stays(storage: Storage) -> None:
    texts = [f"writer {number}" for number in range(8)]
    start = threading.Barrier(len(texts))

    def write(text: str) -> None:
        start.wait()
        storage.write_once("once", text)

    threads = [threading.Thread(target=write, args=[text]) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert content(storage, "once").decode() in texts


def test_a_lock_lets_one_in_at_a_time_where_there_are_locks(storage: Storage) -> None:
    inside: list[str] = []

    def enter() -> None:
        with storage.locked("f"):
            inside.append("second")

    with storage.locked("f"):
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join(timeout=0.3)
        assert inside == ([] if storage.local_root is not None else ["second"])
    thread.join()
    assert inside == ["second"]


def test_what_is_removed_is_gone_and_the_rest_stays(storage: Storage) -> None:
    assert storage.remove("a/b c") and storage.kind("a/b c") is None
    assert not storage.remove("absent/file")
    assert sorted(storage.walk()) == ["a/d/e", "f"]


def test_a_file_that_is_being_written_is_not_abandoned(storage: Storage) -> None:
    with storage.temporary("a") as unfinished:
        name = f"a/{unfinished.name}"
        assert not storage.is_abandoned(name)
        assert storage.local_root is None or not storage.remove(name)
        assert unfinished.exists()


def test_only_a_local_one_has_a_path(storage: Storage) -> None:
    if storage.local_root is None:
        assert storage.address.startswith("s3://") and storage.num_concurrent_reads > 1
    else:
        assert (storage.local_root / "f").read_bytes() == CONTENT


# Local alone


def test_links_pipes_and_folders_are_told_apart_and_not_removed_by_mistake(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("precious")
    root = tmp_path / "root"
    root.mkdir()
    (root / "linked").symlink_to(outside)
    (root / "link").symlink_to(outside / "precious")
    (root / "broken").symlink_to(root / "nothing")
    os.mkfifo(root / "pipe")
    storage = open_storage(root)
    kinds = {"linked": "folder", "link": "file", "broken": "broken link", "pipe": "other"}
    assert {name: storage.kind(name) for name in kinds} == kinds
    assert sorted(storage.walk()) == ["broken", "link", "pipe"]  # a linked folder is not entered
    with pytest.raises(OSError, match="not a regular file"):
        storage.size("pipe")
    assert not storage.remove("linked/precious")
    assert storage.remove("link") and storage.remove("broken") and storage.remove("linked")
    assert (outside / "precious").read_text() == "precious"


# An object store alone


def test_a_bucket_that_is_not_there_is_named(bucket: str) -> None:
    storage = open_storage("s3://nobody-has-this/store")
    with pytest.raises(UsageError, match="there is no bucket 'nobody-has-this'; make it first"):
        storage.write("x", "text")
    assert storage.kind() is None and storage.names() == set()
