"""What was joined is kept, mapped, and never older than the parts."""

import json
import os
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from kinestore.pipeline.verification.verify import verify
from kinestore.store import Store, StoreError, UsageError, ViewSpec
from kinestore.store import join_cache as cached
from kinestore.store.io.mapped_array import create_array, map_array, read_note
from tests.helpers.stored import SPEC, clip, embedding, small_disk

OTHER = ViewSpec(extractor="other", shape=(3,), settings={}, dtype="float16")
SEQUENCE = ViewSpec(extractor="sequence", shape=(4, 2), settings={})


@pytest.fixture(autouse=True)
def keep_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached, "MIN_CACHED_BYTES", 0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store.create(tmp_path / "store")
    made.append_clips([clip(i, label="run", split=s) for i, s in zip("dabc", "xyxy", strict=True)])
    made.append(SPEC, ["d", "a"], [embedding(1, 2), embedding(3, 4)])
    made.append(SPEC, ["b", "c"], [embedding(5, 6), embedding(7, 8)])
    made.append(OTHER, list("abd"), [embedding(*[ord(i) / 4] * 3) for i in "abd"])
    made.append(SEQUENCE, list("abcd"), np.arange(32, dtype=np.float32).reshape(4, 4, 2))
    return made


def files(store: Store) -> list[Path]:
    return sorted((store.path / "cache").glob("*.h5"))


@pytest.mark.parametrize(
    "features", [["vector"], ["vector", "other"], ["other", "sequence"], ["sequence:sequence"]]
)
def test_what_is_kept_is_what_the_parts_give(
    features: list[str], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = [store.load(features) for _ in range(2)]
    subset = store.load(features, split="y")
    assert len(files(store)) == 1
    monkeypatch.setattr(cached, "MIN_CACHED_BYTES", 1 << 40)
    files(store)[0].unlink()
    plain, plain_subset = store.load(features), store.load(features, split="y")
    assert not files(store)
    for found, expected in [(kept[0], plain), (kept[1], plain), (subset, plain_subset)]:
        assert found.clip_ids == expected.clip_ids and found.missing == expected.missing
        assert found.features.dtype == np.float32
        np.testing.assert_array_equal(found.features, expected.features)


def test_it_is_mapped_and_torch_takes_it_without_a_copy(store: Store) -> None:
    features = store.load("vector").features
    tensor = torch.from_numpy(features)
    assert tensor.data_ptr() == features.ctypes.data
    mapped = Path("/proc/self/maps").read_text()
    assert files(store)[0].name in mapped
    before = files(store)[0].read_bytes()
    tensor += 1  # a copy of this process's own
    assert files(store)[0].read_bytes() == before
    assert store.load("vector").features.tolist() == [[3, 4], [5, 6], [7, 8], [1, 2]]


def test_what_was_added_since_is_there_and_the_stale_file_is_gone(store: Store) -> None:
    assert len(store.load("vector").clip_ids) == 4
    (old,) = files(store)
    store.append_clips([clip("e")])
    store.append(SPEC, ["e"], [embedding(9, 9)])
    assert store.load("vector").features[-1].tolist() == [9, 9]
    assert len(files(store)) == 1 and files(store) != [old]


def test_float16_is_kept_beside_float32(store: Store) -> None:
    wide, half = store.load("other"), store.load("other", dtype="float16")
    assert wide.features.dtype == np.float32 and half.features.dtype == np.float16
    np.testing.assert_array_equal(wide.features, half.features)
    assert len(files(store)) == 2
    assert store.load(["vector", "other"], dtype="float16").features.tolist()[0][:2] == [3, 4]
    with pytest.raises(UsageError, match="dtype='int8': must be 'float32' or 'float16'"):
        store.load("other", dtype="int8")


def test_new_labels_need_no_new_file(store: Store) -> None:
    store.load("vector")
    before = files(store)
    store.append_clips([clip("a", label="sit")])
    loaded = store.load("vector")
    assert [loaded.classes[n] for n in loaded.labels] == ["sit", "run", "run", "run"]
    assert files(store) == before


def test_a_snapshot_does_not_read_what_was_joined_later(store: Store) -> None:
    store.take_snapshot("first")
    store.append_clips([clip("e")])
    store.append(SPEC, ["e"], [embedding(9, 9)])
    assert len(store.load("vector").clip_ids) == 5
    assert Store(store.path, snapshot="first").load("vector").clip_ids == list("abcd")


def test_verify_tells_a_changed_byte_and_a_stale_file_and_repair_drops_them(store: Store) -> None:
    store.load("vector")
    store.load("other")
    assert verify(store.path).sound
    changed = next(path for path in files(store) if "vector" in read_note(path))
    raw = bytearray(changed.read_bytes())
    raw[-1] ^= 1
    changed.write_bytes(raw)
    store.append(OTHER, ["c"], [embedding(1, 2, 3)])
    report = verify(store.path, repair=True)
    assert {finding.kind for finding in report.findings} == {"broken-cache", "stale-cache"}
    assert report.sound and len(report.dropped) == 2 and not files(store)


@pytest.mark.parametrize("spoil", [b"", b"\x89HDF\r\n\x1a\nnonsense", b"x" * 9999])
def test_a_file_that_is_none_is_passed_over_and_made_again(spoil: bytes, store: Store) -> None:
    expected = store.load("vector").features.tolist()
    (path,) = files(store)
    path.write_bytes(spoil)
    assert store.load("vector").features.tolist() == expected
    assert files(store) == [path] and verify(store.path).sound


def test_a_disk_that_takes_no_more_costs_the_file_alone(store: Store) -> None:
    with small_disk():
        assert len(store.load("vector").clip_ids) == 4
    assert not files(store) and not list((store.path / "cache").iterdir())


def test_a_store_that_cannot_be_written_is_read_all_the_same(store: Store) -> None:
    (store.path / "cache").write_text("in the way")
    assert len(store.load("vector").clip_ids) == 4


# The file itself


def laid_out(path: Path) -> Path:
    note = json.dumps([1])
    create_array(
        path, "features", ["a", "b"], (3,), "float32", fill=lambda array: array.fill(7), note=note
    )
    return path


def test_rows_begin_where_a_tensor_may_begin_whatever_the_names(tmp_path: Path) -> None:
    for length in (1, 3, 32, 33):
        path = tmp_path / f"{length}.h5"
        clips = [f"{n:0{length}d}" for n in range(7)]
        fill = partial(np.copyto, src=np.arange(35, dtype="float32").reshape(7, 5))
        create_array(path, "features", clips, (5,), "float32", fill=fill)
        clip_ids, array = map_array(path, "features")
        assert clip_ids == clips and array.ctypes.data % 64 == 0 and array[6, 4] == 34
        with h5py.File(path) as file:  # any HDF5 reader reads it
            assert file["features"][1].tolist() == [5, 6, 7, 8, 9]


def test_the_same_rows_are_the_same_bytes(tmp_path: Path) -> None:
    first, second = laid_out(tmp_path / "1"), laid_out(tmp_path / "2")
    assert first.read_bytes() == second.read_bytes()


def external(file: h5py.File, path: Path) -> None:
    del file["features"]
    secret = path.with_suffix(".secret")
    secret.write_bytes(os.urandom(64))
    file.create_dataset("features", (2, 3), "f4", external=[(str(secret), 0, 24)])


def linked(file: h5py.File, path: Path) -> None:
    del file["features"]
    laid_out(path.with_suffix(".other"))
    file["features"] = h5py.ExternalLink(path.with_suffix(".other").name, "features")


def chunked(file: h5py.File, path: Path) -> None:
    del file["features"]
    file.create_dataset("features", data=np.zeros((2, 3), "f4"), chunks=(1, 3))


def text(file: h5py.File, path: Path) -> None:
    del file["features"]
    file["features"] = ["a", "b"]


def too_few(file: h5py.File, path: Path) -> None:
    del file["clip_ids"]
    file["clip_ids"] = np.array([b"a"])


def a_group(file: h5py.File, path: Path) -> None:
    del file["features"]
    file.create_group("features")


def vast(file: h5py.File, path: Path) -> None:
    del file["features"], file["clip_ids"]
    for name in ("features", "clip_ids"):
        file.create_dataset(name, (1 << 50,), "S8")  # claimed, and never written


@pytest.mark.parametrize("spoil", [external, linked, chunked, text, too_few, a_group, vast])
def test_what_is_not_in_one_piece_within_the_file_is_refused(spoil, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = laid_out(tmp_path / "x.h5")
    with h5py.File(path, "r+") as file:
        spoil(file, path)
    with pytest.raises(StoreError, match=r"x\.h5: "):
        map_array(path, "features")


def test_a_sequence_stands_alone(store: Store) -> None:
    with pytest.raises(UsageError, match="a ':sequence' stands alone"):
        store.load(["vector", "sequence:sequence"])
