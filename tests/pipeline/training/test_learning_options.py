"""The options of learning: the same in each job, and each reaches what learns."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from typer.main import get_command
from typer.testing import CliRunner

from kinestore import federated as learning_together
from kinestore.__main__ import app
from kinestore.federated.simulation import SimulationOptions, simulate
from kinestore.heads import TrainingConfig, create
from kinestore.store import Store, UsageError
from tests.helpers.embedded import embedded_store
from tests.helpers.jobs import federate, train
from tests.helpers.trained import clips, metrics, saved_weights

SEEDS = (0, 1, 2)

GIVEN: dict[str, tuple[object, ...]] = {
    "optimizer": ("--optimizer", "sgd"),
    "momentum": ("--momentum", 0),
    "batch_size": ("--batch-size", 7),
    "learning_rate": ("--learning-rate", 0.02),
    "weight_decay": ("--weight-decay", 0.003),
    "schedule": ("--schedule", "decay:0.9"),
    "warmup": ("--warmup", 1),
    "clip_gradients": ("--clip-gradients", 3),
    "label_smoothing": ("--label-smoothing", 0.1),
    "standardize": ("--standardise", "none"),
    "classifier_lr": ("--classifier-lr", 5),
    "accumulate": ("--accumulate", 2),
    "precision": ("--precision", "bfloat16"),
    "device": ("--device", "cpu"),
}
WANTED = {
    "optimizer": "sgd",
    "momentum": 0.0,
    "batch_size": 7,
    "learning_rate": 0.02,
    "weight_decay": 0.003,
    "schedule": "decay:0.9",
    "warmup": 1,
    "clip_gradients": 3.0,
    "label_smoothing": 0.1,
    "standardize": "none",
    "classifier_lr": 5.0,
    "accumulate": 2,
    "precision": "bfloat16",
    "device": "cpu",
}
JOBS = {"train": ["--epochs", 2], "federate": ["--rounds", 2, "--local-epochs", 1, "--clients", 2]}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return embedded_store(tmp_path_factory.mktemp("embedded") / "store")


def command(job: str, store: Store, out: Path, *more: object) -> dict[str, Any]:
    """What a job says of itself as JSON; its errors are raised."""
    asked = [job, store.path, "--features", "vector", "--out", out, *JOBS[job], "--json", *more]
    done = CliRunner().invoke(app, list(map(str, asked)), catch_exceptions=False)
    if done.exit_code:
        raise RuntimeError(done.output)
    return dict(json.loads(done.output))


@pytest.mark.parametrize("job", JOBS)
def test_both_jobs_take_every_option_of_learning(store: Store, tmp_path: Path, job: str) -> None:
    options = [word for pair in GIVEN.values() for word in pair]
    settings = command(job, store, tmp_path / "run", *options)["settings"]
    assert {name: settings[name] for name in WANTED} == WANTED


def test_the_options_of_learning_have_the_same_names_and_texts_in_both_jobs() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    described = {
        job: {p.name: (p.opts, p.help) for p in commands[job].params if p.name in settings}
        for job in JOBS
        for settings in [{*WANTED, "nesterov", "freeze", "validation", "patience", "resume"}]
    }
    described["federate"]["resume"] = described["train"]["resume"]
    assert described["train"] == described["federate"]
    assert len(described["train"]) == len(WANTED) + 5


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--momentum", 0.5], "momentum=0.5: adam has none; give --optimizer sgd"),
        (["--nesterov"], "nesterov=True: needs optimizer='sgd'"),
        (["--clip-gradients", "off"], "clip_gradients='off': must be a number above 0, or none"),
        (["--optimizer", "lion"], "optimizer='lion': must be adam"),
        (["--activation-checkpointing"], "activation_checkpointing is for networks on frames"),
        (["--device", "tpu"], "device='tpu': must be auto, cpu or cuda"),
        (["--warmup", 2], "warmup=2: must be 0 or more and below (epochs|rounds)=2"),
    ],
)
def test_an_option_without_effect_is_refused(
    store: Store, tmp_path: Path, job: str, given: list[object], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        command(job, store, tmp_path / "run", *given)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize("job", JOBS)
def test_the_device_reaches_heads(store: Store, tmp_path: Path, job: str) -> None:
    with pytest.raises(UsageError, match="device='cuda': torch finds no usable GPU"):
        command(job, store, tmp_path / "run", "--device", "cuda")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("job", [train, federate])
def test_features_that_are_not_scaled_are_learnt_as_they_are_stored(
    tmp_path: Path, job: Any, seed: int
) -> None:
    short: dict[str, Any] = {"epochs": 2, "standardize": "none", "seed": seed}
    if job is federate:
        short |= {"rounds": 2, "clients": 2, "device": "cpu"}
    summary = job(clips(seed), out=tmp_path / "run", **short)
    scaling = load_file(tmp_path / "run" / "model.safetensors")
    assert torch.equal(scaling["standardise.mean"], torch.zeros(10).double())
    assert torch.equal(scaling["standardise.std"], torch.ones(10).double())
    head = create("mlp", in_features=10, num_classes=3)
    head.load_state_dict(saved_weights(tmp_path / "run"))
    with torch.inference_mode():
        right = head.eval()(torch.from_numpy(clips(seed).features)).argmax(1).numpy()
    assert summary["top1"] <= (right == clips(seed).labels).mean() * 60 / 12
    if job is federate:
        assert summary["standardise_bytes_up"] == summary["standardise_bytes_down"] == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_raw_features_train_as_features_that_have_mean_0_and_deviation_1(
    tmp_path: Path, seed: int
) -> None:
    rows = clips(seed)
    test = np.arange(60) % 5 == 0
    rows.splits[:] = ["test" if each else "train" for each in test]
    values = rows.features
    rows.features[:] = (values - values[~test].mean(0)) / np.maximum(values[~test].std(0), 1e-3)
    figures = []
    for standardize in ("none", "train"):
        out = tmp_path / standardize
        train(rows, out=out, epochs=2, standardize=standardize, seed=seed)
        figures.append([float(row["train_loss"]) for row in metrics(out)])
    # scaling twice moves the last bits alone
    np.testing.assert_allclose(figures[0], figures[1], rtol=1e-4)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_learning_rate_of_clients_follows_the_rounds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = torch.from_numpy(rng.normal(size=(8, 4)).astype(np.float32))
    labels = torch.from_numpy(rng.integers(0, 3, 8))
    torch.manual_seed(seed)
    model = nn.Linear(4, 3)
    first = {name: value.clone() for name, value in model.state_dict().items()}
    settings = TrainingConfig(
        epochs=2, batch_size=8, optimizer="sgd", momentum=0.0, weight_decay=0.0, learning_rate=0.5,
        schedule="decay:0.5", warmup=1,
    )  # fmt: skip
    options = SimulationOptions(device="cpu")
    done = simulate(
        model,
        features,
        labels,
        [np.arange(8)],
        rounds=3,
        settings=settings,
        options=options,
    )
    model.load_state_dict(first)
    for rate in (0.25, 0.5, 0.25):  # half of it in the round of the warm-up, then 1 and 1/2 of it
        for _ in range(settings.epochs):
            loss = nn.functional.cross_entropy(model(features), labels)
            slopes = torch.autograd.grad(loss, list(model.parameters()))
            with torch.no_grad():
                for weight, slope in zip(model.parameters(), slopes, strict=True):
                    weight.sub_(rate * slope)
    torch.testing.assert_close(done.state, dict(model.state_dict()), rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_clients_of_fedprox_leave_a_frozen_trunk_as_it_is(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = torch.from_numpy(rng.normal(size=(12, 4)).astype(np.float32))
    labels = torch.from_numpy(rng.integers(0, 3, 12))
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    first = {name: value.clone() for name, value in model.state_dict().items()}
    done = simulate(
        model,
        features,
        labels,
        [np.arange(6), np.arange(6, 12)],
        rounds=2,
        strategy=learning_together.create("fedprox", mu=0.5),
        settings=TrainingConfig(epochs=2, freeze="trunk", learning_rate=0.1),
        options=SimulationOptions(device="cpu"),
    )
    for name, value in done.state.items():
        assert torch.equal(value, first[name]) == (not name.startswith("3.")), name
