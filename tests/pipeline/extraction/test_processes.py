"""The processes of a job: what others can reach, what is imported, and what outlives a kill."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dask
import psutil
import pytest
from distributed import LocalCluster, Security

from kinestore.pipeline.extraction import dask_cluster
from kinestore.pipeline.extraction.extract_videos import extract
from kinestore.pipeline.extraction.local_cluster import local_workers
from kinestore.pipeline.extraction.outputs import embedding_outputs
from kinestore.pipeline.extraction.supervisor import MAX_STARTS, Supervisor, _import_path
from kinestore.store import KinestoreError, UsageError
from tests.helpers.numbered import make_video
from tests.helpers.paths import ROOT

SCRIPT = """
import kinestore as ks
print(ks.extract({videos!r}, store={store!r}, extractors=["motion"], workers=1).num_done)
"""


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    make_video(folder / "a.mp4", 8)
    return folder


@dataclass
class Seen:
    """What a job had while it ran, and left behind."""

    listening: list[object] = field(default_factory=list)
    children: list[psutil.Process] = field(default_factory=list)
    import_path: list[str] = field(default_factory=list)
    left: set[Path] = field(default_factory=set)


@pytest.fixture(scope="module")
def seen(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    found, here = Seen(), psutil.Process()
    earlier = here.children(recursive=True)  # of other tests in this process, as their sockets
    listened = [c for c in here.net_connections(kind="all") if c.status == psutil.CONN_LISTEN]

    def look(stage: str, done: int, total: int, note: str = "") -> None:
        if stage == "extracting" and done:
            found.children = [one for one in here.children(recursive=True) if one not in earlier]
            for process in [here, *found.children]:
                for connection in process.net_connections(kind="all"):
                    if connection.status == psutil.CONN_LISTEN and connection not in listened:
                        found.listening.append(connection)
            found.import_path = list(sys.path)

    store = tmp_path_factory.mktemp("seen") / "store"
    temporary, before = tmp_path_factory.mktemp("temporary"), tempfile.tempdir
    tempfile.tempdir = str(temporary)
    try:
        extract(videos, store=store, extractors=["motion"], workers=1, progress=look)
    finally:
        tempfile.tempdir = before
    own = temporary / f"kinestore-{os.getuid()}"
    found.left = {path for path in temporary.rglob("*") if path != own}
    return found


def test_no_process_of_a_job_listens(seen: Seen) -> None:
    assert seen.children and seen.listening == []


def test_no_folder_of_dask_is_on_the_import_path(seen: Seen) -> None:
    assert seen.import_path and not [path for path in seen.import_path if "dask-" in path]


def test_a_job_leaves_no_process_and_no_temporary_file(seen: Seen) -> None:
    assert not any(child.is_running() for child in seen.children)
    assert seen.left == set()


def test_another_users_folder_of_dask_is_neither_used_nor_imported_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = tmp_path / "dask-scratch-space"
    planted.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with local_workers(2) as client:
        path = client.submit(_import_path_of_a_task, pure=False).result()
        assert [p for p in path if str(tmp_path) in p] == []
        assert list(planted.iterdir()) == []
    assert list(tmp_path.iterdir()) == [planted]


def _import_path_of_a_task() -> list[str]:
    return list(sys.path)


def test_the_folder_of_a_killed_job_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / f"kinestore-dask-{ended.pid}-abc" / "dask-scratch-space").mkdir(parents=True)
    alive = tmp_path / f"kinestore-dask-{psutil.Process().ppid()}-abc"
    alive.mkdir()
    with local_workers(1):
        assert list(tmp_path.iterdir()) == [alive]


@pytest.mark.parametrize("relative", ["", ".", "extra"])
def test_a_child_process_imports_nothing_from_its_working_folder(
    relative: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = str(tmp_path / "dask-scratch-space" / "worker-1")
    monkeypatch.setattr(sys, "path", [relative, scratch, *sys.path])
    path = _import_path()
    assert all(Path(entry).is_absolute() for entry in path)
    assert not any("dask-scratch-space" in entry for entry in path)
    assert str(ROOT) in path


@pytest.mark.parametrize(
    "how",
    [
        "standard input",
        pytest.param("file", marks=[pytest.mark.slow]),
        pytest.param("-c", marks=[pytest.mark.slow]),
    ],
)
def test_a_script_without_a_main_guard_extracts(how: str, videos: Path, tmp_path: Path) -> None:
    script = SCRIPT.format(videos=str(videos), store=str(tmp_path / "store"))
    (tmp_path / "run.py").write_text(script)
    given = {"file": ["run.py"], "standard input": ["-"], "-c": ["-c", script]}[how]
    done = subprocess.run(
        [sys.executable, *given],
        input=script if how == "standard input" else "",
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("1\n", "", 0)


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    kept = Supervisor(embedding_outputs(["motion"]), timeout_s=30)
    yield kept
    kept.close()


def kill_while_it_loads(supervisor: Supervisor, *, times: int) -> threading.Thread:
    """Kill each child process soon after it has started."""

    def kill() -> None:
        killed: set[int] = set()
        while len(killed) < times:
            process = supervisor._process
            if process is not None and process.pid not in killed:
                time.sleep(0.1)
                process.kill()
                killed.add(process.pid)
            time.sleep(0.01)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return thread


def test_a_process_that_is_killed_while_it_loads_is_started_again(supervisor: Supervisor) -> None:
    killer = kill_while_it_loads(supervisor, times=1)
    supervisor.start()
    killer.join()
    assert supervisor._process is not None and supervisor._process.poll() is None


def test_a_process_that_is_killed_whenever_it_loads_is_one_sentence(
    supervisor: Supervisor,
) -> None:
    kill_while_it_loads(supervisor, times=MAX_STARTS)
    with pytest.raises(KinestoreError, match=r"ended 3 times \(signal 9\); if the memory is full"):
        supervisor.start()


def test_stopping_while_a_process_loads_ends_it_at_once(supervisor: Supervisor) -> None:
    closing = threading.Timer(0.3, supervisor.close)
    closing.start()
    started = time.perf_counter()
    with pytest.raises(KinestoreError, match="the job was stopped"):
        supervisor.start()
    closing.join()
    assert supervisor._process is None and time.perf_counter() - started < 10


HANGS_IN_C = """
from kinestore.pipeline.signals import end_with_parent
end_with_parent()
print("ready", flush=True)
import re
re.match("(a+)+$", "a" * 40 + "b")  # keeps Python's lock
"""


def test_a_child_that_hangs_in_c_ends_with_its_parent() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", HANGS_IN_C],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdin is not None and child.stdout is not None
    with child, child.stdout:
        assert child.stdout.readline() == b"ready\n"
        child.stdin.close()
        assert child.wait(timeout=10) != 0


def test_a_child_whose_parent_is_gone_already_ends_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGS_IN_C], cwd=ROOT, stdin=subprocess.DEVNULL, timeout=30
    )
    assert done.returncode == 0


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.mark.parametrize("says", [None, b"", b"HTTP/1.0 400 Bad Request\r\n\r\n", b"\xff" * 4096])
def test_a_port_that_is_no_dask_scheduler_is_one_sentence_in_time(
    says: bytes | None, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_cluster, "CONNECT_TIMEOUT_S", 1)
    kept = []

    def answer() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                kept.append(connection)
                if says is not None:
                    connection.sendall(says)
                    connection.close()

    threading.Thread(target=answer, daemon=True).start()
    address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    started = time.perf_counter()
    with (
        pytest.raises(UsageError, match=f"scheduler='{address}': no Dask scheduler answers") as e,
        dask_cluster.running_cluster(address),
    ):
        pass
    assert time.perf_counter() - started < 10 and "\n" not in str(e.value)
    for connection in kept:
        connection.close()


def test_a_cluster_with_certificates_takes_those_of_the_settings_and_no_stranger(
    tmp_path: Path,
) -> None:
    ours = Security.temporary()
    names = {"ca-file": "tls_ca_file", "cert": "tls_client_cert", "key": "tls_client_key"}
    settings = {}
    for name, attribute in names.items():
        (tmp_path / name).write_text(getattr(ours, attribute))
        where = "" if name == "ca-file" else "client."
        settings[f"distributed.comm.tls.{where}{name}"] = str(tmp_path / name)
    asked = {"processes": False, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(n_workers=1, protocol="tls://", security=ours, **asked) as cluster:
        address = cluster.scheduler_address
        assert address.startswith("tls://")
        with dask.config.set(settings), dask_cluster.running_cluster(address) as client:
            assert dask_cluster.num_workers(client) == 1
        for stranger in (address, address.replace("tls://", "tcp://")):
            with (
                pytest.raises(UsageError, match="no Dask scheduler answers"),
                dask_cluster.running_cluster(stranger),
            ):
                pass


KILLED_CLIENT = """
import sys
from kinestore.pipeline.extraction.config import ExtractionConfig
from kinestore.pipeline.extraction.extract_videos import extract
def told(stage, done, total, note=""):
    print(stage, done, flush=True)
config = ExtractionConfig(scheduler=sys.argv[1])
extract(sys.argv[2], store=sys.argv[3], extractors=["motion"], config=config, progress=told)
"""


@pytest.mark.slow
def test_the_child_processes_of_a_killed_client_end_on_a_running_cluster(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for number in range(12):
        make_video(videos / f"{number}.mp4", 60, first=number)
    asked = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(**asked) as cluster:
        for turn in range(2):
            arguments = [
                cluster.scheduler_address,
                str(tmp_path / "videos"),
                str(tmp_path / f"s{turn}"),
            ]
            client = subprocess.Popen(
                [sys.executable, "-c", KILLED_CLIENT, *arguments],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert client.stdout is not None
            with client, client.stdout as told:
                assert any(
                    line.startswith("extracting 1") or "extracting 4" in line for line in told
                )
                assert embedding_processes()
                client.kill()
            deadline = time.monotonic() + 20
            while embedding_processes() and time.monotonic() < deadline:
                time.sleep(0.1)
            assert embedding_processes() == []


def embedding_processes() -> list[psutil.Process]:
    wanted = "kinestore.pipeline.extraction.child_process"
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # also ended and not yet waited for
            if wanted in " ".join(process.cmdline()):
                found.append(process)
    return found
