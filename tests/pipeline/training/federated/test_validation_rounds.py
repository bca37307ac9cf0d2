"""Validation parts of federated jobs, the round that they choose, patience and class weights."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from kinestore.heads import TrainingConfig
from kinestore.pipeline.runs.client_partition import read_client_partition
from kinestore.store import UsageError
from tests.helpers.jobs import federate
from tests.helpers.reported import without_pictures
from tests.helpers.trained import clips, metrics

QUICK = TrainingConfig(epochs=2, batch_size=16, learning_rate=0.2, device="cpu")
HEAD = {"head": "mlp:hidden=8", "clients": 3}
MARKS = ["train", "train", "val", "test", "train"] * 12


@pytest.fixture(scope="module", autouse=True)
def _no_pictures() -> Iterator[None]:
    yield from without_pictures()


def noisy(seed: int, marks: list[str] = MARKS) -> Any:
    """Clips whose class is hard to tell, so that long training raises the validation loss."""
    rows = clips(seed, splits=marks)
    rows.features[:, :3] *= 0.3
    return rows


@pytest.mark.parametrize("strategy", ["fedavg", "personal:private=2"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_kept_model_is_that_of_a_run_that_ends_with_the_chosen_round(
    tmp_path: Path, strategy: str, seed: int
) -> None:
    how = {**HEAD, "settings": QUICK, "seed": seed, "strategy": strategy}
    found = federate(noisy(seed), out=tmp_path / "chosen", rounds=5, **how)
    rows = metrics(tmp_path / "chosen")
    losses = [float(row["validation_loss"]) for row in rows]
    best = int(np.argmin(losses)) + 1
    assert found["best_rounds"] == {"test": best}
    assert found["best_and_last"]["chosen_on_validation"]["steps"] == {"test": best}
    assert found["num_validation"] == 12
    unmarked = noisy(seed, [mark.replace("val", "unused") for mark in MARKS])
    short = federate(unmarked, out=tmp_path / "short", rounds=best, **how)
    assert (found["top1"], short["best_and_last"]["chosen_on_validation"]) == (short["top1"], None)
    saved = [(tmp_path / run / "model.safetensors").read_bytes() for run in ("chosen", "short")]
    assert saved[0] == saved[1]


def test_the_validation_loss_is_the_cross_entropy_of_the_kept_model(tmp_path: Path) -> None:
    rows = noisy(1)
    found = federate(rows, out=tmp_path, rounds=3, settings=QUICK, **HEAD)
    model = {
        name: array.double() for name, array in load_file(tmp_path / "model.safetensors").items()
    }
    part = np.array(MARKS) == "val"
    scaled = torch.from_numpy(rows.features[part]).double() - model["standardise.mean"]
    std = model["standardise.std"]
    hidden = scaled / torch.where(std > 0, std, 1)  # one column never varies
    layers = sorted({name.rpartition(".")[0] for name in model if name.endswith(".weight")})
    for place, layer in enumerate(layers):
        hidden = hidden @ model[f"{layer}.weight"].T + model[f"{layer}.bias"]
        hidden = hidden.relu() if place < len(layers) - 1 else hidden
    labels = torch.from_numpy(rows.labels[part])
    kept = metrics(tmp_path)[found["best_rounds"]["test"] - 1]
    expected = torch.nn.functional.cross_entropy(hidden, labels).item()
    assert float(kept["validation_loss"]) == pytest.approx(expected, abs=1e-5)
    accuracy = float((hidden.argmax(1) == labels).double().mean())
    assert float(kept["validation_accuracy"]) == accuracy


@pytest.mark.parametrize("choice", [{}, {"folds": 2}, {"cv": "group"}])
def test_no_client_trains_on_a_validation_clip(tmp_path: Path, choice: dict[str, Any]) -> None:
    marks: list[Any] = [None] * 60
    found = federate(
        noisy(0, marks), out=tmp_path, rounds=4, settings=QUICK, validation=0.3, patience=2,
        **HEAD, **choice,
    )  # fmt: skip
    by_fold: dict[str, list[float]] = {}
    for row in metrics(tmp_path):
        by_fold.setdefault(row["fold"], []).append(float(row["validation_loss"] or "nan"))
    assert by_fold.keys() - {"all"} == found["best_rounds"].keys()
    for fold, best in found["best_rounds"].items():
        assert int(np.argmin(by_fold[fold])) + 1 == best
        assert len(by_fold[fold]) == min(4, best + 2)
    if choice:  # the model of all clips takes the mean of the folds' rounds
        assert len(by_fold["all"]) == round(float(np.mean(list(found["best_rounds"].values()))))
        assert found["num_train"] == 60
        return
    seen = pq.read_table(tmp_path / "training_clips.parquet").to_pydict()
    parts = dict(zip(seen["clip_id"], seen["part"], strict=True))
    held = {clip for clip, part in parts.items() if part == "validation"}
    assert len(held) == found["num_validation"] == 14
    assert not held & read_client_partition(tmp_path).keys()
    assert found["num_train"] + found["num_validation"] + found["num_test"] == 60
    assert found["num_left_out"] == 0


def test_without_validation_metrics_have_no_empty_columns(tmp_path: Path) -> None:
    marks: list[Any] = [None] * 60
    found = federate(noisy(0, marks), out=tmp_path, rounds=1, settings=QUICK, **HEAD)
    assert "validation_loss" not in metrics(tmp_path)[0]
    assert "best_rounds" not in found
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["validation"] is config["patience"] is None


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"patience": 3}, "patience=3: there is no validation part; give validation=0.2"),
        (
            {"partition": "group", "strategy": "personal:private=2"},
            "partition='group': no validation clip belongs to a client",
        ),
        (
            {"class_weights": "balanced", "strategy": "fedavg:clip=1,noise=1"},
            "class_weights='balanced': come from the clients' counts",
        ),
    ],
)  # fmt: skip
def test_a_choice_without_a_meaning_is_refused(
    tmp_path: Path, choice: dict[str, Any], said: str
) -> None:
    asked = {**HEAD, "settings": QUICK, "rounds": 2, **choice}
    marks: list[Any] = [None] * 60
    if "private" in str(choice):  # one whole group is for validation, and so no client's
        kinds = ["val" if row // 3 % 4 == 0 else "train" for row in range(60)]
        marks = ["test" if row > 50 and kinds[row] == "train" else kinds[row] for row in range(60)]
    with pytest.raises(UsageError, match=said):
        federate(noisy(0, marks), out=tmp_path / "run", **asked)
    assert not (tmp_path / "run").exists()


def test_class_weights_come_from_the_training_clips_of_all_clients(tmp_path: Path) -> None:
    rows = noisy(0, [None] * 60)  # type: ignore[list-item]
    how = {**HEAD, "settings": QUICK, "rounds": 2}
    even = [tmp_path / name for name in ("even", "weighted")]
    for run, weights in zip(even, [None, "balanced"], strict=True):
        federate(rows, out=run, class_weights=weights, **how)
    plain, weighted = (load_file(run / "model.safetensors") for run in even)
    assert all(torch.allclose(plain[name], weighted[name], atol=1e-5) for name in plain)
    rare = rows.select(np.flatnonzero((rows.labels != 2) | (np.arange(60) % 5 == 0)))
    recall, slow = {}, {**how, "settings": replace(QUICK, learning_rate=0.01)}
    for weights in (None, "balanced"):
        found = federate(rare, out=tmp_path / "rare", class_weights=weights, folds=3, **slow)
        recall[weights] = found["macro_recall"]
    assert recall["balanced"] > recall[None]
