"""Run folders and checkpoints that were damaged or made by somebody else give one sentence."""

import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from kinestore import federated
from kinestore.federated.partition import iid
from kinestore.federated.simulation import CheckpointConfig, SimulationOptions, simulate
from kinestore.heads import TrainingConfig, create
from kinestore.pipeline.models.saved_run import read_saved_run
from kinestore.pipeline.models.trained_model import load_model
from kinestore.pipeline.report import report
from kinestore.pipeline.runs.client_partition import read_client_partition
from kinestore.pipeline.runs.predictions import read_predictions
from kinestore.pipeline.training import fold_trainer
from kinestore.pipeline.training.fit_state import read_fit
from kinestore.store import KinestoreError, UsageError
from tests.helpers.damage import Damage, damaged, damages
from tests.helpers.fuzzing import MANY_EXAMPLES
from tests.helpers.jobs import federate, train
from tests.helpers.reported import without_pictures
from tests.helpers.trained import clips

QUICK = TrainingConfig(epochs=2, batch_size=16)
FUZZ: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "derandomize": True,
}
FILES = (
    "config.json",
    "summary.json",
    "communication.json",
    "metrics.csv",
    "predictions.parquet",
    "client_partition.parquet",
    "model.safetensors",
)
ODD: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.just([])
    | st.just({})
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs, and the checkpoints of two that were stopped."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fold_trainer, "CHECKPOINT_SECONDS", 0.0)
        drawn = without_pictures()
        next(drawn)
        asked: dict[str, Any] = {"head": "mlp:hidden=4", "settings": QUICK}
        federate(clips(), out=folder / "together", rounds=2, clients=3, **asked)
        train(clips(), out=folder / "central", **asked)
        next(drawn, None)
    resume(folder / "rounds.safetensors", rounds=2)
    return folder


def resume(path: Path, *, rounds: int, strategy: str = "feddyn") -> None:
    """Run some rounds, continuing from a checkpoint."""
    rng = np.random.default_rng(0)
    labels = np.arange(24) % 3
    features = rng.normal(size=(24, 4)).astype(np.float32)
    simulate(
        create("mlp", in_features=4, num_classes=3, hidden=(4,)),
        features,
        labels,
        iid(labels, 3, seed=0),
        rounds=rounds,
        strategy=federated.create(strategy),
        settings=TrainingConfig(epochs=1, batch_size=8),
        options=SimulationOptions(checkpoints=CheckpointConfig(path=path, resume=True)),
    )


def use(run: Path) -> None:
    """Read everything that is read of a run folder."""
    readers: list[Callable[[Path], object]] = [read_predictions, read_client_partition, load_model]
    for read in readers:
        tolerate(partial(read, run))
    tolerate(lambda: report(run, out=run.parent / "page.html"))


def tolerate(action: Callable[[], object]) -> str | None:
    """Return the message of an error of ours, None without one; let every other error pass on."""
    try:
        action()
    except KinestoreError as error:
        assert "\n" not in str(error) and len(str(error)) < 1500
        return str(error)
    return None


def check_bytes(folder: Path, name: str, changes: list[Damage]) -> None:
    path = folder / "together" / name
    whole = path.read_bytes()
    try:
        path.write_bytes(damaged(whole, changes))
        use(folder / "together")
    finally:
        path.write_bytes(whole)


@settings(max_examples=150, **FUZZ)
@given(name=st.sampled_from(FILES), changes=damages())
def test_a_damaged_run_folder_is_read_or_refused(
    folder: Path, name: str, changes: list[Damage]
) -> None:
    check_bytes(folder, name, changes)


@pytest.mark.slow
@settings(max_examples=MANY_EXAMPLES, **FUZZ)
@given(name=st.sampled_from(FILES), changes=damages())
def test_many_damaged_run_folders_are_read_or_refused(
    folder: Path, name: str, changes: list[Damage]
) -> None:
    check_bytes(folder, name, changes)


@settings(max_examples=150, **FUZZ)
@given(name=st.sampled_from(FILES[:3]), place=st.integers(0, 10_000), value=ODD)
def test_odd_values_in_the_files_of_a_run_are_read_or_refused(
    folder: Path, name: str, place: int, value: Any
) -> None:
    path = folder / "together" / name
    whole = path.read_text(encoding="utf-8")
    content = json.loads(whole)
    key = sorted(content)[place % len(content)]
    inner = content[key]
    if isinstance(inner, dict) and inner and place % 2:
        inner[sorted(inner)[place // 7 % len(inner)]] = value
    elif isinstance(inner, list) and inner and place % 2:
        inner[place // 7 % len(inner)] = value
    else:
        content[key] = value
    try:
        path.write_text(json.dumps(content), encoding="utf-8")
        use(folder / "together")
    finally:
        path.write_text(whole, encoding="utf-8")


@settings(max_examples=100, **FUZZ)
@given(changes=damages())
def test_a_damaged_checkpoint_of_rounds_is_used_or_refused(
    folder: Path, changes: list[Damage]
) -> None:
    path = folder / "damaged.safetensors"
    path.write_bytes(damaged((folder / "rounds.safetensors").read_bytes(), changes))
    tolerate(lambda: resume(path, rounds=2))


Change = Callable[[dict[str, torch.Tensor], dict[str, Any]], None]


def rewrite(path: Path, target: Path, entry: str, change: Change) -> None:
    """Copy a checkpoint with changed tensors and entries."""
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        described = json.loads(file.metadata()[entry])
    change(tensors, described)
    save_file(tensors, target, metadata={entry: json.dumps(described)})


def fill(part: str, value: float) -> Change:
    def change(tensors: dict[str, torch.Tensor], run: dict[str, Any]) -> None:
        name = next(key for key in sorted(tensors) if part in key)
        tensors[name] = torch.full_like(tensors[name], value)

    return change


def shape(part: str) -> Change:
    def change(tensors: dict[str, torch.Tensor], run: dict[str, Any]) -> None:
        name = next(key for key in sorted(tensors) if part in key)
        tensors[name] = torch.zeros(7)

    return change


def set_entry(**values: Any) -> Change:
    return lambda tensors, run: run.update(values)


ROUNDS: dict[str, Change] = {
    "NaN in the memory": fill('"memory"', float("nan")),
    "infinity in a correction": fill('"correction"', float("inf")),
    "NaN in the model": fill('"server"', float("nan")),
    "another shape in the memory": shape('"memory"'),
    "another shape in a correction": shape('"correction"'),
    "no memory": set_entry(memory=[]),
    "other parameters": set_entry(parameters=["x"]),
    "fewer clients": set_entry(num_clients=1),
    "text for a number": set_entry(per_round="3"),
    "a client beyond": set_entry(clients=[9]),
    "a client of text": set_entry(clients=["0"]),
    "no records": set_entry(records=[{}]),
    "records of text": set_entry(records="abc"),
    "a list": set_entry(order={}),
}


@pytest.mark.parametrize("kind", ROUNDS)
def test_a_checkpoint_of_rounds_with_other_content_is_refused(folder: Path, kind: str) -> None:
    target = folder / "other.safetensors"
    rewrite(folder / "rounds.safetensors", target, "run", ROUNDS[kind])
    with pytest.raises(UsageError, match=r"set resume=False"):
        resume(target, rounds=3)


def stopped_fit(tmp_path: Path, patch: pytest.MonkeyPatch) -> Path:
    """Return the checkpoint of a central run that was stopped in its third epoch."""
    patch.setattr(fold_trainer, "CHECKPOINT_SECONDS", 0.0)

    def stop(stage: str, done: int, total: int, note: str = "") -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_again(tmp_path, progress=stop, resume=False)
    return tmp_path / "run" / "checkpoint-0.safetensors"


def fit_again(tmp_path: Path, **more: Any) -> None:
    more = {"resume": True, **more}
    slow = TrainingConfig(epochs=5, batch_size=16)
    train(clips(), out=tmp_path / "run", head="mlp:hidden=4", settings=slow, validation=0.2, **more)


FITS: dict[str, Change] = {
    "NaN in the optimizer": fill("optimizer.exp_avg.", float("nan")),
    "NaN in the best model": fill("best.", float("nan")),
    "another shape in the optimizer": shape("optimizer.exp_avg."),
    "another shape in the best model": shape("best."),
    "a best epoch to come": set_entry(best_epoch=99),
    "text for a loss": set_entry(lowest="low"),
    "records without figures": set_entry(records=[{}]),
    "no best epoch": set_entry(best_epoch=None),
}


def test_a_checkpoint_of_epochs_with_other_content_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stopped_fit(tmp_path, monkeypatch)
    kept = path.with_suffix(".kept")
    shutil.copy(path, kept)
    for kind, change in FITS.items():
        rewrite(kept, path, "fit", change)
        with pytest.raises(UsageError, match=r"run without resum"):
            fit_again(tmp_path)
        assert path.exists(), kind
    rng = np.random.default_rng(0)
    whole = kept.read_bytes()
    for _ in range(200):
        start = int(rng.integers(len(whole)))
        path.write_bytes(whole[:start] + rng.bytes(3) + whole[start + 3 :])
        tolerate(lambda: read_fit(path))


@pytest.mark.parametrize("kind", ["pipe", "loop", "folder", "device"])
@pytest.mark.parametrize("name", [*FILES, "checkpoint"])
def test_links_pipes_and_folders_in_a_run_folder_do_not_hang(
    folder: Path, tmp_path: Path, kind: str, name: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(folder / "together", run)
    path = run / name
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    if name == "checkpoint":
        with pytest.raises(UsageError, match="is no checkpoint that can be used"):
            resume(path, rounds=2)
    else:
        use(run)


def test_a_model_with_nan_is_refused(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(folder / "together", run)
    tensors = load_file(run / "model.safetensors")
    tensors["head.0.weight"] = torch.full_like(tensors["head.0.weight"], torch.nan)
    save_file(tensors, run / "model.safetensors")
    with pytest.raises(UsageError, match=r"'head.0.weight' holds NaN or infinity"):
        read_saved_run(run)
