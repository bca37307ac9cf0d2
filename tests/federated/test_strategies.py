"""Every strategy against a reference written from its equations, in float64."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from kinestore import federated
from kinestore.federated import ClientState, ClientUpdate, ServerState, Strategy
from kinestore.federated.client_data import LocalRows
from kinestore.federated.client_update import LocalConfig, local_update
from kinestore.heads import FitSettings
from kinestore.store import UsageError

Array = NDArray[np.float64]
Weights = tuple[Array, Array]
"""Of a linear classifier: weight (K, D) and bias (K,)."""

NAMES = ("weight", "bias")
SETTINGS = FitSettings(epochs=4, batch_size=100, learning_rate=0.05, weight_decay=0.01)
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


def fedavg() -> Weights:
    w = first()
    for _ in range(ROUNDS):
        w = weighted([train(w, client, nothing) for client in range(3)])
    return w


def fedprox(mu: float) -> Weights:
    w = first()
    for _ in range(ROUNDS):
        start = w

        def pull(v: Weights, start: Weights = start) -> Weights:
            return mu * (v[0] - start[0]), mu * (v[1] - start[1])

        w = weighted([train(w, client, pull) for client in range(3)])
    return w


def feddyn(alpha: float, scale: tuple[float, ...] = (1.0, 1.0, 1.0)) -> Weights:
    """Acar et al., Algorithm 1, all clients in each round; `scale` divides each one's alpha."""
    w = first()
    mine = [nothing(w) for _ in range(3)]
    server = nothing(w)
    for _ in range(ROUNDS):
        start, models = w, []
        for client in range(3):
            a = alpha / scale[client]

            def pull(
                v: Weights, a: float = a, start: Weights = start, h: Weights = mine[client]
            ) -> Weights:
                return a * (v[0] - start[0]) - h[0], a * (v[1] - start[1]) - h[1]

            model = train(w, client, pull)
            mine[client] = tuple(mine[client][i] - a * (model[i] - start[i]) for i in (0, 1))  # type: ignore[assignment]
            models.append(model)
        server = tuple(server[i] - alpha / 3 * sum(m[i] - start[i] for m in models) for i in (0, 1))  # type: ignore[assignment]
        w = tuple(np.mean([m[i] for m in models], axis=0) - server[i] / alpha for i in (0, 1))
    return w


def personal() -> tuple[Array, list[Array]]:
    """The weight is shared, the bias is each client's own."""
    shared, own = first()[0], [first()[1]] * 3
    for _ in range(ROUNDS):
        models = [train((shared, own[client]), client, nothing) for client in range(3)]
        shared, own = weighted(models)[0], [model[1] for model in models]
    return shared, own


def start(strategy: Strategy) -> ServerState:
    weight, bias = (torch.from_numpy(array) for array in first())
    return strategy.init(
        ServerState(
            arrays={"weight": weight, "bias": bias},
            parameters=frozenset(NAMES),
            num_clients=3,
            per_round=3,
        )
    )


def run(strategy: Strategy) -> tuple[ServerState, list[ClientState], list[ClientUpdate]]:
    """Three rounds of all three clients; also the last round's updates."""
    model = nn.Linear(4, 3).double()
    state = start(strategy)
    unsent = {"bias": torch.from_numpy(first()[1])} if "bias" not in state.arrays else {}
    kept, updates = [ClientState(private=unsent)] * 3, []
    for number in range(1, ROUNDS + 1):
        results = [
            local_update(
                state.arrays,
                LocalConfig(
                    client=client,
                    round_number=number,
                    rule=strategy.rule(SIZES[client] * 3 / sum(SIZES)),
                    seed=0,
                ),
                kept[client],
                model=model,
                data=LocalRows(
                    features=torch.from_numpy(x), labels=torch.from_numpy(y), settings=SETTINGS
                ),
            )
            for client, (x, y) in enumerate(clients())
        ]
        kept = [result.state for result in results]
        updates = [result.update for result in results]
        state = strategy.apply(state, updates, seed=number)
    return state, kept, updates


def assert_equal(state: ServerState, wanted: Weights) -> None:
    for name, array in zip(NAMES, wanted, strict=True):
        np.testing.assert_allclose(state.arrays[name].numpy(), array, atol=1e-10, rtol=0)


def test_fedavg_follows_its_equation_for_three_rounds() -> None:
    assert_equal(run(federated.create("fedavg"))[0], fedavg())


@pytest.mark.parametrize("mu", [0.01, 1.0])
def test_fedprox_follows_its_equation_for_three_rounds(mu: float) -> None:
    assert_equal(run(federated.create("fedprox", mu=mu))[0], fedprox(mu))
    assert not np.allclose(fedprox(mu)[0], fedavg()[0], atol=1e-6)


def test_fedprox_without_pull_is_fedavg_bit_for_bit() -> None:
    one, other = run(federated.create("fedprox", mu=0.0))[0], run(federated.create("fedavg"))[0]
    assert all(torch.equal(one.arrays[name], other.arrays[name]) for name in NAMES)


@pytest.mark.parametrize("alpha", [0.01, 0.5])
def test_feddyn_follows_its_equation_for_three_rounds(alpha: float) -> None:
    assert_equal(run(federated.create("feddyn", alpha=alpha))[0], feddyn(alpha))


def test_feddyn_as_released_scales_alpha_and_reports_three_models() -> None:
    # the released server adds the mean over all clients of sum (w_i - w_t) to the mean of the
    # active ones: with alpha's scale gone from it, not Algorithm 1's -h/alpha of scaled clients
    strategy = federated.create("feddyn", alpha=0.5, variant="released")
    state, kept, updates = run(strategy)
    weights = tuple(size * 3 / sum(SIZES) for size in SIZES)
    assert_equal(state, feddyn(0.5, weights))
    others = strategy.others(state)
    assert sorted(others) == ["active", "all"]
    mean = torch.stack([update.arrays["weight"] for update in updates]).mean(0)
    torch.testing.assert_close(others["active"]["weight"], mean, atol=1e-12, rtol=0)
    torch.testing.assert_close(others["all"]["weight"], mean, atol=1e-12, rtol=0)
    # a client's own memory is -alpha_i times all that it drifted
    assert all(set(state.correction) == set(NAMES) for state in kept)


def test_feddyn_counts_a_client_that_never_came_with_the_first_model() -> None:
    strategy = federated.create("feddyn", variant="released")
    state = start(strategy)
    moved = {name: array + 3.0 for name, array in state.arrays.items()}
    state = strategy.apply(state, [ClientUpdate(client=1, num_samples=12, arrays=moved)], seed=0)
    # by hand: one of three clients moved by 3, so all clients' mean by 1, and the server, which is
    # the mean of the active one and the drift of 3/3, by 3 + 1
    for name, array in zip(NAMES, first(), strict=True):
        np.testing.assert_allclose(strategy.others(state)["all"][name], array + 1.0)
        np.testing.assert_allclose(state.arrays[name], array + 4.0)


def test_personal_follows_its_equation_and_never_sends_what_is_private() -> None:
    shared, own = personal()
    for choice in ({"private": ["bias"]}, {"public": ["weight"]}):
        state, kept, updates = run(federated.create("personal", **choice))
        np.testing.assert_allclose(state.arrays["weight"].numpy(), shared, atol=1e-10, rtol=0)
        assert set(state.arrays) == {"weight"}
        assert all(set(update.arrays) == {"weight"} for update in updates)
        for client in range(3):
            bias = kept[client].private["bias"].numpy()
            np.testing.assert_allclose(bias, own[client], atol=1e-10, rtol=0)
    assert not np.allclose(own[0], own[1])


def answers(*steps: float) -> list[ClientUpdate]:
    """Clients that moved each parameter by so much."""
    weight, bias = (torch.from_numpy(array) for array in first())
    return [
        ClientUpdate(
            client=number, num_samples=1, arrays={"weight": weight + step, "bias": bias + step}
        )
        for number, step in enumerate(steps)
    ]


@pytest.mark.parametrize(
    ("settings", "steps", "wanted"),
    [
        ({"aggregate": "median"}, (1.0, 2.0, 1e9), 2.0),
        ({"aggregate": "median"}, (1.0, 2.0, 4.0, 1e9), 3.0),  # the middle two
        ({"aggregate": "trimmed-mean", "trim": 0.2}, (-1e9, 1.0, 2.0, 3.0, 1e9), 2.0),
        ({"aggregate": "trimmed-mean", "trim": 0.0}, (1.0, 2.0, 6.0), 3.0),
        # seven of a hundred, although 0.07 times 100 is above 7 in float64: 85 zeros and 860 stay
        ({"aggregate": "trimmed-mean", "trim": 0.07}, (*[0.0] * 92, 860.0, *[1e9] * 7), 10.0),
        ({"aggregate": "trimmed-mean", "trim": 0.49}, (1.0, 2.0), 1.5),  # one is left, or two
    ],
)
def test_robust_aggregates_by_hand(
    settings: dict[str, Any], steps: tuple[float, ...], wanted: float
) -> None:
    strategy = federated.create("fedavg", **settings)
    state = strategy.apply(start(strategy), answers(*steps), seed=0)
    for name, array in zip(NAMES, first(), strict=True):
        np.testing.assert_allclose(state.arrays[name].numpy() - array, wanted, rtol=1e-6)


def test_a_long_step_is_cut_to_the_clip_and_a_short_one_is_left() -> None:
    # fifteen parameters each moved by s: a length of s sqrt(15); clipped to 3 that is 3/sqrt(15)
    strategy = federated.create("fedavg", clip=3.0)
    state = strategy.apply(start(strategy), answers(100.0, 0.5), seed=0)
    wanted = (3 / math.sqrt(15) + 0.5) / 2
    for name, array in zip(NAMES, first(), strict=True):
        np.testing.assert_allclose(state.arrays[name].numpy() - array, wanted, rtol=1e-12)


def test_noise_has_the_deviation_that_was_asked_for_and_the_seed_decides_it() -> None:
    strategy = federated.create("fedavg", clip=2.0, noise=0.5)
    arrays = {"w": torch.zeros(200_000, dtype=torch.float64)}
    state = strategy.init(
        ServerState(arrays=arrays, parameters=frozenset("w"), num_clients=9, per_round=4)
    )
    noise = strategy.apply(state, [], seed=5).arrays["w"]
    # 0.5 * 2 / 4 = 0.25; the deviation of 200,000 draws is right to 0.25 / sqrt(400,000)
    assert float(noise.std()) == pytest.approx(0.25, abs=5 * 0.25 / math.sqrt(400_000))
    assert torch.equal(noise, strategy.apply(state, [], seed=5).arrays["w"])
    assert not torch.equal(noise, strategy.apply(state, [], seed=6).arrays["w"])
    # the steps are summed, not averaged by rows, and divided by the four that are expected
    one = ClientUpdate(client=0, num_samples=1000, arrays={"w": arrays["w"] + 1e-4})
    moved = strategy.apply(state, [one], seed=5).arrays["w"] - noise
    np.testing.assert_allclose(moved.numpy(), 1e-4 / 4, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("fedprox", {"mu": -1.0}, "mu=-1.0: must be 0 or more"),
        ("feddyn", {"alpha": 0.0}, "alpha=0.0: must be above 0"),
        ("feddyn", {"variant": "x"}, "variant='x': must be one of paper, released"),
        ("fedavg", {"aggregate": "x"}, "aggregate='x': must be one of mean, median, trimmed-mean"),
        ("fedavg", {"trim": 0.5}, "trim=0.5: must be from 0 to below 0.5"),
        ("fedavg", {"clip": 0.0}, "clip=0.0: must be above 0"),
        ("fedavg", {"noise": 1.0}, "noise=1.0: give clip too"),
        ("fedavg", {"noise": 1.0, "clip": 1.0, "aggregate": "median"}, "must be 'mean' where"),
        ("personal", {}, "give one of them"),
        ("personal", {"private": ["a"], "public": ["b"]}, "private='a', public='b': give one"),
    ],
)
def test_settings_out_of_range_are_named(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        federated.create(name, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"private": ["head"]}, "private='head': the head has weight, bias"),
        ({"public": ["weig"]}, "public='weig': the head has weight, bias"),
        ({"private": ["weight", "bias"]}, "private='weight-bias': makes the whole head private"),
        ({"public": ["weight", "bias"]}, "public='weight-bias': makes the whole head public"),
    ],
)
def test_parts_that_the_head_lacks_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        start(federated.create("personal", **settings))


def test_noise_over_buffers_is_refused() -> None:
    model = nn.BatchNorm1d(2)
    state = ServerState(
        arrays=model.state_dict(), parameters=frozenset(NAMES), num_clients=2, per_round=2
    )
    with pytest.raises(UsageError, match=r"noise=1.0: .* is a buffer"):
        federated.create("fedavg", clip=1.0, noise=1.0).init(state)
