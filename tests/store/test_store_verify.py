"""What `verify` finds, and that a repair drops that and nothing else."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from kinestore.pipeline.verification.findings import VerifyReport
from kinestore.pipeline.verification.verify import verify
from kinestore.store import Store, StoreError
from kinestore.store.io.atomic import ABANDONED_AFTER_S, temporary
from kinestore.store.io.storage import Storage
from kinestore.store.parts import digest
from tests.helpers.paths import ROOT
from tests.helpers.stored import SPEC, clip, embedding, failure


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Six clips in two parts, their embeddings in two parts, and one failure."""
    made = Store.create(tmp_path / "store")
    for ids in ("abc", "def"):
        made.append_clips([clip(name) for name in ids])
        made.append(SPEC, list(ids), [embedding(ord(name), 2) for name in ids])
    made.append_failures([failure()])
    return made


def parts(store: Store, folder: str) -> list[Path]:
    return sorted((store.path / folder).glob("*.parquet"))


def kinds(report: VerifyReport) -> list[tuple[str, str]]:
    return [(finding.path, finding.kind) for finding in report.findings]


def flip(path: Path, place: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(raw)


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


VIEW = f"views/{SPEC.name}"


def test_a_sound_store_has_no_finding_and_a_repair_changes_nothing(store: Store) -> None:
    before = files(store.path)
    shown: list[tuple[object, ...]] = []
    report = verify(store.path, repair=True, progress=lambda *given: shown.append(given))
    assert report == VerifyReport(num_parts=5, findings=(), dropped=(), sound=True)
    assert shown == [("checking parts", done, 5) for done in range(1, 6)]
    assert files(store.path) == before


@pytest.mark.parametrize("folder", ["clips", "failures", VIEW])
@pytest.mark.parametrize("place", [4, -1, -30])
def test_one_changed_byte_is_named_and_dropped(folder: str, place: int, store: Store) -> None:
    (broken, *_) = parts(store, folder)
    flip(broken, place)
    name = f"{folder}/{broken.name}"
    report = verify(store.path)
    assert not report.sound and (name, "broken-part") in kinds(report)
    assert "its bytes have changed" in report.findings[0].message and broken.exists()
    repaired = verify(store.path, repair=True)
    assert repaired.sound and repaired.dropped == (name,) and not broken.exists()


def test_what_a_repair_dropped_can_be_added_again(store: Store) -> None:
    flip(parts(store, VIEW)[0], 100)
    verify(store.path, repair=True)
    assert store.load("vector").missing == ["a", "b", "c"]
    told = verify(store.path)
    assert told.sound and kinds(told) == [(VIEW, "missing-rows")]
    assert told.findings[0].message == "lacks 3 of 6 clips"
    store.append(SPEC, list("abc"), [embedding(ord(name), 2) for name in "abc"])
    assert verify(store.path).findings == ()
    assert store.load("vector").features[:, 0].tolist() == [97, 98, 99, 100, 101, 102]


def test_embeddings_whose_clips_are_gone_are_kept_for_the_next_extract(store: Store) -> None:
    parts(store, "clips")[0].unlink()
    report = verify(store.path)
    assert not report.sound and kinds(report) == [(VIEW, "orphan-rows")]
    assert report.findings[0].message.startswith("3 embeddings are of clips that no sound part")
    repaired = verify(store.path, repair=True)
    assert repaired.sound and repaired.dropped == () and len(parts(store, VIEW)) == 2
    store.append_clips([clip(name) for name in "abc"])
    assert verify(store.path).findings == ()


def test_embeddings_of_bytes_that_a_file_had_before_are_no_finding(store: Store) -> None:
    store.append_clips([clip("new", uri="/videos/a.avi")])
    store.append(SPEC, ["new"], [embedding(1, 2)])
    assert verify(store.path).findings == ()


def test_a_part_with_the_right_hash_and_the_wrong_schema_is_dropped(store: Store) -> None:
    wrong = store.path / VIEW / "wrong"
    pq.write_table(store.clips(), wrong)
    final = wrong.rename(wrong.with_name(f"00009-{digest(wrong)[:16]}.parquet"))
    report = verify(store.path, repair=True)
    assert kinds(report) == [(f"{VIEW}/{final.name}", "broken-part")] and report.sound
    assert report.findings[0].message == (
        "column 'embedding' is missing, not fixed_size_list<item: float>[2]"
    )
    assert len(store.load("vector").clip_ids) == 6


def test_a_view_without_its_description_is_dropped_whole(store: Store) -> None:
    other = parts(store, "clips")
    (store.path / VIEW / "view.json").write_text("{")
    report = verify(store.path)
    assert kinds(report) == [(f"{VIEW}/view.json", "broken-view")] and not report.sound
    assert "put it back from a copy" in report.findings[0].message
    assert report.findings[0].message.endswith("will delete the view, which is 2 parts")
    (store.path / VIEW / "view.json").unlink()
    assert "is gone" in verify(store.path).findings[0].message
    repaired = verify(store.path, repair=True)
    assert repaired.sound and len(repaired.dropped) == 2
    assert store.views() == [] and parts(store, "clips") == other
    assert verify(store.path).findings == ()


def test_what_is_no_part_of_a_store_is_told_and_left(store: Store) -> None:
    for name in ("notes.txt", "clips/notes.txt", "clips/deep/00000-0123456789abcdef.parquet"):
        (store.path / name).parent.mkdir(exist_ok=True)
        (store.path / name).touch()
    (store.path / "cache").mkdir()
    (store.path / "cache" / "anything").touch()
    report = verify(store.path, repair=True)
    assert report.sound and report.dropped == ()
    assert {kind for _, kind in kinds(report)} == {"unknown-file"} and len(report.findings) == 4
    stray = store.path / "clips" / "stray.parquet"
    stray.touch()
    report = verify(store.path, repair=True)
    assert not report.sound and stray.exists()  # it stops all reading, but is nobody's to delete
    assert ("clips/stray.parquet", "not-a-part") in kinds(report)


HOLDS_A_TEMPORARY_FILE = """
import sys, time
from pathlib import Path
from kinestore.store.io.atomic import temporary
with temporary(Path(sys.argv[1])) as path:
    path.write_text("half a part")
    print(path, flush=True)
    time.sleep(60)
"""


def test_a_temporary_file_goes_when_its_job_was_killed_and_not_before(store: Store) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS_A_TEMPORARY_FILE, store.path / "clips"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as job:
        assert job.stdout is not None
        left = Path(job.stdout.readline().strip())
        assert verify(store.path, repair=True).findings == () and left.exists()
        job.send_signal(signal.SIGKILL)
        job.wait()
    report = verify(store.path)
    assert report.sound and left.exists()
    assert kinds(report) == [(str(left.relative_to(store.path)), "temporary-file")]
    repaired = verify(store.path, repair=True)
    assert repaired.sound and len(repaired.dropped) == 1 and not left.exists()


def test_a_temporary_file_of_another_machine_goes_after_a_day(store: Store) -> None:
    left = store.path / "clips" / ".part-00000000-0123456789abcdef"
    left.touch()
    assert verify(store.path, repair=True).findings == ()
    yesterday = time.time() - ABANDONED_AFTER_S - 1
    os.utime(left, (yesterday, yesterday))
    assert verify(store.path, repair=True).dropped == (f"clips/{left.name}",)
    assert not left.exists()


def test_a_name_that_was_cleaned_up_before_it_was_locked_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fcntl.flock
    removed: list[Path] = []

    def somebody_cleans_up_first(handle: object, operation: int) -> None:
        if not removed:
            removed.extend(tmp_path.iterdir())
            removed[0].unlink()
        real(handle, operation)  # type: ignore[arg-type]

    monkeypatch.setattr("fcntl.flock", somebody_cleans_up_first)
    with temporary(tmp_path) as path:
        assert path.exists() and path != removed[0]
    assert list(tmp_path.iterdir()) == []


def test_nothing_outside_the_store_is_touched(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere"
    (store.path / VIEW).rename(outside)
    (store.path / VIEW).symlink_to(outside)
    (outside / "keep.txt").touch()
    flip(sorted(outside.glob("*.parquet"))[0], 50)
    before = files(outside)
    report = verify(store.path, repair=True)
    assert [kind for _, kind in kinds(report)] == ["broken-part", "missing-rows"]
    assert not report.sound and report.dropped == () and files(outside) == before

    target = tmp_path / "precious.parquet"
    target.write_text("precious")
    link = store.path / "clips" / "00009-0123456789abcdef.parquet"
    link.symlink_to(target)
    (store.path / "clips" / ".part-link").symlink_to(target)
    report = verify(store.path, repair=True)
    assert report.dropped == (f"clips/{link.name}",)
    assert target.read_text() == "precious" and not link.is_symlink()

    link.symlink_to(tmp_path)
    (store.path / "clips" / "00010-0123456789abcdef.parquet").mkdir()
    report = verify(store.path, repair=True)
    assert (f"clips/{link.name}", "broken-part") in kinds(report) and tmp_path.is_dir()
    assert not report.sound and not link.is_symlink()  # a folder is not deleted


def test_a_part_that_the_machine_will_not_read_is_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(_: Storage, name: str) -> str:
        raise PermissionError(13, "Permission denied", name)

    monkeypatch.setattr("kinestore.pipeline.verification.verify.part_digest", denied)
    report = verify(store.path, repair=True)
    assert {kind for _, kind in kinds(report)} == {"unreadable"}
    assert not report.sound and report.dropped == ()
    monkeypatch.undo()

    def no_memory(*_: object) -> None:
        raise StoreError("cannot be read") from MemoryError()

    monkeypatch.setattr("kinestore.pipeline.verification.verify.read_part", no_memory)
    report = verify(store.path, repair=True)
    assert {kind for _, kind in kinds(report)} == {"unreadable"} and report.dropped == ()


def test_a_newer_store_is_not_repaired(store: Store) -> None:
    flip(parts(store, "clips")[0], 50)
    (store.path / "kinestore.json").write_text('{"format": 2}')
    before = files(store.path)
    with pytest.raises(StoreError, match="store format 2"):
        verify(store.path, repair=True)
    assert files(store.path) == before
