"""Clients of a linear classifier, in float64, and one client's round from its equations."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kinestore.federated import Algorithm, ClientState, ClientUpdate, ServerState
from kinestore.federated.client_data import LocalSamples
from kinestore.federated.client_update import LocalConfig, local_update
from kinestore.heads import FeatureSamples, TrainingConfig

Array = NDArray[np.float64]
Weights = tuple[Array, Array]
"""Of a linear classifier: weight (K, D) and bias (K,)."""

NAMES = ("weight", "bias")
SETTINGS = TrainingConfig(epochs=4, batch_size=100, learning_rate=0.05, weight_decay=0.01)
ROUNDS = 3
SIZES = (7, 12, 5)


def clients(seed: int = 0) -> list[tuple[Array, NDArray[np.int64]]]:
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(n, 4)), rng.integers(0, 3, n)) for n in SIZES]


def first() -> Weights:
    rng = np.random.default_rng(9)
    return rng.normal(size=(3, 4)), rng.normal(size=3)


def gradient(w: Weights, x: Array, y: NDArray[np.int64]) -> Weights:
    """Of the mean cross-entropy."""
    logits = x @ w[0].T + w[1]
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    shares[np.arange(len(y)), y] -= 1
    return shares.T @ x / len(x), shares.mean(0)


def train(w: Weights, client: int, extra: Callable[[Weights], Weights]) -> Weights:
    """Full-batch Adam with L2 added to the gradient, Kingma and Ba, Algorithm 1."""
    x, y = clients()[client]
    m, v = [np.zeros_like(a) for a in w], [np.zeros_like(a) for a in w]
    for step in range(1, SETTINGS.epochs + 1):
        parts = zip(gradient(w, x, y), extra(w), w, strict=True)
        slopes = [g + e + SETTINGS.weight_decay * a for g, e, a in parts]
        m = [0.9 * a + 0.1 * g for a, g in zip(m, slopes, strict=True)]
        v = [0.999 * a + 0.001 * g * g for a, g in zip(v, slopes, strict=True)]
        moves = [
            SETTINGS.learning_rate * (a / (1 - 0.9**step)) / (np.sqrt(b / (1 - 0.999**step)) + 1e-8)
            for a, b in zip(m, v, strict=True)
        ]
        w = (w[0] - moves[0], w[1] - moves[1])
    return w


def nothing(w: Weights) -> Weights:
    return np.zeros_like(w[0]), np.zeros_like(w[1])


def weighted(models: list[Weights]) -> Weights:
    return tuple(np.average([m[i] for m in models], axis=0, weights=SIZES) for i in (0, 1))  # type: ignore[return-value]


def start(algorithm: Algorithm) -> ServerState:
    weight, bias = (torch.from_numpy(array) for array in first())
    return algorithm.init(
        ServerState(
            arrays={"weight": weight, "bias": bias},
            parameters=frozenset(NAMES),
            num_clients=3,
            per_round=3,
        )
    )


def run(algorithm: Algorithm) -> tuple[ServerState, list[ClientState], list[ClientUpdate]]:
    """Three rounds of all three clients; also the last round's updates."""
    model = nn.Linear(4, 3).double()
    state = start(algorithm)
    unsent = {"bias": torch.from_numpy(first()[1])} if "bias" not in state.arrays else {}
    kept, updates = [ClientState(private=unsent)] * 3, []
    for number in range(1, ROUNDS + 1):
        results = [
            local_update(
                state.arrays,
                LocalConfig(
                    client=client,
                    round_number=number,
                    term=algorithm.strategy.proximal_term(SIZES[client] * 3 / sum(SIZES)),
                    clip=algorithm.stages.clip,
                    seed=0,
                ),
                kept[client],
                model=model,
                data=LocalSamples(
                    samples=FeatureSamples(
                        features=torch.from_numpy(x), labels=torch.from_numpy(y)
                    ),
                    config=SETTINGS,
                ),
            )
            for client, (x, y) in enumerate(clients())
        ]
        kept = [result.state for result in results]
        updates = [result.update for result in results]
        state = algorithm.apply(state, updates)
    return state, kept, updates


def assert_equal(state: ServerState, wanted: Weights) -> None:
    for name, array in zip(NAMES, wanted, strict=True):
        np.testing.assert_allclose(state.arrays[name].numpy(), array, atol=1e-10, rtol=0)


def answers(*steps: float) -> list[ClientUpdate]:
    """Clients that moved each parameter by so much."""
    weight, bias = (torch.from_numpy(array) for array in first())
    return [
        ClientUpdate(
            client=number, num_samples=1, arrays={"weight": weight + step, "bias": bias + step}
        )
        for number, step in enumerate(steps)
    ]
