"""A federated run that stopped goes on to the same bits."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from kinestore import federated
from kinestore.federated.partition import iid
from kinestore.federated.run_checkpoint import read_checkpoint
from kinestore.federated.simulation import (
    CheckpointConfig,
    History,
    RoundRecord,
    SimulationOptions,
    simulate,
)
from kinestore.heads import TrainingConfig, create
from kinestore.store import Store, UsageError, ViewSpec
from tests.helpers.known_noise import fix_noise
from tests.helpers.paths import ROOT
from tests.helpers.stored import clip, embedding
from tests.helpers.trained import metrics

ROUNDS = 6
STRATEGIES: dict[str, dict[str, Any]] = {
    "fedavg": {},
    "fedprox": {"mu": 0.1},
    "feddyn": {"alpha": 0.1},
    "feddyn, released": {"alpha": 0.1, "variant": "released"},
    "personal": {"private": ["2"]},
    "fedavg, noise": {"clip": 0.5, "noise": 0.1},
    "feddyn, clip": {"clip": 0.05},
    "personal, noise": {"private": ["2"], "clip": 0.5, "noise": 0.1},
}


def run(name: str, rounds: int = ROUNDS, **changes: Any) -> History:
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    features = rng.normal(size=(90, 6)).astype(np.float32)
    arguments: dict[str, Any] = {
        "features": features,
        "labels": labels,
        "parts": iid(labels, 5, seed=0),
        "strategy": federated.create(name.split(",")[0], **STRATEGIES[name]),
        "settings": TrainingConfig(epochs=1, batch_size=8),
        "clients_per_round": 3,
        "test": (features[:20], labels[:20]),
        **changes,
    }
    head = create("mlp", in_features=6, num_classes=3, hidden=(8,))
    names = ("clients_per_round", "seed", "test", "checkpoints", "on_round")
    options = {key: arguments.pop(key) for key in names if key in arguments}
    return simulate(head, rounds=rounds, options=SimulationOptions(**options), **arguments)


def without_time(history: History) -> list[dict[str, Any]]:
    return [{**vars(record), "seconds": 0} for record in history.rounds]


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("stop", [1, 4])
def test_a_resumed_run_has_the_bits_of_one_that_never_stopped(
    tmp_path: Path, name: str, stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fix_noise(monkeypatch)
    whole = run(name)
    path = tmp_path / "checkpoint.safetensors"
    run(name, rounds=stop, checkpoints=CheckpointConfig(path=path))
    seen: list[RoundRecord] = []
    again = run(
        name, checkpoints=CheckpointConfig(path=path, every=2, resume=True), on_round=seen.append
    )
    assert all(torch.equal(array, again.state[key]) for key, array in whole.state.items())
    assert whole.private.keys() == again.private.keys()
    for client, own in whole.private.items():
        assert all(torch.equal(array, again.private[client][key]) for key, array in own.items())
    assert without_time(again) == without_time(whole)
    assert seen == again.rounds  # those that were done are told again, as they were
    assert len(read_checkpoint(path).records) == ROUNDS


@pytest.mark.parametrize("name", ["fedavg, noise", "personal, noise"])
def test_noise_is_drawn_anew_by_every_run_and_after_every_resume(tmp_path: Path, name: str) -> None:
    path = tmp_path / "checkpoint.safetensors"
    stopped = run(name, rounds=2, checkpoints=CheckpointConfig(path=path))
    kept = read_checkpoint(path).server.arrays
    assert all(torch.equal(kept[key], stopped.state[key]) for key in kept)
    one, other = (
        run(name, rounds=3, checkpoints=CheckpointConfig(path=Path(copied), resume=True))
        for copied in (shutil.copy(path, tmp_path / "1"), shutil.copy(path, tmp_path / "2"))
    )
    # the rounds that were done are kept; the next has the same clients, and other noise
    assert one.rounds[:2] == other.rounds[:2] == stopped.rounds
    assert one.rounds[2].participants == other.rounds[2].participants
    assert not any(torch.equal(one.state[key], other.state[key]) for key in kept)


def test_a_run_that_is_done_computes_nothing_more(tmp_path: Path) -> None:
    checkpoints = CheckpointConfig(path=tmp_path / "c.safetensors", resume=True)
    first, second = run("fedavg", checkpoints=checkpoints), run("fedavg", checkpoints=checkpoints)
    assert first.rounds == second.rounds  # seconds and all
    assert all(torch.equal(array, second.state[key]) for key, array in first.state.items())


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"clients_per_round": 2},
        {"settings": TrainingConfig(epochs=2, batch_size=8)},
        {"labels": (np.arange(90) + 1) % 3},
        {"strategy": federated.create("fedprox")},
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    checkpoints = CheckpointConfig(path=tmp_path / "c.safetensors", resume=True)
    run("fedavg", rounds=1, checkpoints=checkpoints)
    with pytest.raises(UsageError, match="is of a run with other clips, clients or settings"):
        run("fedavg", checkpoints=checkpoints, **changes)


def test_a_damaged_checkpoint_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    checkpoints = CheckpointConfig(path=path, resume=True)
    run("personal", rounds=1, checkpoints=checkpoints)
    whole = path.read_bytes()
    arrays = load_file(path)
    for content in (b"", b"x" * 100, whole[:-1], whole[:50]):
        path.write_bytes(content)
        with pytest.raises(UsageError, match="is no checkpoint that can be used"):
            run("personal", checkpoints=checkpoints)
    for metadata in (None, {"run": "[]"}, {"run": "{}"}, {"run": '{"format": 2}'}):
        save_file(arrays, path, metadata=metadata)
        with pytest.raises(UsageError, match="is no checkpoint that can be used"):
            run("personal", checkpoints=checkpoints)
    assert list(tmp_path.iterdir()) == [path]  # no temporary file


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Sixty clips of three classes."""
    rng = np.random.default_rng(0)
    kept = Store.create(tmp_path / "store")
    names = [f"{number:032x}" for number in range(60)]
    kept.append_clips([clip(name, label="abc"[number % 3]) for number, name in enumerate(names)])
    spec = ViewSpec(extractor="noise", shape=(300,), settings={})
    kept.append(spec, names, [embedding(*rng.normal(size=300)) for _ in names])
    return kept.path


def command(store: Path, out: Path, *more: str) -> list[str]:
    asked = ["federate", str(store), "--features", "noise", "--out", str(out), "--rounds", "40"]
    asked += ["--strategy", "feddyn", "--folds", "2", "--checkpoint-every", "3", *more]
    return [sys.executable, "-m", "kinestore", *asked]


def untimed(out: Path) -> list[dict[str, str]]:
    return [{**row, "seconds": ""} for row in metrics(out)]


def finish(store: Path, out: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(store, out, *more), cwd=ROOT, capture_output=True, text=True, timeout=120
    )


@pytest.mark.slow
@pytest.mark.parametrize("num_rows", [5, 45, 100])
def test_a_killed_command_goes_on_with_resume(store: Path, tmp_path: Path, num_rows: int) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert finish(store, whole).returncode == 0
    job = subprocess.Popen(command(store, out), cwd=ROOT, stdout=subprocess.DEVNULL)
    while job.poll() is None:
        time.sleep(0.01)
        if (out / "metrics.csv").exists() and len(metrics(out)) >= num_rows:
            job.send_signal(signal.SIGKILL)
            job.wait()
    assert list(out.glob("checkpoint-*")) and not (out / "summary.json").exists()
    assert finish(store, out, "--resume").returncode == 0
    assert untimed(out) == untimed(whole)
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert not list(out.glob("checkpoint-*"))
    # once more: it is finished, and says what it came to
    again = finish(store, out, "--resume", "--json")
    assert json.loads(again.stdout) == json.loads((out / "summary.json").read_text())
    # another command is another run
    other = finish(store, out, "--resume", "--seed", "1")
    assert (other.returncode, len(other.stderr.splitlines())) == (2, 1)
    assert "is a run with seed=0, not 1" in other.stderr
