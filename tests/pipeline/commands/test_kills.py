"""Commands killed at random moments: the same command again ends as if nothing had been."""

import csv
import json
import random
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from safetensors.torch import load_file

from kinestore.pipeline.extraction.extract_videos import extract
from tests.helpers.fuzzing import NUM_KILLS
from tests.helpers.leftovers import left_in, processes_of, shared, wait_until
from tests.helpers.numbered import make_video
from tests.helpers.preloaded import CommandLine, preloaded_command_line

COMMANDS = {
    "train": "train {store} --features motion --head mlp:hidden=8 --out {out}/run"
    " --epochs 40 --resume",
    "federate": "federate {store} --features motion --head mlp:hidden=8 --out {out}/run"
    " --rounds 12 --checkpoint-every 2 --resume",
    "swarm": "swarm {store} --features motion --head mlp:hidden=8 --out {out}/run --dynamic 2"
    " --fitness loss --epochs 8 --resume",
    "umap": "umap {store} --features motion --out {out}/page.html",
    "report": "report {run} --store {store} --out {out}/report.html",
    "export": "export {store} --features motion --to {out}/export.h5",
    "verify": "verify {store} --repair",
    "snapshot": "snapshot {store} paper",
}


READY = {
    "umap": "umap {made}/store --features motion --out {made}/page.html",  # lays the clips out
    "report": "train {made}/store --features motion --out {made}/run --epochs 3",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of two classes."""
    folder = tmp_path_factory.mktemp("made")
    for number in range(24):
        label = folder / "videos" / "ab"[number % 2]
        label.mkdir(parents=True, exist_ok=True)
        make_video(label / f"{number:02d}.mp4", 20, first=number * 3)
    extract(folder / "videos", store=folder / "store", extractors=["motion"], workers=2)
    return folder


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    folder = tmp_path_factory.mktemp("line")
    (folder / "temporary").mkdir()
    environment = {"KILL_TOKEN": str(folder), "TMPDIR": str(folder / "temporary")}
    with preloaded_command_line(folder, environment) as line:
        yield line
    assert left_in(folder / "temporary") == []
    assert wait_until(lambda: not processes_of(str(folder)), 10)


def content(folder: Path) -> dict[str, object]:
    """Every file by its name; a summary without its time, rounds without theirs."""
    found: dict[str, object] = {}
    for path in folder.rglob("*"):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            found[name] = path.read_bytes()
            if path.name == "summary.json":
                read = json.loads(path.read_text())
                found[name] = {key: value for key, value in read.items() if key != "seconds"}
            if path.name.startswith("state-"):  # rounds have their seconds in its metadata
                found[name] = {key: t.numpy().tobytes() for key, t in load_file(path).items()}
            if path.name == "metrics.csv":
                with path.open(newline="") as table:
                    rows = list(csv.DictReader(table))
                found[name] = [row | {"seconds": ""} for row in rows]
    return found


def damage(store: Path) -> None:
    """Change a byte in the middle of three parts."""
    for path in sorted((store / "views").rglob("*.parquet"))[::2]:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 255
        path.write_bytes(data)


def prepare(made: Path, folder: Path, name: str) -> tuple[list[str], Path]:
    """Copy the store; return the command and the folder of all that it may change."""
    shutil.copytree(made / "store", folder / "store")
    if name == "verify":
        damage(folder / "store")
    words = {"store": folder / "store", "out": folder, "run": made / "run"}
    return [word.format(**words) for word in COMMANDS[name].split()], folder


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_after_kills_the_same_command_ends_with_the_files_of_an_undisturbed_one(
    name: str, made: Path, line: CommandLine, tmp_path: Path
) -> None:
    draw, before = random.Random(name), shared()
    if name == "report":
        folder = made / "run"
        line.start(
            *f"train {made}/store --features motion --out {folder} --epochs 3".split()
        ).wait()
    command, whole = prepare(made, tmp_path / "place", name)
    started = time.perf_counter()
    status, said = line.start(*command).wait()
    seconds = time.perf_counter() - started
    wanted = content(whole)
    whole.rename(tmp_path / "undisturbed")
    kills = 0
    history = [f"undisturbed: {status} after {seconds:.2f} s: {said}"]
    while kills < NUM_KILLS:
        shutil.rmtree(tmp_path / "place", ignore_errors=True)
        command, folder = prepare(made, tmp_path / "place", name)
        for _ in range(3):
            killed = start_and_kill(line, command, draw.uniform(0, seconds), history)
            kills += killed
            if not killed:
                break
        ended, said = line.start(*command).wait()
        assert (ended, "Traceback" in said) == (status, False), (history, said)
        assert content(folder) == wanted, history
    assert wait_until(lambda: shared() <= before, 60), history


def start_and_kill(
    line: CommandLine, command: list[str], delay_s: float, history: list[str]
) -> bool:
    """Return whether the command was killed before it had ended."""
    job = line.start(*command)
    done = threading.Event()

    def kill() -> None:
        if not done.wait(delay_s):
            with suppress(ProcessLookupError):
                job.kill(group=True)

    killer = threading.Thread(target=kill)
    killer.start()
    status, said = job.wait()
    done.set()
    killer.join()
    history.append(f"after {delay_s:.2f} s: {status}")
    assert "Traceback" not in said, (history, said)
    return status == -9
