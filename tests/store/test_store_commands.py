"""verify, snapshot and export as a person meets them: output, exit status, one sentence."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kinestore.store import Store
from tests.helpers.stored import SPEC, clip, embedding


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kinestore", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store.create(tmp_path / "S")
    made.append_clips([clip(name, label="run") for name in "abc"])
    made.append(SPEC, ["a", "b"], [embedding(1, 2), embedding(3, 4)])
    return made


def test_a_store_is_verified_broken_repaired_and_sound_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    sound = run("verify", store.path)
    assert sound.returncode == 0, sound.stderr
    assert "S: sound, 2 parts checked" in " ".join(sound.stdout.split())
    assert "lacks 1 of 3 clips" in sound.stdout
    (part,) = (store.path / "views" / SPEC.name).glob("*.parquet")
    part.write_bytes(part.read_bytes() + b"!")
    broken = run("verify", store.path, "--json")
    assert broken.returncode == 1 and broken.stderr == ""
    report = json.loads(broken.stdout)
    assert report["sound"] is False and report["dropped"] == [] and report["num_parts"] == 2
    name = f"views/{SPEC.name}/{part.name}"
    assert [finding["path"] for finding in report["findings"]] == [name, f"views/{SPEC.name}"]
    assert report["findings"][0].keys() == {"path", "kind", "message"}
    reading = run("train", store.path, "--features", "vector", "--out", store.path / "R")
    assert reading.returncode == 1 and "--repair` will delete it" in reading.stderr
    assert "Traceback" not in reading.stderr and reading.stderr.count("\n") == 1

    repaired = run("verify", store.path, "--repair")
    assert repaired.returncode == 0 and not part.exists()
    assert "S: sound, 2 parts checked, 1 files removed" in " ".join(repaired.stdout.split())
    again = run("verify", store.path, "--json")
    assert again.returncode == 0 and json.loads(again.stdout)["sound"] is True


def test_a_snapshot_is_taken_once(store: Store) -> None:
    taken = run("snapshot", store.path, "paper")
    assert taken.returncode == 0 and taken.stdout == "Snapshot paper records 2 parts.\n"
    store.append_clips([clip("d")])
    other = run("snapshot", store.path, "paper")
    assert other.returncode == 2 and "pins other parts; choose another name" in other.stderr
    assert len(Store(store.path, snapshot="paper").clips()) == 3


def test_an_export_says_what_it_wrote_and_what_is_missing(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "x.npz"
    done = run("export", store.path, "--features", "vector", "--to", out)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"2 clips exported to {out}; 1 left out (feature missing).\n"
    assert np.load(out, allow_pickle=False)["features"].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["verify", "ABSENT"], 1, "ABSENT: no store here; make one with `kinestore extract"),
        (["verify", "NEWER", "--repair"], 1, "store format 2, but this version reads format 1"),
        (["snapshot", "ABSENT", "x"], 1, "ABSENT: no store here"),
        (["snapshot", "S", "../x"], 2, "snapshot '../x': must be letters, digits"),
        (["snapshot", "S"], 2, "Missing argument 'NAME'"),
        (["export", "S", "--features", "vector", "--to", "x.csv"], 2, "x.csv: must end in"),
        (["export", "S", "--features", "x", "--to", "x.h5"], 2, "'x': not in"),
        (["export", "S", "--features", "vector"], 2, "Missing option '--to'"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_it(
    arguments: list[str],
    status: int,
    message: str,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    newer = tmp_path / "NEWER"
    newer.mkdir()
    (newer / "kinestore.json").write_text('{"format": 2}')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERMINAL_WIDTH", "200")
    before = sorted(tmp_path.rglob("*"))
    done = run(*arguments)
    assert message in done.stderr.replace("\n", " "), done.stderr
    assert done.returncode == status
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert sorted(tmp_path.rglob("*")) == before
