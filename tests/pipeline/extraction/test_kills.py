"""Jobs that are killed at random moments go on to the same files, and leave nothing behind."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from kinestore.pipeline.extraction.extract_videos import extract
from tests.helpers.numbered import make_video
from tests.helpers.paths import ROOT

NUM_KILLS = 20
OF_JOBS = ("kinestore", "dask", "sem.", "psm_")
"""Beginnings of the names of what a job could leave in shared memory."""


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(24):
        make_video(folder / f"{number:02d}.mp4", 20, first=number * 3)
    return folder


@pytest.fixture(scope="module")
def undisturbed(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    store = tmp_path_factory.mktemp("undisturbed") / "store"
    extract(videos, store=store, extractors=["motion"], workers=2)
    return files(store)


def files(store: Path) -> dict[str, bytes]:
    """The bytes of every file by its name, also of hidden ones, without the summary's times."""
    return {
        path.relative_to(store).as_posix(): path.read_bytes()
        for path in store.rglob("*")
        if path.is_file() and path.name != "summary.json"
    }


def shared() -> set[str]:
    """Entries of shared memory that a job could have made, or a test that runs beside this one."""
    folder = Path("/dev/shm")
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return {name for name in names if name.startswith(OF_JOBS)}


def left_in(folder: Path) -> list[Path]:
    """Files in the folder for temporary files, and folders other than the user's own."""
    own = folder / f"kinestore-{os.getuid()}"
    return [path for path in folder.rglob("*") if path != own]


def wait_until(holds: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


def processes_of(token: str) -> list[psutil.Process]:
    """Processes that were started, however indirectly, with this token in their environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("KILL_TOKEN") == token:
                found.append(process)
    return found


def kill(job: "subprocess.Popen[bytes]", victim: str) -> None:
    """Kill the parent, the whole group, or a child process, which is started again."""
    with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
        if victim == "parent":
            psutil.Process(job.pid).kill()
        elif victim == "group":
            os.killpg(job.pid, signal.SIGKILL)
        else:
            for child in psutil.Process(job.pid).children()[-1:]:
                child.kill()


@pytest.mark.slow
def test_after_kills_at_random_moments_the_same_command_ends_with_the_same_files_and_no_others(
    videos: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    draw, token, before = random.Random(0), str(tmp_path), shared()
    command = ["extract", str(videos), "--store", "", "-e", "motion", "--workers", "2"]
    store, kills, ended, history = tmp_path / "0", 0, 0, list[str]()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    while kills < NUM_KILLS or not ended:
        command[3] = str(store)
        job = subprocess.Popen(
            [sys.executable, "-m", "kinestore", *command],
            cwd=ROOT,
            env={**os.environ, "KILL_TOKEN": token, "TMPDIR": str(temporary)},
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        delay_s, victim = draw.uniform(0.5, 8.0), draw.choice(["parent", "group", "child"])
        killer = threading.Timer(delay_s, kill, [job, victim])
        killer.start()
        _, errors = job.communicate(timeout=180)
        kills += killer.finished.is_set()  # else it was done before its time
        killer.cancel()
        killer.join()
        history.append(f"{victim} after {delay_s:.2f} s: status {job.returncode}")
        assert b"Traceback" not in errors, (history, errors)
        assert wait_until(lambda: not processes_of(token), 10), history
        if job.returncode == 0:
            assert files(store) == undisturbed, history
            assert left_in(temporary) == [], history
            assert wait_until(lambda: shared() <= before, 60), history
            ended += 1
            store = tmp_path / str(ended)
