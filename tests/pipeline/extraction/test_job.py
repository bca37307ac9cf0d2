"""What befalls a job: stopped, killed, in company, out of room."""

import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from distributed import Client, LocalCluster

from kinestore.pipeline.extraction.config import ExtractionConfig
from kinestore.pipeline.extraction.extract_videos import extract
from kinestore.pipeline.verification.verify import verify
from kinestore.store import Store, UsageError
from tests.helpers.numbered import make_video
from tests.helpers.paths import ROOT

NUM_CLIPS = 40


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(NUM_CLIPS):
        make_video(folder / f"{number:02d}.mp4", 40, first=number * 3)
    return folder


@pytest.fixture(scope="module")
def whole(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a job that nothing befell."""
    store = tmp_path_factory.mktemp("whole") / "store"
    extract(videos, store=store, extractors=["motion"], workers=2)
    return store


def command(videos: Path, store: Path) -> list[str]:
    asked = ["extract", str(videos), "--store", str(store), "-e", "motion", "--workers", "2"]
    return [sys.executable, "-m", "kinestore", *asked]


def start(videos: Path, store: Path, **options: object) -> "subprocess.Popen[str]":
    """A job in a session of its own, with its output kept."""
    job: subprocess.Popen[str] = subprocess.Popen(
        command(videos, store),
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    )
    return job


def parts(store: Path) -> dict[str, bytes]:
    """The bytes of every part by its name."""
    return {
        path.relative_to(store).as_posix(): path.read_bytes() for path in store.rglob("*.parquet")
    }


def wait_for_parts(store: Path, *, count: int) -> None:
    for _ in range(600):
        if len(list(store.rglob("views/*/*.parquet"))) >= count:
            return
        time.sleep(0.05)
    raise AssertionError(f"{store}: no {count} parts after 30 s")


def test_the_summary_says_what_bound_the_job(whole: Path) -> None:
    summary = json.loads((whole / "summary.json").read_text())
    assert (summary["done"], summary["skipped"], summary["failed"]) == (NUM_CLIPS, 0, 0)
    assert summary["num_frames"] == 40 * NUM_CLIPS and summary["workers"] == 2
    assert summary["bound_by"] == "motion" and 0 < summary["bound_share"] < 1
    assert summary["clips_per_s"] == pytest.approx(NUM_CLIPS / summary["seconds"], rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("delay_s", [0.0, 0.5, 1.0, 1.5, 2.5, 4.0])
def test_ctrl_c_is_one_sentence_and_the_same_command_goes_on(
    delay_s: float, videos: Path, whole: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    job = start(videos, store)
    while not store.exists() and job.poll() is None:
        time.sleep(0.01)
    time.sleep(delay_s)  # workers start, and then work
    os.killpg(job.pid, signal.SIGINT)
    output, errors = job.communicate(timeout=30)
    if job.returncode != 0:  # it may have been done already
        assert (job.returncode, output) == (1, ""), errors
        assert errors.strip().startswith("kinestore: stopped; finished clips are in")
        assert len(errors.strip().splitlines()) == 1
    extract(videos, store=store, extractors=["motion"], workers=2)
    assert parts(store) == parts(whole)


@pytest.mark.slow
def test_a_disk_that_takes_no_more_is_one_sentence_and_the_store_is_sound(
    videos: Path, whole: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    largest = 10_000  # bytes: less than a part of four clips

    def refuse_large_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

    job = start(videos, store, preexec_fn=refuse_large_files)
    _, errors = job.communicate(timeout=120)
    assert job.returncode == 1
    assert "the file would be larger than" in errors and str(store) in errors
    assert len(errors.strip().splitlines()) == 1
    assert all(len(data) <= largest for data in parts(store).values())
    Store(store).clips()
    extract(videos, store=store, extractors=["motion"], workers=2)
    assert len(Store(store).load("motion").clip_ids) == NUM_CLIPS


@pytest.mark.slow
def test_a_child_process_that_is_killed_is_started_again(
    videos: Path, whole: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    job = start(videos, store)
    wait_for_parts(store, count=1)
    psutil.Process(job.pid).children()[0].kill()
    _, errors = job.communicate(timeout=120)
    assert job.returncode == 0, errors
    assert "Traceback" not in errors
    assert parts(store) == parts(whole)


@pytest.mark.slow
def test_two_jobs_at_once_give_the_rows_of_one(videos: Path, whole: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    jobs = [start(videos, store) for _ in range(2)]
    results = [job.communicate(timeout=180) for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], results
    assert rows(store) == rows(whole)
    assert verify(store).findings == ()


@pytest.mark.slow
def test_of_two_jobs_at_once_either_may_be_killed(
    videos: Path, whole: Path, tmp_path: Path
) -> None:
    draw = random.Random(1)
    for attempt in range(4):
        store = tmp_path / str(attempt)
        jobs = [start(videos, store) for _ in range(2)]
        killer = threading.Timer(draw.uniform(3.0, 12.0), kill, [jobs[attempt % 2], attempt])
        killer.start()
        for job in jobs:
            job.communicate(timeout=180)
        killer.cancel()
        killer.join()
        extract(videos, store=store, extractors=["motion"], workers=2)
        assert rows(store) == rows(whole)
        verify(store, repair=True)
        assert leftovers(store) == []


def rows(store: Path) -> dict[str, list[str]]:
    """What each row says, whatever part it is in; sorted, a row that is there twice twice."""
    found: dict[str, list[str]] = {}
    for path in store.rglob("*.parquet"):
        told = [repr(row) for row in pq.read_table(path).to_pylist()]
        found.setdefault(path.parent.name, []).extend(told)
    return {folder: sorted(told) for folder, told in found.items()}


def leftovers(store: Path) -> list[str]:
    return [path.name for path in store.rglob(".*")]


def kill(job: "subprocess.Popen[str]", turn: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
        if turn % 3 == 0:
            psutil.Process(job.pid).kill()  # the parent alone: its children must end by themselves
        elif turn % 3 == 1:
            os.killpg(job.pid, signal.SIGKILL)
        else:
            for child in psutil.Process(job.pid).children()[-1:]:
                child.kill()


@pytest.mark.slow
def test_a_running_cluster_gives_the_same_bytes(videos: Path, whole: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with LocalCluster(
        n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0"
    ) as cluster:
        on_cluster = ExtractionConfig(scheduler=cluster.scheduler_address)
        for _ in range(2):  # the second finds nothing to do, and the cluster still there
            summary = extract(videos, store=store, extractors=["motion"], config=on_cluster)
        broken = tmp_path / "broken"
        with pytest.raises(KeyboardInterrupt):
            extract(videos, store=broken, extractors=["motion"], config=on_cluster, progress=stop)
        time.sleep(2)
        assert not child_processes()
    assert (summary.num_done, summary.num_skipped) == (0, NUM_CLIPS)
    assert parts(store) == parts(whole)
    nonsense = ExtractionConfig(scheduler="nonsense")
    with pytest.raises(UsageError, match="scheduler='nonsense': no Dask scheduler answers"):
        extract(videos, store=tmp_path / "s", extractors=["motion"], config=nonsense)


@pytest.mark.slow
def test_where_workers_have_gpus_those_alone_are_used(videos: Path, tmp_path: Path) -> None:
    store, at_work = tmp_path / "store", set()

    def count(stage: str, done: int, total: int, note: str = "") -> None:
        if stage == "extracting" and done:
            at_work.add(len(child_processes()))

    asked = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(**asked, resources={"GPU": 1}) as cluster:
        cluster.new_spec["options"]["resources"] = {}
        cluster.scale(2)
        address = cluster.scheduler_address
        on_cluster = ExtractionConfig(scheduler=address)
        with Client(address) as client:
            client.wait_for_workers(2)
        extract(videos, store=store, extractors=["motion"], config=on_cluster, progress=count)
    assert at_work == {1}
    assert len(Store(store).load("motion").clip_ids) == NUM_CLIPS


def child_processes() -> list[psutil.Process]:
    here = psutil.Process().children(recursive=True)
    return [
        p for p in here if "kinestore.pipeline.extraction.child_process" in " ".join(p.cmdline())
    ]


def stop(stage: str, done: int, total: int, note: str = "") -> None:
    """A person who presses Ctrl-C once the first shard is done."""
    if stage == "extracting" and done:
        raise KeyboardInterrupt
