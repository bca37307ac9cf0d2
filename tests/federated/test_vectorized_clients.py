"""Vectorized clients learn what they learn one after another."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kinestore.federated import ClientState, ProximalTerm
from kinestore.federated import local_clients as _local_clients
from kinestore.federated.client_data import LocalSamples
from kinestore.federated.client_update import LocalConfig, LocalResult, local_update
from kinestore.federated.simulation import History, SimulationOptions, simulate
from kinestore.federated.vectorized_clients import VectorizedClients, can_vectorize
from kinestore.heads import FeatureSamples, TrainingConfig, create
from kinestore.pipeline.training.model_spec import read_strategy
from tests.helpers.known_noise import fix_noise

WIDTH, CLASSES = 6, 4
SIZES = (1, 5, 20, 13)
SETTINGS = TrainingConfig(epochs=3, batch_size=8, learning_rate=1e-2, weight_decay=1e-2)
CPU = torch.device("cpu")


def rows(size: int, seed: int, settings: TrainingConfig = SETTINGS) -> LocalSamples:
    rng = torch.Generator().manual_seed(seed)
    return LocalSamples(
        samples=FeatureSamples(
            features=torch.randn(size, WIDTH, generator=rng, dtype=torch.float64),
            labels=torch.randint(CLASSES, (size,), generator=rng),
        ),
        config=settings,
    )


def model(**settings: Any) -> nn.Module:
    settings = {"hidden": (7, 5), **settings}
    return create("mlp", in_features=WIDTH, num_classes=CLASSES, **settings).double()


def arrays_of(net: nn.Module) -> dict[str, Tensor]:
    return {name: array.detach().clone() for name, array in net.state_dict().items()}


def same(vectorized: LocalResult, alone: LocalResult) -> None:
    assert vectorized.update.client == alone.update.client
    assert vectorized.update.num_samples == alone.update.num_samples
    for name in ("loss", "accuracy", "top5"):
        own = getattr(vectorized.last, name)
        assert own == pytest.approx(getattr(alone.last, name), rel=1e-9)
    for one, other in (
        (vectorized.update.arrays, alone.update.arrays),
        (vectorized.state.private, alone.state.private),
        (vectorized.state.correction, alone.state.correction),
    ):
        assert list(one) == list(other)
        for name in one:
            torch.testing.assert_close(one[name], other[name], atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("pulls", [(0.0,) * 4, (0.3, 0.0, 0.1, 2.0)], ids=["free", "pulled"])
@pytest.mark.parametrize("private", [(), ("0.weight", "0.bias")], ids=["all shared", "personal"])
def test_each_client_ends_where_it_would_alone(
    pulls: tuple[float, ...], private: tuple[str, ...]
) -> None:
    net = model()
    clients = [rows(size, seed) for seed, size in enumerate(SIZES)]
    slots = VectorizedClients(net, clients, proximal=any(pulls), device=CPU)
    arrays = {name: array for name, array in arrays_of(net).items() if name not in private}
    states = [
        ClientState(
            private={name: array for name, array in arrays_of(model()).items() if name in private},
            correction={name: array * 0.1 for name, array in arrays.items()} if client else {},
        )
        for client in range(len(SIZES))
    ]
    for number in (1, 2):  # the second time in the same memory
        configs = [
            LocalConfig(
                client=client,
                round_number=number,
                term=ProximalTerm(coefficient=pull, dynamic=True),
                clip=0.02,
                seed=7,
            )
            for client, pull in enumerate(pulls)
        ]
        together = slots.update(arrays, configs, states)
        for result, config, state in zip(together, configs, states, strict=True):
            same(
                result,
                local_update(arrays, config, state, model=net, data=clients[config.client]),
            )


def test_a_round_may_have_fewer_clients_or_none() -> None:
    net, clients = model(), [rows(size, seed) for seed, size in enumerate(SIZES)]
    slots = VectorizedClients(net, clients, proximal=False, device=CPU)
    arrays = arrays_of(net)
    assert slots.update(arrays, [], []) == []
    for chosen in ((3,), (0, 2), (1, 2, 3)):
        configs = [LocalConfig(client=client, round_number=1, seed=0) for client in chosen]
        states = [ClientState()] * len(chosen)
        for result, config in zip(slots.update(arrays, configs, states), configs, strict=True):
            data = clients[config.client]
            same(result, local_update(arrays, config, ClientState(), model=net, data=data))


def test_without_an_epoch_the_weights_stay_and_there_is_no_loss() -> None:
    settings = TrainingConfig(epochs=0)
    net, clients = model(), [rows(3, 0, settings), rows(2, 1, settings)]
    slots = VectorizedClients(net, clients, proximal=False, device=CPU)
    configs = [LocalConfig(client=client, round_number=1, seed=0) for client in (0, 1)]
    for result in slots.update(arrays_of(net), configs, [ClientState()] * 2):
        assert math.isnan(result.last.loss)
        for name, array in result.update.arrays.items():
            assert torch.equal(array, net.state_dict()[name])


def test_one_client_that_diverges_takes_no_other_along() -> None:
    net = model()
    clients = [rows(9, 0), rows(9, 1)]
    samples = clients[0].samples
    assert isinstance(samples, FeatureSamples)
    samples.features[4] = torch.inf
    slots = VectorizedClients(net, clients, proximal=False, device=CPU)
    configs = [LocalConfig(client=client, round_number=1, seed=0) for client in (0, 1)]
    broken, sound = slots.update(arrays_of(net), configs, [ClientState()] * 2)
    assert not all(array.isfinite().all() for array in broken.update.arrays.values())
    same(sound, local_update(arrays_of(net), configs[1], ClientState(), model=net, data=clients[1]))


@pytest.fixture
def vectorized_on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs train as on a GPU, on the CPU."""

    def vectorize(self: _local_clients.LocalClients, device: torch.device) -> VectorizedClients:
        clients = [data for data in self._data if isinstance(data, LocalSamples)]
        assert can_vectorize(self._model, clients)
        term = self._config.algorithm.strategy.proximal_term(1.0)
        return VectorizedClients(self._model, clients, proximal=bool(term.coefficient), device=CPU)

    monkeypatch.setattr(_local_clients.LocalClients, "_vectorize", vectorize)


def run(strategy: str, head: str, *, device: str = "cpu", **settings: Any) -> History:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % CLASSES
    features = rng.standard_normal((60, WIDTH), np.float32) + np.eye(CLASSES, WIDTH)[labels]
    net = create(head, in_features=WIDTH, num_classes=CLASSES, **settings)
    return simulate(
        net,
        features.astype(np.float32),
        labels,
        np.split(np.arange(60), [7, 20, 45]),
        rounds=2,
        strategy=read_strategy(strategy),
        settings=replace(SETTINGS, learning_rate=1e-3),
        options=SimulationOptions(
            clients_per_round=3, test=(features.astype(np.float32), labels), device=device
        ),
    )


RUNS = [
    ("fedavg", "mlp", {"hidden": (8,)}),
    ("fedprox:mu=0.1", "mlp", {"hidden": (8,)}),
    ("feddyn:alpha=0.1", "mlp", {"hidden": (8,)}),
    ("personal:private=0", "mlp", {"hidden": (8,)}),
    ("fedavg:clip=1,noise=0.1", "mlp", {"hidden": (8,)}),
    ("feddyn:alpha=0.1,clip=0.05", "mlp", {"hidden": (8,)}),
    ("fedavg", "gated_fusion", {"widths": (4, 2), "hidden": (8,)}),
]


@pytest.mark.parametrize(("strategy", "head", "settings"), RUNS)
def test_whole_runs_agree(
    strategy: str,
    head: str,
    settings: dict[str, Any],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fix_noise(monkeypatch)
    alone = run(strategy, head, **settings)
    request.getfixturevalue("vectorized_on_cpu")
    together = run(strategy, head, **settings)
    for one, other in zip(together.rounds, alone.rounds, strict=True):
        assert one.participants == other.participants
        assert one.bytes_up == other.bytes_up
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-3)
    # float32, and Adam divides by what may be next to nothing: some 12 steps of 0.001 a round
    for name, array in together.state.items():
        torch.testing.assert_close(array, alone.state[name], atol=2e-3, rtol=1e-3)
    assert together.private.keys() == alone.private.keys()


def test_what_cannot_be_vectorized_is_left_to_one_after_another() -> None:
    clients = [rows(3, 0)]
    assert can_vectorize(model(), clients)
    assert not can_vectorize(
        nn.Sequential(nn.Linear(WIDTH, 4), nn.BatchNorm1d(4)).double(), clients
    )
    assert not can_vectorize(nn.Sequential(nn.Linear(WIDTH, 4), nn.Dropout()).double(), clients)
    sequences = [
        LocalSamples(
            samples=FeatureSamples(features=torch.randn(3, 4, 5), labels=torch.arange(3)),
            config=SETTINGS,
        )
    ]
    for head in ("temporal_actionclip", "temporal_rnn", "temporal_transformer"):
        net = create(head, in_features=5, num_classes=3)
        assert not can_vectorize(net, sequences)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize(("strategy", "head", "settings"), RUNS)
def test_a_gpu_learns_what_a_cpu_learns(strategy: str, head: str, settings: dict[str, Any]) -> None:
    alone = run(strategy, head, **settings)
    together = run(strategy, head, device="cuda", **settings)
    for name, array in together.state.items():
        torch.testing.assert_close(array, alone.state[name], atol=1e-2, rtol=1e-2)
