"""A finished run continues with more epochs or rounds to the bits of one longer run, or not."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kinestore.heads import TrainingConfig
from kinestore.store import UsageError
from tests.helpers.filmed import coloured_store
from tests.helpers.jobs import federate, network_config, train, train_network, watch
from tests.helpers.reported import without_pictures
from tests.helpers.trained import clips

SETTINGS = TrainingConfig(batch_size=16, device="cpu")


@pytest.fixture(scope="module", autouse=True)
def _no_pictures() -> Iterator[None]:
    yield from without_pictures()


def assert_same(one: Path, other: Path) -> None:
    """All results but for the seconds that they took."""
    for name in ("model.safetensors", "predictions.parquet", "training_clips.parquet"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    tables = []
    for run in (one, other):
        with (run / "metrics.csv").open(newline="") as file:
            tables.append([{**row, "seconds": ""} for row in csv.DictReader(file)])
    assert tables[0] == tables[1]
    first, second = (json.loads((run / "summary.json").read_text()) for run in (one, other))
    assert first | {"seconds": 0} == second | {"seconds": 0}


CENTRAL: dict[str, dict[str, Any]] = {
    "adam": {},
    "sgd in steps": {"optimizer": "sgd", "schedule": "steps:1-3", "warmup": 1},
    "decay": {"schedule": "decay:0.5"},
    "folds": {"folds": 2},
    "validation": {"validation": 0.3, "patience": 3},
}


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", CENTRAL)
def test_more_epochs_equal_one_longer_run(tmp_path: Path, name: str, seed: int) -> None:
    ticks: list[tuple[int, int, str]] = []
    how: dict[str, Any] = {"settings": SETTINGS, "seed": seed, **CENTRAL[name]}
    train(clips(), out=tmp_path / "long", epochs=5, **how)
    train(clips(), out=tmp_path / "run", epochs=2, **how)
    train(clips(), out=tmp_path / "run", epochs=5, resume=True, progress=watch(ticks), **how)
    assert_same(tmp_path / "long", tmp_path / "run")
    assert [note for _, _, note in ticks[:2]] == ["", ""]  # two epochs were not trained again


FEDERATED: dict[str, dict[str, Any]] = {
    "fedavg": {"clients_per_round": 2},
    "feddyn": {"strategy": "feddyn"},
    "personal": {"strategy": "personal:private=4"},
    "decay": {"schedule": "decay:0.5", "folds": 2},
    "validation": {"validation": 0.3, "patience": 2, "strategy": "personal:private=4"},
}


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", FEDERATED)
def test_more_rounds_equal_one_longer_run(tmp_path: Path, name: str, seed: int) -> None:
    how: dict[str, Any] = {"settings": SETTINGS, "epochs": 1, "clients": 3, "seed": seed}
    how |= FEDERATED[name]
    federate(clips(), out=tmp_path / "long", rounds=4, **how)
    federate(clips(), out=tmp_path / "run", rounds=2, **how)
    federate(clips(), out=tmp_path / "run", rounds=4, resume=True, **how)
    assert_same(tmp_path / "long", tmp_path / "run")


def test_a_network_goes_on_too(tmp_path: Path) -> None:
    store = coloured_store(tmp_path / "store", num_clips=9)
    settings = network_config(batch_size=6, schedule="constant")
    how: dict[str, Any] = {"head": "correlation:layers=1-1-1-1,width=16", "settings": settings}
    train_network(store, out=tmp_path / "long", epochs=2, **how)
    train_network(store, out=tmp_path / "run", epochs=1, **how)
    train_network(store, out=tmp_path / "run", epochs=2, resume=True, **how)
    assert (tmp_path / "long" / "model.safetensors").read_bytes() == (
        tmp_path / "run" / "model.safetensors"
    ).read_bytes()


class StoppedError(Exception):
    """In the place of a kill."""


def test_a_run_that_was_stopped_while_going_on_is_not_taken_for_the_shorter_one(
    tmp_path: Path,
) -> None:
    def stop(stage: str, done: int, total: int, note: str = "") -> None:
        if note:
            raise StoppedError

    out, how = tmp_path / "run", {"settings": SETTINGS}
    train(clips(), out=tmp_path / "long", epochs=5, **how)
    train(clips(), out=out, epochs=2, **how)
    with pytest.raises(StoppedError):
        train(clips(), out=out, epochs=5, resume=True, progress=stop, **how)
    assert not (out / "summary.json").exists()
    with pytest.raises(UsageError, match=r"is a run with settings=.*run without --resume"):
        train(clips(), out=out, epochs=2, resume=True, **how)
    train(clips(), out=out, epochs=5, resume=True, **how)
    assert_same(tmp_path / "long", out)


@pytest.mark.parametrize("job", [train, federate])
def test_a_cosine_does_not_go_on(tmp_path: Path, job: Any) -> None:
    unit = "rounds" if job is federate else "epochs"
    how: dict[str, Any] = {"settings": SETTINGS, "schedule": "cosine"}
    if job is federate:
        how |= {"clients": 2, "epochs": 1}
    job(clips(), out=tmp_path / "run", **{unit: 2}, **how)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    said = rf"run with {unit}=2 and schedule='cosine', .* the last of the {unit}: going on to"
    with pytest.raises(UsageError, match=said):
        job(clips(), out=tmp_path / "run", resume=True, **{unit: 3}, **how)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


@pytest.mark.parametrize(
    "change", [{"epochs": 1}, {"epochs": 5, "learning_rate": 0.1}, {"epochs": 5, "seed": 1}]
)
def test_fewer_epochs_or_more_with_other_settings_are_refused(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    train(clips(), out=tmp_path / "run", epochs=2, settings=SETTINGS)
    with pytest.raises(UsageError, match=r"is a run with (settings|seed)=.*run without --resume"):
        train(clips(), out=tmp_path / "run", resume=True, settings=SETTINGS, **change)


def test_a_run_without_its_last_state_is_trained_again_to_the_same_bits(tmp_path: Path) -> None:
    train(clips(), out=tmp_path / "long", epochs=3, settings=SETTINGS)
    train(clips(), out=tmp_path / "run", epochs=2, settings=SETTINGS)
    (tmp_path / "run" / "state-0.safetensors").unlink()
    train(clips(), out=tmp_path / "run", epochs=3, settings=SETTINGS, resume=True)
    assert_same(tmp_path / "long", tmp_path / "run")
