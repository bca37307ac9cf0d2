"""Clips that hang, crash or fill the memory, in a real process and a real job."""

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from kinestore.extractors import ExtractorOptions, visible_gpus
from kinestore.pipeline.extraction.config import ExtractionConfig
from kinestore.pipeline.extraction.extract_videos import extract
from kinestore.pipeline.extraction.ipc import ClipOutcome, ClipRequest, ClipResult
from kinestore.pipeline.extraction.outputs import EmbeddingOutput, embedding_outputs
from kinestore.pipeline.extraction.supervisor import Supervisor
from kinestore.pipeline.video.errors import VideoError
from kinestore.store import KinestoreError, Store, ViewSpec
from tests.helpers.numbered import make_video, repeat_packets
from tests.helpers.paths import ROOT

VIEWS = embedding_outputs(["motion"])


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    kept = Supervisor(VIEWS, timeout_s=30)
    yield kept
    kept.close()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("good") / "good.mp4", 20)


@pytest.fixture(scope="module")
def bomb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Few bytes that take long to decode: thousands of large still pictures."""
    flat = np.full((2304, 4096, 3), 90, np.uint8)
    path = make_video(
        tmp_path_factory.mktemp("bomb") / "bomb.mp4",
        pictures=[flat] * 8,
        options={"preset": "ultrafast", "crf": "51"},
    )
    return repeat_packets(path, times=500)


def ask(supervisor: Supervisor, *paths: Path) -> list[ClipOutcome]:
    return supervisor.embed([ClipRequest(str(path), ("motion",)) for path in paths])


def failure_of(supervisor: Supervisor, path: Path) -> VideoError:
    (answer,) = ask(supervisor, path)
    assert isinstance(answer, VideoError)
    return answer


def is_done(supervisor: Supervisor, path: Path) -> bool:
    (answer,) = ask(supervisor, path)
    return isinstance(answer, ClipResult) and set(answer.embeddings) == {"motion"}


def process_of(supervisor: Supervisor) -> psutil.Process:
    assert supervisor._process is not None
    return psutil.Process(supervisor._process.pid)


def when_busy(supervisor: Supervisor, number: int) -> threading.Thread:
    """Send a signal to the process soon after it got a clip."""
    target = process_of(supervisor)
    thread = threading.Timer(0.5, target.send_signal, [number])
    thread.start()
    return thread


def test_a_clip_that_takes_too_long_is_a_timeout_and_the_next_is_done(
    bomb: Path, good: Path
) -> None:
    supervisor = Supervisor(VIEWS, timeout_s=2)
    started = time.perf_counter()
    failure = failure_of(supervisor, bomb)
    assert failure.kind == "timeout" and f"{bomb}: took longer than the 2 s" in str(failure)
    assert time.perf_counter() - started < 30
    assert is_done(supervisor, good)
    supervisor.close()


def test_a_process_that_never_answers_is_ended_at_the_deadline(good: Path, bomb: Path) -> None:
    supervisor = Supervisor(VIEWS, timeout_s=3)
    supervisor.start()
    stopped = process_of(supervisor)
    when_busy(supervisor, signal.SIGSTOP)
    assert failure_of(supervisor, bomb).kind == "timeout" and not stopped.is_running()
    supervisor.close()


@pytest.mark.slow
def test_a_clip_that_kills_its_process_twice_is_named(bomb: Path, supervisor: Supervisor) -> None:
    done = threading.Event()

    def limit_each_process() -> None:
        """The system ends it with SIGXCPU, in the middle of the clip."""
        while not done.wait(0.05):
            if supervisor._process is not None:
                process_of(supervisor).rlimit(psutil.RLIMIT_CPU, (12, 12))

    watcher = threading.Thread(target=limit_each_process)
    watcher.start()
    failure = failure_of(supervisor, bomb)
    done.set()
    watcher.join()
    assert failure.kind == "killed-worker"
    assert re.search(r"ended 2 times \(signal (9|24)\)", str(failure))


def test_a_process_killed_once_by_the_system_costs_nothing(
    good: Path, supervisor: Supervisor
) -> None:
    supervisor.start()
    process_of(supervisor).kill()
    assert is_done(supervisor, good)


def test_a_clip_over_the_memory_is_named(bomb: Path, good: Path) -> None:
    supervisor = Supervisor(VIEWS, timeout_s=60)
    supervisor.start()
    idle = process_of(supervisor).memory_info().rss  # mostly torch: it differs between machines
    supervisor.close()
    supervisor = Supervisor(VIEWS, timeout_s=60, memory_bytes=idle + (64 << 20), num_decoders=2)
    failure, done = ask(supervisor, bomb, good)
    assert isinstance(failure, VideoError) and isinstance(done, ClipResult)
    assert failure.kind == "out-of-memory"
    assert re.search(r"took more than the \d\.\d GiB", str(failure))
    assert is_done(supervisor, good)
    supervisor.close()


def test_of_clips_under_way_together_the_one_to_blame_is_found(bomb: Path, good: Path) -> None:
    supervisor = Supervisor(VIEWS, timeout_s=2, num_decoders=2)
    first, second, third, fourth = ask(supervisor, good, bomb, good, good)
    assert isinstance(second, VideoError) and second.kind == "timeout"
    assert all(isinstance(answer, ClipResult) for answer in (first, third, fourth))
    supervisor.close()
    supervisor = Supervisor(VIEWS, timeout_s=60, num_decoders=3)
    supervisor.start()
    when_busy(supervisor, signal.SIGKILL)  # nobody is to blame
    assert all(isinstance(answer, ClipResult) for answer in ask(supervisor, *[good] * 16))
    supervisor.close()


def test_the_process_ends_with_its_keeper(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    code = f"""
import os, pathlib, signal
from kinestore.pipeline.extraction.supervisor import Supervisor
from kinestore.pipeline.extraction.ipc import ClipOutcome, ClipRequest, ClipResult
from kinestore.pipeline.extraction.outputs import embedding_outputs
supervisor = Supervisor(embedding_outputs(["motion"]), timeout_s=60)
supervisor.start()
pathlib.Path({str(path)!r}).write_text(str(supervisor._process.pid))
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT)
    orphan = int(path.read_text())
    for _ in range(100):
        if not psutil.pid_exists(orphan) or psutil.Process(orphan).status() == "zombie":
            return
        time.sleep(0.1)
    raise AssertionError(f"process {orphan} outlived its supervisor")


def test_a_process_sees_the_one_gpu_that_it_was_given() -> None:
    supervisor = Supervisor(VIEWS, timeout_s=60, gpu="3")
    supervisor.start()
    assert process_of(supervisor).environ()["CUDA_VISIBLE_DEVICES"] == "3"
    supervisor.close()


def test_gpus_have_the_names_that_cuda_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kinestore.extractors._gpus.has_driver", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus("auto") == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-5a,7")
    assert visible_gpus("cuda") == ["GPU-5a", "7"]
    assert visible_gpus("cpu") == []


def test_a_worker_without_the_weights_says_so(tmp_path: Path) -> None:
    spec = ViewSpec(extractor="r3d", shape=(512,), settings={})
    planned = EmbeddingOutput(spec=spec, options=ExtractorOptions(weights=tmp_path / "absent"))
    supervisor = Supervisor({"r3d": planned}, timeout_s=60)
    with pytest.raises(KinestoreError, match=r"absent: no such file or folder"):
        supervisor.start()
    supervisor.close()


def test_a_worker_that_would_make_another_view_is_refused() -> None:
    other = ViewSpec(extractor="motion", shape=(3,), settings={})
    supervisor = Supervisor(
        {"motion": EmbeddingOutput(spec=other, options=ExtractorOptions())}, timeout_s=60
    )
    for _ in range(2):  # and again: no clip may go to it
        with pytest.raises(
            KinestoreError, match=f"motion: a worker would make motion@.*{other.name}"
        ):
            supervisor.start()
    supervisor.close()


def test_the_job_goes_on_past_a_clip_that_never_ends(
    bomb: Path, good: Path, tmp_path: Path
) -> None:
    manifest, store = tmp_path / "m.txt", tmp_path / "store"
    manifest.write_text(f"{bomb}\n{good}\n")
    summary = extract(
        manifest,
        store=store,
        extractors=["motion"],
        workers=1,
        config=ExtractionConfig(clip_timeout_s=3),
    )
    assert (summary.num_done, summary.num_failed) == (1, 1)
    (failure,) = Store(store).failures()
    assert (failure.kind, failure.stage, failure.uri) == ("timeout", "worker", str(bomb))
