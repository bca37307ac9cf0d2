"""Adding to a store: one's own arrays, several writers, nothing twice."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from kinestore.store import Store, UsageError, ViewSpec
from kinestore.store.io.atomic import write_text_once
from kinestore.store.parts import list_parts
from tests.helpers.stored import SPEC as VECTOR
from tests.helpers.stored import clip, embedding, view_folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


def test_an_array_of_ones_own_is_taken_as_it_is(store: Store) -> None:
    store.append_clips([clip("a"), clip("b")])
    vectors = np.array([[1, 2], [3, 4]], np.float64)
    assert store.append(VECTOR, ["b", "a"], vectors) == 2
    assert store.load("vector").features.tolist() == [[3, 4], [1, 2]]
    row = pq.read_table(next(view_folder(store).glob("*.parquet"))).to_pylist()[0]
    assert row == {
        "clip_id": "b",
        "embedding": [1, 2],
        "frame_index": [],
        "pts_s": [],
        "caption": None,
    }


@pytest.mark.parametrize(
    ("clips", "vectors", "message"),
    [
        (["a", "b"], np.zeros((1, 2)), "embeddings: 1 of them for 2 clips"),
        ([], np.zeros((0, 2)), "embeddings: 0 of them for 0 clips"),
        (["a"], np.zeros((1, 3)), r"clip a: shape \(3,\) is not the \(2,\)"),
        (["a"], np.zeros(1), r"clip a: shape \(\) is not the \(2,\)"),
        (["a", "b"], np.array([[1, 2], [3, np.nan]]), "clip b: has values that are not finite"),
    ],
)
def test_an_array_that_does_not_fit_is_refused(
    clips: list[str], vectors: NDArray[np.float64], message: str, store: Store
) -> None:
    with pytest.raises(UsageError, match=message):
        store.append(VECTOR, clips, vectors)
    assert not store.views()


def test_a_value_that_float16_does_not_hold_is_refused(store: Store) -> None:
    half = ViewSpec(extractor="half", shape=(1,), settings={}, dtype="float16")
    with pytest.raises(UsageError, match="clip a: has values that are not finite"):
        store.append(half, ["a"], np.array([[70_000.0]]))


def test_what_another_writer_has_added_is_not_added_again(store: Store) -> None:
    one, other = Store(store.path), Store(store.path)
    assert one.append_clips([clip("a"), clip("b")]) == 2
    assert other.append_clips([clip("b"), clip("c")]) == 1
    assert other.append_clips([clip("b", label="run")]) == 1  # it says something new
    assert one.append_clips([clip("b", label="run")]) == 0
    assert one.append_clips([clip("b")]) == 1  # and is taken back
    assert one.append(VECTOR, ["a", "b"], [embedding(1, 2), embedding(3, 4)]) == 2
    assert other.append(VECTOR, ["b", "c"], [embedding(3, 4), embedding(5, 6)]) == 1
    assert other.append(VECTOR, ["a"], [embedding(1, 2)]) == 0
    assert one.clips_with(VECTOR) == {"a", "b", "c"}
    assert [len(pq.read_table(store.path / p)) for p in store.views()[0].parts.parts()] == [2, 1]


def test_what_a_repair_has_dropped_can_be_added_again(store: Store) -> None:
    store.append_clips([clip("a")])
    store.append(VECTOR, ["a"], [embedding(1, 2)])
    (store.path / store.views()[0].parts.parts()[0]).unlink()
    assert store.append(VECTOR, ["a"], [embedding(1, 2)]) == 1


def append_all(path: Path, writer: int) -> None:
    store = Store(path)
    ids = [f"{number:03d}" for number in range(60)]
    for begin in range(0, 60, 6):
        given = ids[begin : begin + 6] if writer % 2 else ids[54 - begin : 60 - begin]
        store.append_clips([clip(i) for i in given])
        store.append(VECTOR, given, [embedding(int(i), 1) for i in given])


def test_four_processes_that_add_the_same_rows_add_each_once(tmp_path: Path) -> None:
    path = tmp_path / "store"
    Store.create(path)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(4, mp_context=spawn) as pool:
        list(pool.map(append_all, [path] * 4, range(4)))
    store = Store(path)
    for folder in ("clips", f"views/{VECTOR.name}"):
        parts = list_parts(store.storage, folder)
        counts = [len(pq.read_table(path / part)) for part in parts]
        assert sum(counts) == 60, folder
    assert store.load("vector").features[:, 0].tolist() == list(range(60))


def test_two_that_make_a_view_at_once_leave_one_description(tmp_path: Path) -> None:
    path = tmp_path / "view.json"
    write_text_once(path, "first")
    inode = path.stat().st_ino
    write_text_once(path, "second")
    assert path.read_text() == "first" and path.stat().st_ino == inode
    assert [p.name for p in tmp_path.iterdir()] == ["view.json"]


def test_many_that_make_one_store_at_once_all_get_it(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        for number in range(40):
            made = pool.map(Store.create, [tmp_path / str(number)] * 8)
            assert len({store.path for store in made}) == 1
