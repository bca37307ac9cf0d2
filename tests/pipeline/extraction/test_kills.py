"""Jobs that are killed at random moments go on to the same files, and leave nothing behind."""

import contextlib
import random
import threading
from pathlib import Path

import psutil
import pytest

from kinestore.pipeline.extraction.extract_videos import extract
from tests.helpers.fuzzing import NUM_KILLS
from tests.helpers.leftovers import left_in, processes_of, shared, wait_until
from tests.helpers.numbered import make_video
from tests.helpers.preloaded import Job, preloaded_command_line


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


def kill(job: Job, victim: str) -> None:
    """Kill the parent, the whole group, or a child process, which is started again."""
    with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
        if victim == "child":
            for child in psutil.Process(job.pid).children()[-1:]:
                child.kill()
        else:
            job.kill(group=victim == "group")


@pytest.mark.slow
def test_after_kills_at_random_moments_the_same_command_ends_with_the_same_files_and_no_others(
    videos: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    draw, token, before = random.Random(0), str(tmp_path), shared()
    store, kills, ended, history = tmp_path / "0", 0, 0, list[str]()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {"KILL_TOKEN": token, "TMPDIR": str(temporary)}
    with preloaded_command_line(tmp_path, environment) as line:
        command = ["extract", str(videos), "-e", "motion", "--workers", "2", "--store"]
        server = processes_of(token)
        while kills < 2 * NUM_KILLS or not ended:
            job = line.start(*command, str(store))
            delay_s, victim = draw.uniform(0.0, 6.0), draw.choice(["parent", "group", "child"])
            killer = threading.Timer(delay_s, kill, [job, victim])
            killer.start()
            status, errors = job.wait()
            kills += killer.finished.is_set()  # else it was done before its time
            killer.cancel()
            killer.join()
            history.append(f"{victim} after {delay_s:.2f} s: status {status}")
            assert "Traceback" not in errors, (history, errors)
            assert wait_until(lambda: processes_of(token) == server, 10), history
            if status == 0:
                assert files(store) == undisturbed, history
                assert left_in(temporary) == [], history
                assert wait_until(lambda: shared() <= before, 60), history
                ended += 1
                store = tmp_path / str(ended)
