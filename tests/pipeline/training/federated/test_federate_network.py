"""Nets that clients train together, each on clips of its own."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from typer.testing import CliRunner

from kinestore import federated
from kinestore.__main__ import app
from kinestore.federated.client_data import LocalData, LocalSamples
from kinestore.federated.config import RoundsConfig
from kinestore.federated.simulation import History, simulate_clients
from kinestore.heads import TrainingConfig
from kinestore.heads.support.seeds import derive_seed
from kinestore.heads.training.loop import Training
from kinestore.heads.training.processes import ONE_PROCESS
from kinestore.pipeline.training.config import EvaluationViews
from kinestore.progress import Progress
from kinestore.store import Store, UsageError
from tests.helpers.filmed import coloured_store
from tests.helpers.jobs import federate_network, network_config, watch
from tests.helpers.tiny_networks import InMemory, Tiny, examples, noise, tiny
from tests.helpers.trained import metrics

NET = "differential:layers=1-1-1-1,width=16,strides=,dropout=0.1"
LOCAL = network_config(epochs=1, batch_size=4, learning_rate=0.02, schedule="constant")


def clients(
    source: InMemory, *parts: list[int], settings: TrainingConfig = LOCAL
) -> list[LocalData]:
    given = examples(source)
    return [LocalSamples(samples=given.subset(np.array(part)), config=settings) for part in parts]


def together(*parts: list[int], net: nn.Module | None = None, **how: Any) -> History:
    source = noise(1 + max(map(max, parts)))
    settings = how.pop("settings", LOCAL)
    return simulate_clients(
        net or tiny(),
        clients(source, *parts, settings=settings),
        config=RoundsConfig(**{"rounds": 1, **how}),
    )


def test_one_client_and_one_round_equal_central_training() -> None:
    settings = network_config(epochs=2, batch_size=4, learning_rate=0.05)
    history = together(list(range(9)), settings=settings, seed=6)
    seed, central = derive_seed("client", 6, 1, 0), tiny()
    training = Training(central, examples(noise(9)), config=settings, seed=seed)
    for number in (1, 2):
        training.epoch(number, np.arange(9))
    assert history.state.keys() == central.state_dict().keys()
    for name, array in central.state_dict().items():
        # in float64 even the average of one is rounded
        torch.testing.assert_close(history.state[name], array, rtol=1e-15, atol=0)


def test_a_pull_of_nothing_changes_no_bit_and_a_strong_one_holds_the_clients_back() -> None:
    parts = [0, 1, 2, 3], [4, 5, 6]

    def moved(name: str, **settings: float) -> float:
        state = together(*parts, strategy=federated.create(name, **settings)).state
        start = tiny().state_dict()
        return sum(float((state[name] - start[name]).norm()) for name in start)

    plain = moved("fedavg")
    assert moved("fedprox", mu=0.0) == plain > 0
    # the first step of a round is pulled by nothing; more steps than one are needed
    assert moved("fedprox", mu=20.0) == pytest.approx(plain, rel=1e-12)
    longer = network_config(epochs=6, batch_size=4, learning_rate=0.02, schedule="constant")
    free, held = (
        together(*parts, settings=longer, strategy=federated.create("fedprox", mu=mu)).state
        for mu in (0.0, 20.0)
    )
    start = tiny().state_dict()
    for name in start:
        assert (held[name] - start[name]).norm() < 0.8 * (free[name] - start[name]).norm()


def test_a_clients_own_parts_stay_with_it() -> None:
    strategy = federated.create("personal", private=("conv",))
    history = together(
        [0, 1, 2], [3, 4, 5], [6, 7], strategy=strategy, rounds=2, clients_per_round=2
    )
    assert history.shared == {"classifier.weight", "classifier.bias"}
    took_part = {client for record in history.rounds for client in record.participants}
    assert history.private.keys() == took_part
    for kept in history.private.values():
        assert kept.keys() == {"conv.weight", "conv.bias"}
        assert not torch.equal(kept["conv.weight"], tiny().conv.weight)
    first, *others = history.private.values()
    assert not any(torch.equal(first["conv.weight"], kept["conv.weight"]) for kept in others)
    assert torch.equal(history.state["conv.weight"], tiny().conv.weight)  # of nobody yet
    sent = sum(p.numel() for p in tiny().classifier.parameters())
    assert [record.parameters_up for record in history.rounds] == [2 * sent, 2 * sent]


class BreaksOn(Tiny):
    """Gives NaN for clips that are bright."""

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        logits = super().forward(frames)
        return logits * torch.nan if float(frames.mean()) > 1 else logits


def test_a_client_that_diverges_is_refused_and_the_others_go_on() -> None:
    source = noise(6)
    for clip_id in source.clip_ids[:3]:
        source.training(clip_id, seed=0)[:] = 255
    torch.manual_seed(0)
    net = BreaksOn()
    history = simulate_clients(
        net, clients(source, [0, 1, 2], [3, 4, 5]), config=RoundsConfig(rounds=1)
    )
    (record,) = history.rounds
    assert [refusal.client for refusal in record.refusals] == [0]
    assert "holds NaN or infinity" in record.refusals[0].reason
    assert np.isfinite(record.train_loss)
    (alone,) = clients(source, [3, 4, 5])
    reference = tiny()
    alone.fit(reference, seed=derive_seed("client", 0, 1, 1), on_gradients=None)
    learnt = history.state["conv.weight"]
    torch.testing.assert_close(learnt, reference.conv.weight.detach(), rtol=1e-15, atol=0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return coloured_store(tmp_path_factory.mktemp("nets") / "store", num_clips=36)


def federate(store: Store, out: Path, **changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "input": "frames",
        "head": NET,
        "clients": 3,
        "rounds": 3,
        "settings": LOCAL,
    }
    return federate_network(store, out=out, **{**given, **changes})


PERSONAL: dict[str, Any] = {
    "head": "differential:layers=1-1-1-1,width=16,strides=",
    "strategy": "personal:private=local",
    "clients_per_round": 2,
    "rounds": 4,
}


class Stopped(Exception):
    """What ends a run early."""


def stop_after(rounds: int) -> Progress:
    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        if done == rounds:
            raise Stopped

    return progress


def test_a_stopped_run_goes_on_to_the_same_bytes(store: Store, tmp_path: Path) -> None:
    federate(store, tmp_path / "whole", **PERSONAL)
    with pytest.raises(Stopped):
        federate(store, tmp_path / "cut", checkpoint_every=1, progress=stop_after(2), **PERSONAL)
    ticks: list[tuple[int, int, str]] = []
    federate(
        store,
        tmp_path / "cut",
        resume=True,
        progress=watch(ticks),
        **PERSONAL,
    )
    assert [done for done, *_ in ticks] == [1, 2, 3, 4]
    whole, cut = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut"))
    assert whole == cut
    kept = load_file(tmp_path / "whole" / "model.safetensors")
    private = {name.split(".")[2] for name in kept if name.startswith("client.")}
    assert private == {"local"}
    with pytest.raises(UsageError, match=r"is a run with size=35, not 38; repeat its command"):
        federate(store, tmp_path / "cut", resume=True, size=38, **PERSONAL)


def test_a_run_of_another_net_is_told_from_its_summary(store: Store, tmp_path: Path) -> None:
    summary = federate(store, tmp_path, views=EvaluationViews(num_crops=3))
    assert (summary["num_train"], summary["num_test"]) == (29, 7)
    assert summary["client_sizes"] == [10, 10, 9]
    assert summary["settings"]["learning_rate"] == 0.02 and summary["test_views"]["crops"] == 3
    assert summary["standardise_bytes_up"] == 0
    sent = json.loads((tmp_path / "communication.json").read_text())
    assert sent["shared_parameters"] == sent["head_parameters"]
    assert [row["round"] for row in metrics(tmp_path)] == ["1", "2", "3"]
    again = federate(store, tmp_path, views=EvaluationViews(num_crops=3), resume=True)
    assert again == summary


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["fedavg", "personal:private=local"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_clients_learn_what_their_clips_show(
    store: Store, tmp_path: Path, strategy: str, seed: int
) -> None:
    summary = federate(store, tmp_path, strategy=strategy, rounds=15, seed=seed)
    assert summary["top1"] >= 6 / 7  # chance is 1/3


def test_every_option_reaches_the_run(store: Store, tmp_path: Path) -> None:
    asked = ["federate", store.path, "--input", "frames", "--head", NET, "--out", tmp_path / "run"]
    asked += ["--strategy", "fedprox:mu=0.1", "--clients", 2, "--rounds", 2, "--local-epochs", 2]
    asked += [
        "--batch-size",
        5,
        "--learning-rate",
        0.03,
        "--weight-decay",
        0.001,
        "--clients-per-round",
        1,
    ]
    asked += ["--accumulate", 2, "--precision", "float32", "--device", "cpu", "--size", 36]
    asked += ["--test-crops", 3, "--flip-pair", "red,green", "--seed", 4, "--json"]
    done = CliRunner().invoke(app, [str(word) for word in asked], catch_exceptions=False)
    summary = json.loads(done.output)
    assert summary["settings"] == {
        "epochs": 2,
        "batch_size": 5,
        "learning_rate": 0.03,
        "optimizer": "sgd",
        "momentum": 0.9,
        "weight_decay": 0.001,
        "schedule": "constant",
        "warmup": 0,
        "clip_gradients": 20.0,
        "accumulate": 2,
        "activation_checkpointing": False,
        "nesterov": False,
        "classifier_lr": 1.0,
        "freeze": None,
        "label_smoothing": 0.0,
        "standardize": "train",
        "weights": None,
        "recipe": None,
        "precision": "float32",
        "class_weights": None,
        "device": "cpu",
    }
    assert (summary["strategy"], summary["clients"], summary["rounds"]) == ("fedprox:mu=0.1", 2, 2)
    assert (summary["clients_per_round"], summary["size"], summary["seed"]) == (1, 36, 4)
    assert summary["flip_pairs"] == ["red,green"]
    assert summary["test_views"] == {
        "clips": 1,
        "crops": 3,
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"strategy": "personal:private=nothing"},
            "='nothing': the head has local, stages, classifier to train$",
        ),
        ({"clients": 40}, "clients=40"),
        ({"size": 400}, "size=400: must be from 1 to 40"),
        ({"head": "mlp"}, "head='mlp': takes embeddings"),
        ({"head": "differential"}, "strides="),
        ({"rounds": 0}, "rounds=0: must be 1 or more"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    store: Store, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        federate(store, tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_torchrun_is_refused(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def two(device: str) -> Any:
        from contextlib import nullcontext
        from dataclasses import replace

        return nullcontext(replace(ONE_PROCESS, count=2))

    monkeypatch.setattr("kinestore.heads.training.processes.join_processes", two)
    with pytest.raises(UsageError, match="torchrun: 2 processes, and clients are simulated in one"):
        federate(store, tmp_path / "run")
