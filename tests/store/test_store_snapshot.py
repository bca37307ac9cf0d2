"""A snapshot gives the same rows whatever is added later, or says what is gone."""

import json
from pathlib import Path

import pytest

from kinestore.pipeline.verification.verify import verify
from kinestore.store import Store, StoreError, UsageError, ViewSpec
from tests.helpers.stored import SPEC, clip, embedding, view_folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store.create(tmp_path / "store")
    made.append_clips([clip("a", label="run"), clip("b", label="sit")])
    made.append(SPEC, ["a", "b"], [embedding(1, 2), embedding(3, 4)])
    return made


def test_a_snapshot_keeps_what_was_there(store: Store) -> None:
    taken = store.take_snapshot("first")
    assert len(taken.parts) == 2
    store.append_clips([clip("a", label="jump"), clip("c")])
    store.append(SPEC, ["c"], [embedding(5, 6)])
    store.append(ViewSpec(extractor="later", shape=(2,), settings={}), ["a"], [embedding(7, 8)])
    assert store.load("vector").features.tolist() == [[1, 2], [3, 4], [5, 6]]
    pinned = Store(store.path, snapshot="first")
    loaded = pinned.load("vector")
    assert loaded.features.tolist() == [[1, 2], [3, 4]] and loaded.classes == ["run", "sit"]
    assert [view.name for view in pinned.views()] == [SPEC.name]
    assert pinned.clips().column("clip_id").to_pylist() == ["a", "b"] and pinned.failures() == []
    assert verify(store.path).sound


def test_a_name_is_kept_for_one_set_of_parts(store: Store) -> None:
    first = store.take_snapshot("v1.0")
    path = store.path / "snapshots" / "v1.0.json"
    written = path.read_bytes()
    assert store.take_snapshot("v1.0") == first and path.read_bytes() == written
    store.append_clips([clip("c")])
    with pytest.raises(UsageError, match=r"v1\.0\.json: is there already and pins other parts"):
        store.take_snapshot("v1.0")
    assert path.read_bytes() == written


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", ".hidden", "a b", "x" * 101, "ä"])
def test_a_name_that_cannot_be_one_is_refused(name: str, store: Store) -> None:
    with pytest.raises(UsageError, match="must be letters, digits"):
        store.take_snapshot(name)
    with pytest.raises(UsageError, match="must be letters, digits"):
        Store(store.path, snapshot=name)
    assert not (store.path / "snapshots").exists()


def test_an_unknown_name_lists_the_known_ones(store: Store) -> None:
    with pytest.raises(UsageError, match=r"'x': not in .*store, which has no snapshot at all"):
        Store(store.path, snapshot="x")
    store.take_snapshot("one")
    store.take_snapshot("two")
    with pytest.raises(UsageError, match="which has one, two"):
        Store(store.path, snapshot="x")


def test_a_pinned_part_that_is_gone_or_changed_is_named(store: Store) -> None:
    store.take_snapshot("s")
    (part,) = (store.path / "clips").glob("*.parquet")
    written = part.read_bytes()
    part.write_bytes(written[:100] + bytes([written[100] ^ 1]) + written[101:])
    pinned = Store(store.path, snapshot="s")
    with pytest.raises(StoreError, match=f"{part.name}: has changed since snapshot 's' was taken"):
        pinned.clips()
    assert len(pinned.views()[0].clip_ids()) == 2  # the other parts are as they were
    part.unlink()
    with pytest.raises(StoreError, match=f"{part.name}: is gone since snapshot 's' was taken; put"):
        pinned.load("vector")
    report = verify(store.path, repair=True)
    assert not report.sound and (store.path / "snapshots" / "s.json").exists()
    assert ("snapshots/s.json", "broken-snapshot") in [(f.path, f.kind) for f in report.findings]
    part.write_bytes(written)
    assert pinned.load("vector").clip_ids == ["a", "b"] and verify(store.path).findings == ()
    (view_folder(store) / "view.json").unlink()
    with pytest.raises(StoreError, match=r"view\.json: is gone; put it back"):
        pinned.load("vector")


def test_what_has_changed_is_not_pinned(store: Store) -> None:
    (part,) = (store.path / "clips").glob("*.parquet")
    part.write_bytes(part.read_bytes() + b"x")
    with pytest.raises(StoreError, match=f"{part.name}: is not what was written; run `kinestore"):
        store.take_snapshot("s")
    assert not (store.path / "snapshots").exists()


def test_a_pinned_store_is_not_written_to(store: Store) -> None:
    store.take_snapshot("s")
    pinned = Store(store.path, snapshot="s")
    for write in (
        lambda: pinned.append_clips([clip("c")]),
        lambda: pinned.append(SPEC, ["c"], [embedding(1, 2)]),
        lambda: pinned.take_snapshot("t"),
    ):
        with pytest.raises(UsageError, match="at snapshot 's': is not written to; open the store"):
            write()


GOOD = "clips/00000-0123456789abcdef.parquet"


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ("{", "cannot be read"),
        ('{"format": 2, "parts": {}}', "is not a snapshot of format 1"),
        ('{"format": 1, "parts": []}', "is not a snapshot of format 1"),
        ({"../outside.parquet": "0" * 64}, "pins '../outside.parquet', which is no part"),
        ({f"views/../{GOOD}": "0" * 64}, "which is no part"),
        ({f"/{GOOD}": "0" * 64}, "which is no part"),
        ({GOOD: "0" * 16}, "which is no part with its hash"),
        ({GOOD: None}, "which is no part with its hash"),
    ],
)
def test_a_hostile_snapshot_is_named(
    described: str | dict[str, str | None], message: str, store: Store
) -> None:
    path = store.path / "snapshots" / "s.json"
    path.parent.mkdir()
    if not isinstance(described, str):
        described = json.dumps({"format": 1, "parts": described})
    path.write_text(described)
    with pytest.raises(StoreError, match=rf"s\.json: .*{message}"):
        Store(store.path, snapshot="s")
    report = verify(store.path)
    assert [f.kind for f in report.findings] == ["broken-snapshot"] and not report.sound
