"""Part numbers after kills, and of jobs that run at the same time."""

import json
import threading
from pathlib import Path

import pytest

from kinestore.pipeline.extraction.extract_videos import extract
from kinestore.pipeline.extraction.part_numbers import RECORD, reserved_numbers
from kinestore.pipeline.extraction.result import ExtractionResult
from kinestore.pipeline.verification.verify import verify
from kinestore.store import Store
from tests.helpers.numbered import make_video


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


class Killed(BaseException):
    """The job ends here, as if it was killed."""


def claim(store: Store, job: str, count: int = 4) -> range:
    """The range of a job that is killed."""
    with pytest.raises(Killed), reserved_numbers(store, job, count) as numbers:
        raise Killed
    return numbers


def test_a_killed_job_gets_its_numbers_again(store: Store) -> None:
    assert claim(store, "a") == claim(store, "a") == range(4)


def test_a_job_that_ended_gives_its_numbers_back(store: Store) -> None:
    with reserved_numbers(store, "a", 4):
        assert (store.path / RECORD).exists()
    assert not (store.path / RECORD).exists()
    assert claim(store, "b") == range(4)  # since it wrote no part


def test_a_job_that_starts_later_has_higher_numbers(store: Store) -> None:
    with reserved_numbers(store, "a", 4) as first, reserved_numbers(store, "b", 4) as second:
        assert second.start >= first.stop
    assert not (store.path / RECORD).exists()


def test_the_end_of_an_earlier_job_leaves_the_record_of_the_later(store: Store) -> None:
    earlier = reserved_numbers(store, "a", 4)
    earlier.__enter__()
    later = claim(store, "b")
    earlier.__exit__(None, None, None)
    assert claim(store, "b") == later


def test_a_job_that_was_followed_by_another_is_the_newest_when_it_runs_again(store: Store) -> None:
    first, second, again = claim(store, "a"), claim(store, "b"), claim(store, "a")
    assert first.stop <= second.start and second.stop <= again.start


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "nonsense",
        '{"job": "a", "first": -1, "end": 3}',
        '{"job": "a", "first": 0, "end": 1e300}',
        '{"job": "a", "first": 0, "end": ' + "9" * 230 + "}",
        '{"job": "a", "first": 99999999, "end": 100000003}',
        '{"job": ["a"], "first": 0, "end": 4}',
        '{"job": "a", "first": true, "end": 4}',
        '{"job": "a"}' + " " * 20_000_000,
    ],
)
def test_a_record_that_cannot_be_right_counts_as_none(text: str, store: Store) -> None:
    (store.path / RECORD).write_text(text)
    assert claim(store, "a") == range(4)


def test_nothing_is_written_where_nothing_is_to_be_done(store: Store) -> None:
    with reserved_numbers(store, "a", 0):
        assert not (store.path / RECORD).exists()


def test_verify_knows_the_record(store: Store) -> None:
    claim(store, "a")
    assert verify(store.path).findings == ()


def manifest(folder: Path, label: str) -> Path:
    path = folder / f"{label}.csv"
    names = sorted(video.name for video in folder.glob("*.mp4"))
    path.write_text("video,label\n" + "".join(f"{name},{label}\n" for name in names))
    return path


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(6):
        make_video(folder / f"{number}.mp4", 8, first=number)
    return folder


def labels(path: Path) -> set[str]:
    return {row["label"] for row in Store(path).clips().to_pylist()}


def notes(result: ExtractionResult) -> int:
    """The number of notes that another job's rows stand."""
    return sum("another job, which started later" in note for note in result.notes)


MOMENTS = ["before the first shard", "after the first shard", "at the end"]


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_the_labels_of_the_job_that_started_later_stand_and_the_other_says_so(
    moment: str, videos: Path, tmp_path: Path
) -> None:
    """The later job runs from start to end at one moment of the earlier."""
    path, later = tmp_path / "store", list[ExtractionResult]()
    old, new = manifest(videos, "old"), manifest(videos, "new")

    def start_the_later(stage: str, done: int, total: int, note: str = "") -> None:
        now = MOMENTS[0 if not done else 2 if done == total else 1]
        if stage == "extracting" and now == moment and not later:
            later.append(extract(new, store=path, extractors=["motion"], workers=1))

    earlier = extract(old, store=path, extractors=["motion"], workers=1, progress=start_the_later)
    assert labels(path) == {"new"}
    assert notes(later[0]) == 0 and notes(earlier) == 1
    summary = json.loads((path / "summary.json").read_text())
    assert "gave 6 of these videos other labels" in summary["notes"][0]
    assert not (path / RECORD).exists()
    again = extract(old, store=path, extractors=["motion"], workers=1)
    assert labels(path) == {"old"} and notes(again) == 0


@pytest.mark.slow
def test_the_labels_of_the_later_job_stand_where_the_earlier_stores_every_clip_before_it(
    videos: Path, tmp_path: Path
) -> None:
    path, results = tmp_path / "store", dict[str, ExtractionResult]()
    planned, stored = threading.Event(), threading.Event()
    old, new = manifest(videos, "old"), manifest(videos, "new")

    def wait_for_the_earlier(stage: str, done: int, total: int, note: str = "") -> None:
        if stage == "extracting" and not done:
            planned.set()
            assert stored.wait(120)

    def run_the_later() -> None:
        results["new"] = extract(
            new, store=path, extractors=["motion"], workers=1, progress=wait_for_the_earlier
        )

    def start_the_later(stage: str, done: int, total: int, note: str = "") -> None:
        if stage == "extracting" and not done:
            later.start()
            assert planned.wait(120)

    later = threading.Thread(target=run_the_later)
    results["old"] = extract(
        old, store=path, extractors=["motion"], workers=1, progress=start_the_later
    )
    stored.set()
    later.join()
    assert labels(path) == {"new"}
    assert notes(results["old"]) == notes(results["new"]) == 0
