"""Clips of frames: kept whole, mapped and not copied, and read with suspicion."""

import json
import mmap
import os
import pickle
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from kinestore.pipeline.verification.verify import verify
from kinestore.store import FramesSpec, Store, StoreError, UsageError
from kinestore.store.frames import read_frames_part
from kinestore.store.io.mapped_array import create_array
from tests.helpers.paths import ROOT
from tests.helpers.stored import clip

SPEC = FramesSpec(kind="rgb", shape=(4, 6, 5, 3), settings={"size": [6, 5]})
FOLDER = f"frames/{SPEC.name}"
BAD = "00009-0123456789abcdef.h5"


def pictures(*seeds: int) -> NDArray[np.uint8]:
    """Clips of noise, one a seed."""
    made = [np.random.default_rng(s).integers(0, 256, SPEC.shape, np.uint8) for s in seeds]
    return np.stack(made)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store.create(tmp_path / "store")
    made.append_clips([clip(name) for name in "abc"])
    assert made.append_frames(SPEC, ["c", "a"], pictures(3, 1)) == 2
    assert made.append_frames(SPEC, ["b"], pictures(2)) == 1
    return made


def parts(store: Store) -> list[Path]:
    return sorted((store.path / FOLDER).glob("*.h5"))


def kinds(store: Store) -> list[tuple[str, str]]:
    return [(finding.path, finding.kind) for finding in verify(store.path).findings]


def test_clips_come_back_by_row_and_by_clip(store: Store) -> None:
    frames = store.frames("rgb")
    assert frames.spec == SPEC and frames.clip_ids == ["a", "b", "c"] and len(frames) == 3
    np.testing.assert_array_equal(np.stack(list(frames)), pictures(1, 2, 3))
    for row, name in enumerate("abc"):
        assert frames[name].dtype == np.uint8 and frames[name].shape == SPEC.shape
        np.testing.assert_array_equal(frames[row], frames[name])
    np.testing.assert_array_equal(frames[-1], frames["c"])
    np.testing.assert_array_equal(frames[np.int64(1)], frames["b"])
    with pytest.raises(IndexError):
        frames[3]
    with pytest.raises(UsageError, match=f"clip 'z': has no frames in {SPEC.name}"):
        frames["z"]


def owner(array: NDArray[np.uint8]) -> object:
    base: object = array
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    return base


def test_a_clip_is_mapped_and_torch_takes_it_without_a_copy_or_a_warning(store: Store) -> None:
    clip_ = store.frames("rgb")["a"]
    assert isinstance(owner(clip_), mmap.mmap)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = torch.from_numpy(clip_)
    assert tensor.data_ptr() == clip_.ctypes.data
    before = [path.read_bytes() for path in parts(store)]
    tensor.zero_()
    assert not clip_.any()  # this array alone: neither the file nor the next one to be asked for
    assert [path.read_bytes() for path in parts(store)] == before
    np.testing.assert_array_equal(store.frames("rgb")["a"], pictures(1)[0])


class _Dataset(torch.utils.data.Dataset[torch.Tensor]):
    def __init__(self, store: Store) -> None:
        self.frames = store.frames("rgb")

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, row: int) -> torch.Tensor:
        return torch.from_numpy(self.frames[row])


def test_the_handle_is_pickled_small_and_workers_share_it(store: Store) -> None:
    frames = store.frames("rgb")
    frames[0]
    pickled = pickle.dumps(frames)
    assert len(pickled) < 2000
    np.testing.assert_array_equal(pickle.loads(pickled)["b"], pictures(2)[0])
    loader = torch.utils.data.DataLoader(
        _Dataset(store), batch_size=3, num_workers=1, multiprocessing_context="fork"
    )
    (batch,) = loader
    np.testing.assert_array_equal(batch.numpy(), pictures(1, 2, 3))


def test_no_file_stays_open(store: Store) -> None:
    frames = store.frames("rgb")
    before = len(list(Path("/proc/self/fd").iterdir()))
    kept = [frames[row].copy() for row in range(3) for _ in range(20)]
    assert len(kept) == 60 and len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_same_rows_are_the_same_bytes(tmp_path: Path) -> None:
    written = []
    for folder in ("one", "two"):
        made = Store.create(tmp_path / folder)
        made.append_frames(SPEC, ["a", "b"], pictures(1, 2))
        written.append([(path.name, path.read_bytes()) for path in parts(made)])
        time.sleep(1.1)  # HDF5 would note the second
    assert written[0] == written[1] and len(written[0]) == 1


def test_a_clip_that_is_there_stays_as_it_is(store: Store) -> None:
    assert store.append_frames(SPEC, ["a", "d"], pictures(9, 4)) == 1
    assert Store(store.path).append_frames(SPEC, ["d", "a"], pictures(9, 9)) == 0
    assert len(parts(store)) == 3
    np.testing.assert_array_equal(np.stack(list(store.frames("rgb"))), pictures(1, 2, 3, 4))


def test_of_a_clip_in_two_parts_the_newest_stands(store: Store, tmp_path: Path) -> None:
    other = Store.create(tmp_path / "other")
    for _ in range(3):
        other.append_frames(SPEC, ["a"], pictures(7))
        (newer,) = parts(other)
    newer.rename(store.path / FOLDER / newer.name.replace("00000-", "00007-"))
    np.testing.assert_array_equal(store.frames("rgb")["a"], pictures(7)[0])
    assert store.frames("rgb").clip_ids == ["a", "b", "c"]


TWO_JOBS = """
import sys, numpy as np
from kinestore.store import FramesSpec, Store
spec = FramesSpec(kind="two", shape=(1, 2, 2, 1), settings={})
store = Store(sys.argv[1])
for n in range(20):
    store.append_frames(spec, [f"{n:02}"], np.full((1, 1, 2, 2, 1), n, np.uint8))
"""


def test_two_jobs_at_once_give_the_rows_of_one(store: Store) -> None:
    command = [sys.executable, "-c", TWO_JOBS, str(store.path)]
    jobs = [subprocess.Popen(command, cwd=ROOT) for _ in range(2)]
    assert [job.wait(timeout=120) for job in jobs] == [0, 0]
    frames = store.frames("two")
    assert [int(clip_[0, 0, 0, 0]) for clip_ in frames] == list(range(20))
    assert len(list((store.path / "frames" / frames.spec.name).glob("*.h5"))) == 20


def test_a_commit_that_breaks_leaves_no_part(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = parts(store)
    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        store.append_frames(SPEC, ["d"], pictures(4))
    monkeypatch.undo()
    assert parts(store) == before and len(list((store.path / FOLDER).iterdir())) == 3
    assert store.append_frames(SPEC, ["d"], pictures(4)) == 1


@pytest.mark.parametrize(
    ("ids", "frames", "message"),
    [
        (["d"], pictures(1).astype(np.int16), "frames: int16 of shape"),
        (
            ["d"],
            pictures(1)[:, :2],
            r"uint8 of shape \(1, 2, 6, 5, 3\), not uint8 of \(1, 4",
        ),
        (["d", "e"], pictures(1), r"not uint8 of \(2, 4, 6, 5, 3\)"),
        (["d", "d"], pictures(1, 2), "frames of clip d: given more than once"),
        (["d\0"], pictures(1), r"clip 'd\\x00' is empty or holds a zero byte"),
        ([""], pictures(1), "clip '' is empty"),
    ],
)
def test_frames_that_do_not_fit_are_refused_whole(
    ids: list[str], frames: NDArray[np.uint8], message: str, store: Store
) -> None:
    with pytest.raises(UsageError, match=message):
        store.append_frames(SPEC, ids, frames)
    assert len(parts(store)) == 2


def test_any_setting_makes_other_frames_and_a_bad_specification_none(store: Store) -> None:
    other = FramesSpec(kind="rgb", shape=SPEC.shape, settings={"size": [6, 6]})
    store.append_frames(other, ["a"], pictures(8))
    with pytest.raises(UsageError, match=f"frames 'rgb': names several kinds.*{other.name}"):
        store.frames("rgb")
    np.testing.assert_array_equal(store.frames(other.name)[0], pictures(8)[0])
    assert store.frames(SPEC.name[:8]).spec == SPEC
    with pytest.raises(UsageError, match=r"frames 'x': not in .*which has rgb@"):
        store.frames("x")
    with pytest.raises(UsageError, match="which has no kind at all"):
        Store.create(store.path.parent / "empty").frames("x")
    for kind, shape, message in (
        ("../x", (1, 1, 1, 1), "kind='../x': must be letters"),
        ("x", (1, 2, 3), r"shape=\(1, 2, 3\): must be \(T, H, W, C\)"),
        ("x", (0, 2, 3, 4), "each 1 or more"),
        ("x", (2**9, 2**9, 2**9, 2**9), "must hold no more than 2147483647 values"),
    ):
        with pytest.raises(UsageError, match=message):
            FramesSpec(kind=kind, shape=shape, settings={})


def test_a_snapshot_pins_frames(store: Store) -> None:
    store.take_snapshot("s")
    store.append_frames(SPEC, ["d"], pictures(4))
    pinned = Store(store.path, snapshot="s")
    assert pinned.frames("rgb").clip_ids == ["a", "b", "c"]
    assert store.frames("rgb").clip_ids == ["a", "b", "c", "d"]
    with pytest.raises(UsageError, match="at snapshot 's': is not written to"):
        pinned.append_frames(SPEC, ["e"], pictures(5))
    parts(store)[0].write_bytes(b"x")
    with pytest.raises(StoreError, match="has changed since snapshot 's' was taken"):
        pinned.frames("rgb")
    assert ("snapshots/s.json", "broken-snapshot") in kinds(store)


def test_a_sound_store_with_frames_has_no_finding(store: Store) -> None:
    before = sorted(store.path.rglob("*"))
    report = verify(store.path, repair=True)
    assert report.sound and report.findings == () and report.num_parts == 3
    assert sorted(store.path.rglob("*")) == before


@pytest.mark.parametrize("place", [0, -1, 3000])
def test_one_changed_byte_is_named_and_dropped_and_added_again(place: int, store: Store) -> None:
    broken = parts(store)[0]
    raw = bytearray(broken.read_bytes())
    raw[place] ^= 1
    broken.write_bytes(raw)
    assert (f"{FOLDER}/{broken.name}", "broken-part") in kinds(store)
    report = verify(store.path, repair=True)
    assert report.sound and report.dropped == (f"{FOLDER}/{broken.name}",)
    assert kinds(store) == [(FOLDER, "missing-rows")]
    assert store.append_frames(SPEC, list("abc"), pictures(1, 2, 3)) == 2
    assert verify(store.path).findings == ()


def test_orphans_strays_and_files_of_a_dead_job_are_told(store: Store) -> None:
    store.append_frames(SPEC, ["nobody"], pictures(5))
    (store.path / FOLDER / "notes.txt").touch()
    left = store.path / FOLDER / ".part-00000000-0123456789abcdef"
    left.touch()
    os.utime(left, (1, 1))
    assert kinds(store) == [
        (FOLDER, "orphan-rows"),
        (f"{FOLDER}/{left.name}", "temporary-file"),
        (f"{FOLDER}/notes.txt", "unknown-file"),
    ]
    stray = store.path / FOLDER / "stray.h5"
    stray.touch()
    assert (f"{FOLDER}/stray.h5", "not-a-part") in kinds(store)
    with pytest.raises(StoreError, match=r"stray.h5: not the name of a part \(NNNNN-<hash>.h5\)"):
        store.frames("rgb")
    assert verify(store.path, repair=True).dropped == (f"{FOLDER}/{left.name}",) and stray.exists()


@pytest.mark.parametrize(
    "described",
    [
        "{",
        "{}",
        json.dumps({**SPEC.to_json(), "shape": [4, 6, 5, 4]}),
        json.dumps({**SPEC.to_json(), "shape": [4, 6, 5.0, 3]}),
        json.dumps({**SPEC.to_json(), "kind": "../../x"}),
    ],
)
def test_without_their_description_frames_are_dropped_whole(described: str, store: Store) -> None:
    (store.path / FOLDER / "frames.json").write_text(described)
    with pytest.raises(StoreError, match=r"frames\.json: .*--repair` will delete the frames"):
        store.frames("rgb")
    report = verify(store.path, repair=True)
    assert [(f.path, f.kind) for f in report.findings] == [(f"{FOLDER}/frames.json", "broken-view")]
    assert report.sound and len(report.dropped) == 3 and not parts(store)


def test_a_store_in_a_folder_called_frames_is_like_any_other(tmp_path: Path) -> None:
    made = Store.create(tmp_path / "frames")
    made.append_clips([clip("a")])
    made.append_frames(SPEC, ["a"], pictures(1))
    made.take_snapshot("s")
    assert verify(made.path).findings == () and len(Store(made.path, snapshot="s").clips()) == 1


# Files that nobody vouches for

Spoil = Callable[[h5py.File, Path], None]
IDS = np.array([b"x", b"y"])
SHAPE = (2, *SPEC.shape)


def arrays(file: h5py.File, **options: object) -> None:
    file["clip_ids"] = IDS
    file.create_dataset("frames", data=np.zeros(SHAPE, np.uint8), **options)


def external_storage(file: h5py.File, folder: Path) -> None:
    file["clip_ids"] = IDS
    file.create_dataset("frames", SHAPE, np.uint8, external=[(folder / "outside", 0, 9999)])


def virtual(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "outside.h5", "w") as other:
        other["frames"] = np.zeros(SHAPE, np.uint8)
    layout = h5py.VirtualLayout(SHAPE, np.uint8)
    layout[:] = h5py.VirtualSource(folder / "outside.h5", "frames", SHAPE)
    file["clip_ids"] = IDS
    file.create_virtual_dataset("frames", layout)


def linked(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "outside.h5", "w") as other:
        arrays(other)
    file["clip_ids"] = IDS
    file["frames"] = h5py.ExternalLink(str(folder / "outside.h5"), "/frames")


def soft_linked(file: h5py.File, _: Path) -> None:
    file["clip_ids"] = IDS
    file["elsewhere"] = np.zeros(SHAPE, np.uint8)
    file["frames"] = h5py.SoftLink("/elsewhere")


def two_arrays(ids: object, frames: object) -> Spoil:
    def fill(file: h5py.File, _: Path) -> None:
        file["clip_ids"], file["frames"] = ids, frames

    return fill


NO_ARRAY, NOT_WHOLE = "has no array 'frames' of its own", "'frames' is not in one piece"


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (lambda file, _: None, "has no array 'clip_ids' of its own"),
        (lambda file, _: arrays(file, chunks=True), NOT_WHOLE),
        (lambda file, _: arrays(file, compression="gzip"), NOT_WHOLE),
        (external_storage, NOT_WHOLE),
        (virtual, NOT_WHOLE),
        (linked, NO_ARRAY),
        (soft_linked, NO_ARRAY),
        (two_arrays(IDS, h5py.Empty("u1")), "cannot be read|not in one piece|not one row a clip"),
        (
            two_arrays(IDS, np.zeros(SHAPE, np.int8)),
            r"holds int8 of shape \(4, 6, 5, 3\), not",
        ),
        (two_arrays(IDS, np.zeros(SHAPE, np.float32)), "holds float32"),
        (two_arrays(IDS, np.zeros((2, 4, 6, 5), np.uint8)), r"holds uint8 of shape \(4, 6, 5\)"),
        (two_arrays(IDS, np.zeros((2, 4, 6, 3, 5), np.uint8)), "holds uint8 of shape"),
        (two_arrays(IDS, np.uint8(1)), "not one row a clip"),
        (two_arrays(IDS[:1], np.zeros(SHAPE, np.uint8)), "are not one row a clip"),
        (two_arrays([1, 2], np.zeros(SHAPE, np.uint8)), "are not one row a clip"),
        (two_arrays(["x", "y"], np.zeros(SHAPE, np.uint8)), "'clip_ids' is not in one piece"),
        (two_arrays(IDS[[0, 0]], np.zeros(SHAPE, np.uint8)), "has 1 rows of a clip that it has"),
        (two_arrays(np.array([b"\xff", b"y"]), np.zeros(SHAPE, np.uint8)), "cannot be read"),
        (lambda file, _: file.create_group("clip_ids"), "has no array 'clip_ids' of its own"),
    ],
)
def test_a_file_that_is_no_such_part_is_named(
    fill: Spoil, message: str, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "outside").write_bytes(b"secret" * 2000)
    with h5py.File(store.path / FOLDER / BAD, "w") as file:
        fill(file, tmp_path)
    with pytest.raises(StoreError, match=f"{BAD}: .*({message}).*verify {store.path} --repair`"):
        store.frames("rgb")
    with pytest.raises(StoreError, match=f"{BAD}: .*({message})"):
        read_frames_part(store.path / FOLDER / BAD, SPEC)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: b"",
        lambda raw: b"not HDF5",
        lambda raw: pickle.dumps({"frames": 1}),
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw[:-1],
        lambda raw: b"\x89HDF\r\n\x1a\n" + b"\xff" * 500,
    ],
)
def test_a_file_that_is_not_whole_is_named(spoil: Callable[[bytes], bytes], store: Store) -> None:
    bad = store.path / FOLDER / BAD
    create_array(bad, "frames", ["x", "y"], SPEC.shape, np.uint8, fill=lambda array: None)
    read_frames_part(bad, SPEC)
    bad.write_bytes(spoil(bad.read_bytes()))
    with pytest.raises(StoreError, match=f"{BAD}: .*--repair"):
        store.frames("rgb")


@pytest.mark.parametrize("claimed", [(3, *SPEC.shape), (2**60, *SPEC.shape), (2, *[2**60] * 4)])
def test_a_file_that_claims_more_than_it_holds_is_not_believed(
    claimed: tuple[int, ...], store: Store
) -> None:
    bad = store.path / FOLDER / BAD
    with h5py.File(bad, "w", libver="earliest") as file:  # without checksums
        file["clip_ids"] = IDS
        file["frames"] = np.zeros(SHAPE, np.uint8)
    read_frames_part(bad, SPEC)
    raw = bad.read_bytes()
    dims = np.array(SHAPE, "<u8").tobytes()
    assert dims in raw
    bad.write_bytes(raw.replace(dims, np.array(claimed, "<u8").tobytes()))
    with pytest.raises(StoreError, match=f"{BAD}: .*--repair"):
        store.frames("rgb")


def test_every_flipped_byte_of_the_description_is_refused_or_harmless(tmp_path: Path) -> None:
    """An offset or a size may be any: no clip reaches beyond the file."""
    path = tmp_path / BAD
    create_array(path, "frames", ["x", "y"], SPEC.shape, np.uint8, fill=lambda array: None)
    raw = path.read_bytes()
    rows_begin = read_frames_part(path, SPEC).offset
    for place in range(0, rows_begin, 7):
        if not raw[place : place + 1].strip(b"\0"):
            continue
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 0xFF]) + raw[place + 1 :])
        try:
            part = read_frames_part(path, SPEC)
        except StoreError:
            continue
        assert part.offset + len(part.clip_ids) * int(np.prod(SPEC.shape)) <= len(raw)


def test_pipes_devices_and_missing_files_are_not_waited_for(store: Store) -> None:
    bad = store.path / FOLDER / BAD
    os.mkfifo(bad)
    with pytest.raises(StoreError, match=f"{BAD}: cannot be read .not a regular file"):
        store.frames("rgb")
    bad.unlink()
    bad.symlink_to("/dev/zero")
    with pytest.raises(StoreError, match=f"{BAD}: cannot be read .not a regular file"):
        store.frames("rgb")
    bad.unlink()
    frames = store.frames("rgb")
    for part in parts(store):
        part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(StoreError, match="cannot be read"):
        frames["a"]
    for part in parts(store):
        part.unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        frames["a"]
