import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from kinestore.store import (
    RESOLVED,
    Clip,
    Embedding,
    Failure,
    Source,
    Store,
    StoreError,
    UsageError,
    ViewSpec,
)
from tests.helpers.stored import INFO, clip, view_folder

VECTOR = ViewSpec(extractor="vector", shape=(2,), settings={"code": 1})
SEQUENCE = ViewSpec(extractor="sequence", shape=(6, 1), settings={"code": 1})


def embedding(*values: float, shape: tuple[int, ...] = (2,)) -> Embedding:
    vector: NDArray[np.float32] = np.array(values, np.float32).reshape(shape)
    return Embedding(vector=vector, frame_index=np.arange(3), pts_s=np.arange(3) / 25)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


def test_views_are_joined_by_clip_and_not_by_position(store: Store) -> None:
    store.append_clips([clip("b", label="sit"), clip("a", label="run"), clip("c", label="run")])
    store.append(VECTOR, ["a", "b"], [embedding(1, 2), embedding(3, 4)])
    other = ViewSpec(extractor="other", shape=(2,), settings={})
    store.append(other, ["b", "c"], [embedding(30, 40), embedding(50, 60)])
    store.append(other, ["a"], [embedding(10, 20)])
    loaded = store.load(["vector", "other"])
    assert loaded.clip_ids == ["a", "b"] and loaded.missing == ["c"]
    assert loaded.features.tolist() == [[1, 2, 10, 20], [3, 4, 30, 40]]
    assert loaded.features.dtype == np.float32 and loaded.labels.dtype == np.int64
    assert (loaded.classes, loaded.labels.tolist()) == (["run", "sit"], [0, 1])
    assert loaded.views == [VECTOR.name, other.name]


def test_stats_pool_worked_by_hand(store: Store) -> None:
    # Frames 1 2 3 4 5 9: mean 24/6 = 4; squares 1+4+9+16+25+81 = 136, so the variance is
    # 136/6 - 16 = 20/3; the last two less the first two are 7 - 1.5 = 5.5.
    store.append_clips([clip("a")])
    store.append(SEQUENCE, ["a"], [embedding(1, 2, 3, 4, 5, 9, shape=(6, 1))])
    pooled = store.load("sequence").features[0]
    assert pooled == pytest.approx([4, (20 / 3) ** 0.5, 5.5], rel=1e-6)
    assert store.load("sequence:mean").features.tolist() == [[4]]
    assert store.load("sequence:max").features.tolist() == [[9]]
    assert store.load("sequence:sequence").features.shape == (1, 6, 1)
    with pytest.raises(UsageError, match="'sequence:median': the pool must be one of stats, mean"):
        store.load("sequence:median")


def test_float16_views_come_back_as_float32(store: Store) -> None:
    half = ViewSpec(extractor="half", shape=(3, 2), settings={}, dtype="float16")
    store.append_clips([clip("a")])
    store.append(half, ["a"], [embedding(*[0.1] * 6, shape=(3, 2))])
    loaded = store.load("half:sequence").features
    assert loaded.dtype == np.float32
    assert loaded[0] == pytest.approx(np.full((3, 2), np.float16(0.1)))


def test_the_newest_row_of_a_source_gives_its_label(store: Store) -> None:
    store.append_clips([clip("a", label="wrong", group="g")])
    store.append(VECTOR, ["a"], [embedding(1, 2)])
    store.append_clips([clip("a", label="right", group="g")])
    assert len(store.clips()) == 1
    assert store.load("vector").classes == ["right"]


def test_same_bytes_under_two_paths_are_one_row(store: Store) -> None:
    store.append_clips([clip("a", uri="/x.avi"), clip("a", uri="/y.avi")])
    store.append(VECTOR, ["a"], [embedding(1, 2)])
    store.append(VECTOR, ["a"], [embedding(1, 2)])  # two jobs at once
    assert len(store.clips()) == 2
    assert store.load("vector").features.tolist() == [[1, 2]]
    assert store.views()[0].clip_ids() == {"a"}


def test_split_keeps_only_its_clips(store: Store) -> None:
    store.append_clips([clip("a", split="train"), clip("b", split="test")])
    store.append(VECTOR, ["a", "b"], [embedding(1, 2), embedding(3, 4)])
    assert store.load("vector", split="test").clip_ids == ["b"]
    with pytest.raises(UsageError, match="no clip of split 'dev' has all of vector"):
        store.load("vector", split="dev")


def test_manifest_columns_of_ones_own_come_back(store: Store) -> None:
    with_camera = Source(uri="/a.avi", extra={"camera": "left"})
    store.append_clips([Clip(clip_id="a", source=with_camera, info=INFO)])
    store.append_clips([clip("b")])  # a part without that column
    assert store.clips().column("camera").to_pylist() == ["left", None]
    taken = Source(uri="/c.avi", extra={"fps": "25"})
    with pytest.raises(UsageError, match="column 'fps' of the manifest: the store keeps"):
        store.append_clips([Clip(clip_id="c", source=taken, info=INFO)])


def test_filters_are_joined_and_what_is_missing_is_of_the_clips_asked_for(store: Store) -> None:
    store.append_clips(
        [
            clip("a", label="run", group="g1", split="train"),
            clip("b", label="run", group="g2", split="train"),
            clip("c", label="sit", group="g1", split="test"),
            clip("d", group="g1", split="train"),
            clip("e", label="run", group="g1", split="train"),
        ]
    )
    store.append(VECTOR, list("abcd"), [embedding(1, 2)] * 4)
    assert store.load("vector", labels=["run", "sit"]).clip_ids == ["a", "b", "c"]
    assert store.load("vector", groups="g1").clip_ids == ["a", "c", "d"]
    assert store.load("vector", clips=["c", "a"]).clip_ids == ["a", "c"]
    loaded = store.load("vector", split="train", labels="run", groups=["g1"], clips=list("abce"))
    assert loaded.clip_ids == ["a"] and loaded.missing == ["e"]
    assert loaded.classes == ["run"] and loaded.labels.tolist() == [0]
    assert store.load("vector", labels=["sit"]).labels.tolist() == [0]
    with pytest.raises(UsageError, match=r"no clip of label 'runs' has all of .*knows run, sit"):
        store.load("vector", labels=["run", "runs"])
    with pytest.raises(UsageError, match=r"no clip of group 'g3' .* knows g1, g2"):
        store.load("vector", groups=["g3"])
    with pytest.raises(UsageError, match=r"no clip of clip_id 'z' .* knows a, b, c, d, e"):
        store.load("vector", clips=["a", "z"])
    with pytest.raises(UsageError, match="no clip of split 'train' and of label 'sit' has all of"):
        store.load("vector", split="train", labels=["sit"])
    with pytest.raises(UsageError, match="clip_id: name at least one"):
        store.load("vector", clips=[])


def test_a_file_whose_bytes_changed_is_its_new_clip_alone(store: Store) -> None:
    store.append_clips([clip("old", uri="/x.avi"), clip("same", uri="/y.avi")])
    store.append(VECTOR, ["old", "same"], [embedding(1, 2), embedding(3, 4)])
    store.append_clips([clip("new", uri="/x.avi")])
    loaded = store.load("vector")
    assert loaded.clip_ids == ["same"] and loaded.missing == ["new"]


def test_any_setting_changes_the_fingerprint_and_nothing_else_does() -> None:
    same = ViewSpec(extractor="v", shape=(2,), settings={"b": [1], "a": {"y": 1, "x": 2}})
    reordered = ViewSpec(extractor="v", shape=(2,), settings={"a": {"x": 2, "y": 1}, "b": [1]})
    assert same.fingerprint == reordered.fingerprint
    others = [
        ViewSpec(extractor="w", shape=(2,), settings=same.settings),
        ViewSpec(extractor="v", shape=(3,), settings=same.settings),
        ViewSpec(extractor="v", shape=(2,), settings=same.settings, dtype="float16"),
        ViewSpec(extractor="v", shape=(2,), settings={"b": [1], "a": {"y": 1, "x": 3}}),
    ]
    assert len({same.fingerprint, *(other.fingerprint for other in others)}) == 5
    with pytest.raises(UsageError, match="dtype='int8'"):
        ViewSpec(extractor="v", shape=(2,), settings={}, dtype="int8")
    with pytest.raises(UsageError, match=r"shape=\(0,\)"):
        ViewSpec(extractor="v", shape=(0,), settings={})


def test_two_fingerprints_of_one_extractor_must_be_told_apart(store: Store) -> None:
    newer = ViewSpec(extractor="vector", shape=(2,), settings={"code": 2})
    store.append_clips([clip("a")])
    store.append(VECTOR, ["a"], [embedding(1, 2)], made_with={"kinestore": "0.1.0"})
    store.append(newer, ["a"], [embedding(3, 4)])
    with pytest.raises(UsageError, match=f"several views, choose one of .*{newer.name}"):
        store.load("vector")
    assert store.load(newer.name).features.tolist() == [[3, 4]]
    assert store.load(VECTOR.name[:12]).features.tolist() == [[1, 2]]
    described = json.loads((store.path / "views" / VECTOR.name / "view.json").read_text())
    assert described["made_with"] == {"kinestore": "0.1.0"}
    with pytest.raises(UsageError, match=r"'blip': not in .*which has vector@"):
        store.load("blip")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (embedding(1, 2, 3, shape=(3,)), r"clip a: shape \(3,\) is not the \(2,\)"),
        (embedding(1, float("nan")), "clip a: has values that are not finite"),
        (embedding(1, float("inf")), "clip a: has values that are not finite"),
    ],
)
def test_an_embedding_that_does_not_fit_is_refused_whole(
    wrong: Embedding, message: str, store: Store
) -> None:
    with pytest.raises(UsageError, match=message):
        store.append(VECTOR, ["a"], [wrong])
    assert store.views() == []


def test_a_commit_that_breaks_leaves_no_trace(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        store.append_clips([clip("a")])
    monkeypatch.undo()
    assert list((store.path / "clips").iterdir()) == []
    assert len(store.clips()) == 0


def test_the_same_rows_are_the_same_bytes(tmp_path: Path) -> None:
    names = []
    for folder in ("one", "two"):
        store = Store.create(tmp_path / folder)
        store.append(VECTOR, ["a"], [embedding(1, 2)], number=7)
        names.append([path.name for path in view_folder(store, VECTOR.name).glob("*.parquet")])
    assert names[0] == names[1] and names[0][0].startswith("00007-")


def test_a_newer_store_is_left_alone(store: Store) -> None:
    marker = store.path / "kinestore.json"
    marker.write_text('{"format": 2}')
    with pytest.raises(StoreError, match="store format 2, but this version reads format 1"):
        Store.create(store.path)
    assert marker.read_text() == '{"format": 2}'
    marker.write_text("{}")
    with pytest.raises(StoreError, match=r"kinestore\.json: cannot be read"):
        Store(store.path)


def test_no_store_and_no_room_for_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store here; make one with `kinestore extract"):
        Store(tmp_path / "absent")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UsageError, match="is there already and is not a store"):
        Store.create(tmp_path)
    with pytest.raises(UsageError, match="is there already and is not a store"):
        Store.create(tmp_path / "notes.txt")


def test_a_hostile_part_is_named(store: Store) -> None:
    store.append_clips([clip("a")])
    store.append(VECTOR, ["a"], [embedding(1, 2)])
    folder = view_folder(store, VECTOR.name)
    bad = folder / "00009-0123456789abcdef.parquet"
    for table, message in (
        (pa.table({"clip_id": ["b"]}), "column 'embedding' is missing"),
        (pa.table({"clip_id": [1], "embedding": [1.0]}), "column 'clip_id' is int64, not string"),
    ):
        pq.write_table(table, bad)
        with pytest.raises(StoreError, match=f"{bad.name}: {message}.*verify .* --repair"):
            store.load("vector")
    bad.write_bytes(b"PAR1 this is not parquet PAR1")
    with pytest.raises(StoreError, match=f"{bad.name}: cannot be read"):
        store.load("vector")
    bad.rename(folder / "stray.parquet")
    with pytest.raises(StoreError, match="not the name of a part"):
        store.load("vector")


def test_ledger_keeps_the_newest_failure_until_it_is_made_good(store: Store) -> None:
    def failure(kind: str, attempt: int, view: str = "") -> Failure:
        return Failure(
            uri="/a.avi",
            clip_id="a",
            view=view,
            stage="decode",
            kind=kind,
            message="why",
            when="2026-01-01T00:00:00+00:00",
            attempt=attempt,
        )

    store.append_failures([failure("not-a-video", 1), failure("not-finite", 1, VECTOR.name)])
    store.append_failures([failure("not-a-video", 2)])
    assert sorted((f.view, f.attempt) for f in store.failures()) == [("", 2), (VECTOR.name, 1)]
    store.append_failures([failure(RESOLVED, 2)])
    assert [f.view for f in store.failures()] == [VECTOR.name]
