"""What befalls a job: stopped, killed, in company, out of room."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from distributed import LocalCluster

from pipeline.extract import extract
from store import Store, UsageError
from tests.numbered import make_video

ROOT = Path(__file__).parents[1]
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
    """The bytes of every part by its folder and hash; numbers may differ."""
    return {
        f"{path.parent.name}/{path.name.partition('-')[2]}": path.read_bytes()
        for path in store.rglob("*.parquet")
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
@pytest.mark.parametrize("delay_s", [3.5, 6.0, 8.0])
def test_ctrl_c_is_one_sentence_and_the_same_command_goes_on(
    delay_s: float, videos: Path, whole: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    job = start(videos, store)
    time.sleep(delay_s)
    os.killpg(job.pid, signal.SIGINT)
    output, errors = job.communicate(timeout=30)
    if job.returncode != 0:  # it may have been done already
        assert (job.returncode, output) == (1, "")
        assert errors.strip().startswith("kinestore: stopped; what was done is kept in")
        assert len(errors.strip().splitlines()) == 1
    extract(videos, store=store, extractors=["motion"], workers=2)
    assert parts(store) == parts(whole)


@pytest.mark.slow
def test_a_disk_that_takes_no_more_is_one_sentence_and_the_store_is_sound(
    videos: Path, whole: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    largest = 40_000  # bytes: less than a part of sixteen clips

    def refuse_large_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

    job = start(videos, store, preexec_fn=refuse_large_files)
    _, errors = job.communicate(timeout=120)
    assert job.returncode == 1
    assert "cannot be written" in errors and "make room" in errors and "Traceback" not in errors
    assert all(len(data) <= largest for data in parts(store).values())
    Store(store).clips()
    extract(videos, store=store, extractors=["motion"], workers=2)
    assert len(Store(store).load("motion").clip_ids) == NUM_CLIPS


@pytest.mark.slow
def test_a_dask_worker_that_is_killed_costs_its_shard_one_retry(
    videos: Path, whole: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    job = start(videos, store)
    wait_for_parts(store, count=1)
    next(dask_workers(job.pid)).kill()
    _, errors = job.communicate(timeout=120)
    assert job.returncode == 0, errors
    assert "Traceback" not in errors
    assert parts(store) == parts(whole)


def dask_workers(pid: int) -> Iterator[psutil.Process]:
    for child in psutil.Process(pid).children(recursive=True):
        if "spawn_main" in " ".join(child.cmdline()):
            yield child


@pytest.mark.slow
def test_killed_at_random_moments_the_job_goes_on_to_the_same_bytes(
    videos: Path, whole: Path, tmp_path: Path
) -> None:
    """One store, killed again and again, by turns the whole job and one process of it."""
    draw = random.Random(0)
    store, kills = tmp_path / "store", 0
    for attempt in range(60):
        job = start(videos, store)
        killer = threading.Timer(draw.uniform(2.0, 9.0), kill, [job, attempt, draw])
        killer.start()
        job.communicate(timeout=180)
        killer.cancel()
        killer.join()
        if job.returncode == 0:
            assert parts(store) == parts(whole)
            for path in store.rglob("*.parquet"):
                path.unlink()
        else:
            kills += 1
        if kills == 8:
            break
    extract(videos, store=store, extractors=["motion"], workers=2)
    assert parts(store) == parts(whole)


def kill(job: "subprocess.Popen[str]", attempt: int, draw: random.Random) -> None:
    if attempt % 3:
        os.killpg(job.pid, signal.SIGKILL)
    else:
        psutil.Process(job.pid).kill()  # the parent alone: its workers must end by themselves


@pytest.mark.slow
def test_a_running_cluster_gives_the_same_bytes(videos: Path, whole: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with LocalCluster(
        n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0"
    ) as cluster:
        address = cluster.scheduler_address
        for _ in range(2):  # the second finds nothing to do, and the cluster still there
            summary = extract(videos, store=store, extractors=["motion"], scheduler=address)
        broken = tmp_path / "broken"
        with pytest.raises(KeyboardInterrupt):
            extract(
                videos, store=broken, extractors=["motion"], scheduler=address, on_progress=stop
            )
        time.sleep(2)
        here = psutil.Process().children(recursive=True)
        assert not [p for p in here if "pipeline.engine" in " ".join(p.cmdline())]
    assert (summary.done, summary.skipped) == (0, NUM_CLIPS)
    assert parts(store) == parts(whole)
    with pytest.raises(UsageError, match="scheduler='nonsense': no Dask scheduler answers"):
        extract(videos, store=tmp_path / "s", extractors=["motion"], scheduler="nonsense")


def stop(stage: str, done: int, total: int) -> None:
    """A person who presses Ctrl-C once the first shard is done."""
    if stage == "extracting" and done:
        raise KeyboardInterrupt
