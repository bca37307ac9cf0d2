"""The same claims of a local store and of one on a real S3 server."""

import uuid
from pathlib import Path

import pytest

from kinestore.pipeline.verification.verify import verify
from kinestore.store import Store, StoreError, UsageError
from kinestore.store.io.addresses import open_storage
from tests.helpers.stored import SPEC, clip, content, embedding, failure, filled, overwrite


@pytest.fixture(params=["local", "s3"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where there is no store yet."""
    if request.param == "local":
        return str(tmp_path / "store")
    return f"{request.getfixturevalue('bucket')}/{uuid.uuid4().hex}/the store"


def test_rows_come_back_and_are_added_once(address: str) -> None:
    store = filled(address)
    assert store.append(SPEC, ["a", "c"], [embedding(9, 9), embedding(9, 9)]) == 0
    assert Store(address).append(SPEC, ["b", "d"], [embedding(9, 9), embedding(7, 8)]) == 1
    loaded = Store(address).load("vector")
    assert loaded.clip_ids == ["a", "b", "c", "d"] and loaded.missing == []
    assert loaded.features.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]
    assert [loaded.classes[n] for n in loaded.labels] == ["run", "sit", "run", "sit"]
    assert store.load("vector", split="train").clip_ids == ["a"]
    assert verify(address).findings == ()


def test_the_newest_row_of_a_source_gives_its_label(address: str) -> None:
    store = filled(address)
    assert store.append_clips([clip("a", label="walk"), clip("b", label="sit")]) == 1
    assert store.append_clips([clip("a", label="walk")]) == 0
    assert Store(address).load("vector", labels="walk").clip_ids == ["a"]
    assert len(Store(address).clips()) == 4


def test_the_ledger_keeps_the_newest_failure(address: str) -> None:
    store = filled(address)
    for attempt in (1, 2):
        store.append_failures([failure(attempt=attempt)])
    assert [found.attempt for found in Store(address).failures()] == [2]


def test_a_snapshot_is_read_as_it_was_and_told_when_it_is_broken(address: str) -> None:
    store = filled(address)
    taken = store.take_snapshot("paper")
    store.append(SPEC, ["d"], [embedding(7, 8)])
    assert Store(address, snapshot="paper").load("vector").clip_ids == ["a", "b", "c"]
    with pytest.raises(UsageError, match=r"'other': not in .*, which has paper"):
        Store(address, snapshot="other")
    with pytest.raises(UsageError, match="is there already and pins other parts"):
        store.take_snapshot("paper")
    assert store.storage.remove(next(name for name in taken.parts if name.startswith("views/")))
    with pytest.raises(StoreError, match="is gone since snapshot 'paper' was taken"):
        Store(address, snapshot="paper").load("vector")


def test_a_changed_byte_is_found_dropped_and_filled_again(address: str) -> None:
    store = filled(address)
    part = store.views()[0].parts.parts()[0]
    good = content(store.storage, part)
    overwrite(store.storage, part, good[:-20] + b"!" + good[-19:])
    (finding,) = [f for f in verify(address).findings if f.kind != "missing-rows"]
    assert finding.kind == "broken-part" and finding.path == part
    repaired = verify(address, repair=True)
    assert repaired.sound and repaired.dropped == (finding.path,)
    assert Store(address).load("vector").clip_ids == ["c"]
    assert store.append(SPEC, ["a", "b"], [embedding(1, 2), embedding(3, 4)]) == 2
    assert Store(address).load("vector").clip_ids == ["a", "b", "c"]


def test_what_another_writer_adds_is_seen_at_once(address: str) -> None:
    reader, writer = filled(address), Store(address)
    assert reader.load("vector").clip_ids == ["a", "b", "c"]
    assert reader.clips_with(SPEC) == {"a", "b", "c"}
    writer.append(SPEC, ["d"], [embedding(7, 8)])
    writer.append_clips([clip("e")])
    assert reader.clips_with(SPEC) == {"a", "b", "c", "d"}
    loaded = reader.load("vector")
    assert (loaded.clip_ids, loaded.missing) == (["a", "b", "c", "d"], ["e"])


def test_a_hostile_part_is_named(address: str) -> None:
    store = filled(address)
    bad = f"views/{SPEC.name}/00009-0123456789abcdef.parquet"
    overwrite(store.storage, bad, b"PAR1 nothing PAR1")
    with pytest.raises(StoreError, match=r"00009-\w+\.parquet: cannot be read .*--repair"):
        store.load("vector")


def test_what_is_no_store_is_not_written_to(address: str) -> None:
    with pytest.raises(StoreError, match=f"{address}: no store here"):
        Store(address)
    storage = open_storage(address)
    overwrite(storage, "notes.txt", b"mine")
    with pytest.raises(UsageError, match="is there already and is not a store"):
        Store.create(address)
    overwrite(storage, "kinestore.json", b'{"format": 2}')
    with pytest.raises(StoreError, match="store format 2, but this version reads format 1"):
        Store.create(address)
