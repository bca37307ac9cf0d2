"""A store that somebody sends: nothing outside is touched, nothing hangs."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kinestore.pipeline.extraction.planning import Inputs, plan
from kinestore.pipeline.projection.layout_cache import CachedLayout, find_layouts, keep_layout
from kinestore.pipeline.verification.verify import verify
from kinestore.store import (
    Clip,
    FramesSpec,
    KinestoreError,
    Store,
    StoreError,
    UsageError,
    ViewSpec,
)
from kinestore.store import join_cache as cached
from kinestore.store.io import cache_marks
from kinestore.store.io.mapped_array import map_array
from kinestore.store.join import Column
from kinestore.store.parts import digest
from kinestore.store.pooling import pooled_shape
from kinestore.store.records import Source
from kinestore.store.schema import failures_to_table
from tests.helpers.stored import SPEC, clip, embedding, failure, view_folder

FRAMES = FramesSpec(kind="rgb", shape=(2, 4, 4, 3), settings={})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store.create(tmp_path / "store")
    made.append_clips([clip("a", label="run"), clip("b", label="sit")])
    made.append(SPEC, ["a", "b"], [embedding(1, 2), embedding(3, 4)])
    made.append_failures([failure()])
    return made


@pytest.fixture(autouse=True)
def keep_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cached, "MIN_CACHED_BYTES", 0)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def all_files(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# Numbers


def renamed(part: Path, digits: str) -> Path:
    return part.rename(part.with_name(f"{digits}-{part.name.partition('-')[2]}"))


@pytest.mark.parametrize("digits", ["9" * 230, "9" * 19, str(10**9)])
def test_a_part_with_an_impossible_number_is_named_and_jobs_go_on_without_it(
    digits: str, store: Store
) -> None:
    (part,) = (store.path / "clips").glob("*.parquet")
    bad = renamed(part, digits)
    with pytest.raises(StoreError, match=f"{bad.name}: not the name of a part"):
        store.clips()
    assert not verify(store.path).sound
    bad.unlink()
    assert Store(store.path).append_clips([clip("c")]) == 1
    assert [p.name[:6] for p in (store.path / "clips").glob("*.parquet")] == ["00000-"]


def test_a_part_with_the_last_number_is_dropped_by_a_repair(store: Store) -> None:
    (part,) = (store.path / "clips").glob("*.parquet")
    renamed(part, "999999999")
    opened = Store(store.path)
    assert len(opened.clips()) == 2
    with pytest.raises(StoreError, match=r"part number 1000000000 is above 999999999.*--repair"):
        opened.append_clips([clip("c")])
    report = verify(store.path, repair=True)
    assert any("leaves no room" in finding.message for finding in report.findings)
    assert Store(store.path).append_clips([clip("c")]) == 1


@pytest.mark.parametrize("attempt", [2**31 - 1, -1, 1_000_001])
def test_a_failure_with_an_impossible_attempt_is_one_bad_part(attempt: int, store: Store) -> None:
    table = failures_to_table([failure(attempt=attempt)])
    written = store.path / "failures" / "00001-0123456789abcdef.parquet"
    pq.write_table(table, written)
    with pytest.raises(StoreError, match=r"'attempt' is not between 0 and 1000000.*--repair"):
        store.failures()
    assert verify(store.path, repair=True).sound and not written.exists()
    assert len(store.failures()) == 1


def test_the_attempt_after_the_last_is_the_last_again(store: Store) -> None:
    store.append_failures([failure(clip_id="c", attempt=1_000_000)])
    inputs = Inputs(clips={"c": [Source(uri="/x.avi")]}, failures=[])
    (shard,) = plan(inputs, store, {"vector": SPEC}, retry_failed=True)
    assert shard.clips[0].attempt == 1_000_000


@pytest.mark.parametrize(
    ("column", "value"),
    [("fps", float("nan")), ("fps", float("inf")), ("num_frames", -1), ("duration_s", -0.5)],
)
def test_numbers_of_clips_that_no_job_writes_are_refused(
    column: str, value: float, store: Store
) -> None:
    table = store.clips()
    index = table.column_names.index(column)
    field = table.schema.field(column)
    table = table.set_column(index, field, pa.array([value] * 2, field.type))
    pq.write_table(table, store.path / "clips" / "00001-0123456789abcdef.parquet")
    with pytest.raises(StoreError, match=f"{column!r} is not between 0 and"):
        store.clips()


# Links


@pytest.mark.parametrize("folder", ["cache", "clips", "snapshots", "failures"])
def test_a_linked_folder_is_not_written_to(folder: str, store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    inside = store.path / folder
    if inside.exists():
        inside.rename(outside)
    else:
        outside.mkdir()
    prefix = f"{cached._features_hash(cached_columns(store), 'float32')}-{'0' * 16}"
    (outside / f"{prefix}-{'0' * 16}.h5").write_bytes(b"mine")
    (outside / "layout-0123456789abcdef-0123456789abcdef.h5").write_bytes(b"mine")
    inside.symlink_to(outside)
    before = all_files(outside)
    writes: list[Callable[[], object]] = [
        lambda: store.load("vector"),
        lambda: store.append_clips([clip("c")]),
        lambda: store.append_failures([failure()]),
        lambda: store.take_snapshot("s"),
        lambda: verify(store.path, repair=True),
    ]
    for write in writes:
        try:
            write()
        except StoreError as error:
            assert "is a link" in str(error) or "not the name of a part" in str(error)
    assert all_files(outside) == before


def cached_columns(store: Store) -> list[Column]:
    return [Column(view=store.view("vector"), pool="stats")]


def test_many_layouts_behind_a_linked_cache_stay(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for number in range(40):
        (outside / f"layout-{number:016x}-{0:016x}.h5").write_bytes(b"mine")
    (store.path / "cache").symlink_to(outside)
    points = np.zeros((2, 1, 2), np.float32)
    kept = CachedLayout(clip_ids=["a", "b"], points=points, num_placed=0, features="x")
    keep_layout(store.path, "0" * 16, kept)
    assert len(list(outside.iterdir())) == 40


def test_a_marker_that_is_a_link_or_a_pipe_is_not_opened_for_writing(
    store: Store, tmp_path: Path
) -> None:
    marker = view_folder(store) / "view.json"
    marker.rename(tmp_path / "view.json")
    marker.symlink_to(tmp_path / "view.json")
    with pytest.raises(StoreError, match=r"view\.json: is a link"):
        store.append(SPEC, ["c"], [embedding(5, 6)])


@pytest.mark.parametrize("name", ["kinestore.json", f"views/{SPEC.name}/view.json"])
def test_files_of_the_kernel_are_not_read(name: str, store: Store) -> None:
    (store.path / name).unlink()
    (store.path / name).symlink_to("/proc/kmsg")  # reading it waits
    with pytest.raises(StoreError, match="cannot be read"):
        Store(store.path).load("vector")


# Folders that may not be read


@pytest.mark.parametrize("folder", ["clips", "views", f"views/{SPEC.name}", "failures"])
def test_a_folder_that_cannot_be_read_is_named(
    folder: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, scandir = store.path / folder, os.scandir

    def refuse(path: str | Path) -> object:  # permissions do not bind root, who may run the tests
        if Path(path) == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    for use in (
        lambda: verify(store.path, repair=True),
        lambda: store.take_snapshot("s"),
        lambda: (store.clips(), store.failures(), store.load("vector")),
    ):
        with pytest.raises(StoreError, match=rf"{closed}: cannot be read \(Permission denied"):
            use()


def test_an_unknown_folder_that_cannot_be_read_is_told_by_verify(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, scandir = store.path / "lost", os.scandir
    closed.mkdir()

    def refuse(path: str | Path) -> object:
        if Path(path) == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    report = verify(store.path)
    assert [(f.path, f.kind) for f in report.findings] == [("lost/", "unreadable")]


@pytest.mark.parametrize("number", [5, 13, 116])
def test_what_cannot_be_read_to_its_end_is_kept_by_a_repair(
    number: int, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (part,) = view_folder(store).glob("*.parquet")
    (view_folder(store) / "view.json").unlink()  # so that the view is broken, and would be dropped
    opened = Path.open

    def fail(path: Path, *arguments: Any) -> object:
        if path == part:
            raise OSError(number, os.strerror(number), str(path))
        return opened(path, *arguments)

    monkeypatch.setattr(Path, "open", fail)
    assert not verify(store.path, repair=True).sound
    assert part.exists()


# Caches


def spoiled(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["features"][:] = 99


def test_a_cache_with_other_values_and_the_right_hash_is_not_read(store: Store) -> None:
    store.take_snapshot("s")
    expected = store.load("vector").features.tolist()
    (path,) = (store.path / "cache").glob("*.h5")
    spoiled(path)
    forged = path.rename(path.with_name(f"{path.name[:-35]}{digest(path)[:32]}.h5"))
    old_name = forged.with_name(f"{forged.name[:33]}-{digest(forged)[:16]}.h5")
    old_name.write_bytes(forged.read_bytes())
    report = verify(store.path)
    assert {finding.kind for finding in report.findings} == {"broken-cache"} and not report.sound
    for opened in (Store(store.path, snapshot="s"), Store(store.path)):
        assert opened.load("vector").features.tolist() == expected
    assert verify(store.path).sound and not old_name.exists()


def test_a_cache_that_another_user_made_is_not_read_and_no_fault(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = store.load("vector").features.tolist()
    (path,) = (store.path / "cache").glob("*.h5")
    spoiled(path)
    made = cache_marks.marked_name(path, path.name[:33])  # a true mark, with the sender's key
    path.rename(path.with_name(made))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    assert [f.kind for f in verify(store.path).findings] == ["foreign-cache"]
    assert verify(store.path).sound
    assert store.load("vector").features.tolist() == expected
    assert len(list((store.path / "cache").glob("*.h5"))) == 2  # the other user's stays
    assert (tmp_path / "another/kinestore/cache-key").stat().st_mode & 0o777 == 0o600


def test_a_layout_that_was_changed_is_not_drawn(store: Store) -> None:
    points = np.ones((2, 1, 2), np.float32)
    kept = CachedLayout(clip_ids=["a", "b"], points=points, num_placed=0, features="x")
    keep_layout(store.path, "0" * 16, kept)
    assert len(find_layouts(store.path, "0" * 16)) == 1
    (path,) = (store.path / "cache").glob("layout-*.h5")
    with h5py.File(path, "r+") as file:
        file["points"][:] = 5
    assert find_layouts(store.path, "0" * 16) == []
    assert [f.kind for f in verify(store.path).findings] == ["broken-cache"]


def test_without_a_place_for_the_key_nothing_is_kept(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert len(store.load("vector").clip_ids) == 2
    assert not list((store.path / "cache").glob("*"))


def test_a_load_at_a_snapshot_writes_nothing(store: Store) -> None:
    store.take_snapshot("s")
    before = all_files(store.path)
    assert len(Store(store.path, snapshot="s").load("vector").clip_ids) == 2
    assert all_files(store.path) == before


# HDF5


def test_a_file_that_makes_hdf5_loop_or_crash_is_refused_in_time(
    store: Store, tmp_path: Path
) -> None:
    store.append_frames(FRAMES, ["a"], np.zeros((1, *FRAMES.shape), np.uint8))
    (part,) = (store.path / "frames" / FRAMES.name).glob("*.h5")
    with h5py.File(part, "w") as file:  # an attribute in a global heap, which never ends
        file.create_dataset("clip_ids", data=np.array([b"a"]))
        file.create_dataset("frames", data=np.zeros((1, *FRAMES.shape), np.uint8))
        file.attrs["made_from"] = "note"
    raw = bytearray(part.read_bytes())
    heap = raw.index(b"GCOL")
    raw[heap + 24 : heap + 32] = bytes(8)  # the size of the first object
    part.write_bytes(raw)
    began = time.monotonic()
    with pytest.raises(StoreError, match=f"{part.name}: cannot be read .it makes the HDF5 library"):
        store.frames("rgb")
    named = part.rename(part.with_name(f"00000-{digest(part)[:16]}.h5"))
    assert verify(store.path, repair=True).dropped == (f"frames/{FRAMES.name}/{named.name}",)
    assert time.monotonic() - began < 40


def foreign_link(file: h5py.File, other: Path) -> None:
    file["frames"] = h5py.ExternalLink(str(other), "frames")


def soft_link(file: h5py.File, other: Path) -> None:
    file["other"] = np.zeros((1, *FRAMES.shape), np.uint8)
    file["frames"] = h5py.SoftLink("/other")


def external_storage(file: h5py.File, other: Path) -> None:
    shape = (1, *FRAMES.shape)
    file.create_dataset("frames", shape, np.uint8, external=[(str(other), 0, 96)])


def virtual(file: h5py.File, other: Path) -> None:
    layout = h5py.VirtualLayout((1, *FRAMES.shape), np.uint8)
    layout[:] = h5py.VirtualSource(str(other), "frames", (1, *FRAMES.shape))
    file.create_virtual_dataset("frames", layout)


def compressed(file: h5py.File, other: Path) -> None:
    file.create_dataset("frames", data=np.zeros((1, *FRAMES.shape), np.uint8), compression="gzip")


def compound(file: h5py.File, other: Path) -> None:
    file.create_dataset("frames", data=np.zeros((1, *FRAMES.shape), [("x", "u1")]))


def of_varying_length(file: h5py.File, other: Path) -> None:
    file.create_dataset("frames", (1,), h5py.vlen_dtype(np.uint8))


@pytest.mark.parametrize(
    "make",
    [foreign_link, soft_link, external_storage, virtual, compressed, compound, of_varying_length],
)
def test_hdf5_that_reaches_elsewhere_is_refused(make: object, store: Store, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"x" * 96)
    bad = tmp_path / "bad.h5"
    with h5py.File(bad, "w") as file:
        file.create_dataset("clip_ids", data=np.array([b"a"]))
        make(file, secret)  # type: ignore[operator]
    with pytest.raises(StoreError, match=r"bad.h5: (.frames. is not in one piece|has no array)"):
        map_array(bad, "frames")


# Texts


def test_a_shape_asks_for_no_memory() -> None:
    assert pooled_shape((2, 1_073_741_823), pool="stats") == (3_221_225_469,)
    assert pooled_shape((2**20, 1000), pool="mean") == (1000,)


@pytest.mark.parametrize(
    "text",
    [
        '{"format": 1, "format": 1}',
        '{"format": NaN}',
        '{"format": 1e400}',
        f'{{"format": 1{"0" * 9999}}}',
    ],
)
def test_a_store_with_an_odd_marker_is_refused(text: str, store: Store) -> None:
    (store.path / "kinestore.json").write_text(text)
    with pytest.raises(StoreError, match=r"kinestore\.json: cannot be read"):
        Store(store.path)


@pytest.mark.parametrize(
    "part", ["../../x", "clips/../../x", "clips/00000-0123456789abcdef.parquet\n", "clips/\x1b[2J"]
)
def test_a_snapshot_that_names_other_files_is_refused(part: str, store: Store) -> None:
    folder = store.path / "snapshots"
    folder.mkdir()
    (folder / "s.json").write_text(json.dumps({"format": 1, "parts": {part: "0" * 64}}))
    with pytest.raises(StoreError, match="which is no part with its hash"):
        Store(store.path, snapshot="s")
    assert [f.kind for f in verify(store.path).findings] == ["broken-snapshot"]


def test_settings_that_are_not_json_are_refused_before_anything_is_written(store: Store) -> None:
    spec = ViewSpec(extractor="x", shape=(2,), settings={"rate": float("nan")})
    with pytest.raises(UsageError, match="settings: must be JSON values"):
        store.append(spec, ["a"], [embedding(1, 2)])


@pytest.mark.parametrize("column", ["label", "group", "note"])
def test_a_long_text_that_is_committed_is_read_again(column: str, store: Store) -> None:
    long = "x" * (2 << 20)
    extra = {"note": long} if column == "note" else {}
    columns = {} if column == "note" else {column: long}
    source = Source(uri="/c.avi", extra=extra, **columns)
    store.append_clips([Clip(clip_id="c", source=source, info=clip("c").info)])
    found = {row["clip_id"]: row for row in Store(store.path).clips().to_pylist()}
    assert found["c"][column] == long and verify(store.path).sound


def test_an_access_error_is_an_error_of_the_store(store: Store) -> None:
    with pytest.raises(KinestoreError):
        Store(store.path / "absent")
