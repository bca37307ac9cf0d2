"""Every strategy against a reference written from its equations, in float64."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from kinestore import federated
from kinestore.federated import ClientUpdate
from kinestore.federated.config import RoundsConfig
from kinestore.federated.model_parts import initial_server_state, private_arrays
from kinestore.store import UsageError
from tests.helpers.linear_clients import (
    NAMES,
    ROUNDS,
    SIZES,
    Array,
    Weights,
    assert_equal,
    first,
    nothing,
    run,
    start,
    train,
    weighted,
)


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


def clipped(w: Weights, start: Weights, norm: float) -> Weights:
    """The model moved back to within `norm` of the start."""
    length = math.sqrt(sum(np.square(a - b).sum() for a, b in zip(w, start, strict=True)))
    moved = [b + (a - b) * min(1.0, norm / length) for a, b in zip(w, start, strict=True)]
    return moved[0], moved[1]


def feddyn(
    alpha: float, scale: tuple[float, ...] = (1.0, 1.0, 1.0), clip: float = math.inf
) -> Weights:
    """Acar et al., Algorithm 1, all clients in each round; `scale` divides each one's alpha.

    Client and server both count a step as it was clipped.
    """
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

            model = clipped(train(w, client, pull), start, clip)
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


def adaptive(*, yogi: bool, rate: float, beta1: float, beta2: float, tau: float) -> Weights:
    """Reddi et al., Algorithm 2, all clients in each round."""
    w = first()
    m = [np.zeros_like(a) for a in w]
    v = [np.full_like(a, tau**2) for a in w]
    for _ in range(ROUNDS):
        mean = weighted([train(w, client, nothing) for client in range(3)])
        steps = [a - b for a, b in zip(mean, w, strict=True)]
        m = [beta1 * a + (1 - beta1) * d for a, d in zip(m, steps, strict=True)]
        if yogi:
            v = [a - (1 - beta2) * d**2 * np.sign(a - d**2) for a, d in zip(v, steps, strict=True)]
        else:
            v = [beta2 * a + (1 - beta2) * d**2 for a, d in zip(v, steps, strict=True)]
        w = tuple(a + rate * b / (np.sqrt(c) + tau) for a, b, c in zip(w, m, v, strict=True))  # type: ignore[assignment]
    return w


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


@pytest.mark.parametrize("clip", [0.05, 0.4])
def test_clipped_feddyn_follows_its_equation_and_server_and_clients_remember_alike(
    clip: float,
) -> None:
    state, kept, _ = run(federated.create("feddyn", alpha=0.5, clip=clip))
    assert_equal(state, feddyn(0.5, clip=clip))
    assert not np.allclose(feddyn(0.5, clip=clip)[0], feddyn(0.5)[0], atol=1e-6)
    for name in NAMES:  # the server's h is the mean of the clients': h = -alpha drift
        mean = torch.stack([client.correction[name] for client in kept]).mean(0)
        torch.testing.assert_close(-0.5 * state.memory["drift"][name], mean, atol=1e-12, rtol=0)


def test_feddyn_as_released_scales_alpha_and_reports_three_models() -> None:
    # the released server adds the mean over all clients of sum (w_i - w_t) to the mean of the
    # active ones: with alpha's scale gone from it, not Algorithm 1's -h/alpha of scaled clients
    algorithm = federated.create("feddyn", alpha=0.5, variant="released")
    state, kept, updates = run(algorithm)
    weights = tuple(size * 3 / sum(SIZES) for size in SIZES)
    assert_equal(state, feddyn(0.5, weights))
    extra = algorithm.strategy.extra_models(state)
    assert sorted(extra) == ["active", "all"]
    mean = torch.stack([update.arrays["weight"] for update in updates]).mean(0)
    torch.testing.assert_close(extra["active"]["weight"], mean, atol=1e-12, rtol=0)
    torch.testing.assert_close(extra["all"]["weight"], mean, atol=1e-12, rtol=0)
    # a client's own memory is -alpha_i times all that it drifted
    assert all(set(state.correction) == set(NAMES) for state in kept)


def test_feddyn_counts_a_client_that_never_came_with_the_first_model() -> None:
    algorithm = federated.create("feddyn", variant="released")
    state = start(algorithm)
    moved = {name: array + 3.0 for name, array in state.arrays.items()}
    state = algorithm.apply(state, [ClientUpdate(client=1, num_samples=12, arrays=moved)])
    # by hand: one of three clients moved by 3, so all clients' mean by 1, and the server, which is
    # the mean of the active one and the drift of 3/3, by 3 + 1
    for name, array in zip(NAMES, first(), strict=True):
        np.testing.assert_allclose(algorithm.strategy.extra_models(state)["all"][name], array + 1.0)
        np.testing.assert_allclose(state.arrays[name], array + 4.0)


@pytest.mark.parametrize("name", ["fedadam", "fedyogi"])
@pytest.mark.parametrize(
    "values", [(0.01, 0.9, 0.99, 1e-3), (0.5, 0.0, 0.9, 0.1), (1.0, 0.5, 0.0, 1e-6)]
)
def test_adaptive_servers_follow_their_equations(
    name: str, values: tuple[float, float, float, float]
) -> None:
    rate, beta1, beta2, tau = values
    algorithm = federated.create(name, learning_rate=rate, beta1=beta1, beta2=beta2, tau=tau)
    wanted = adaptive(yogi=name == "fedyogi", rate=rate, beta1=beta1, beta2=beta2, tau=tau)
    assert_equal(run(algorithm)[0], wanted)


def test_a_step_of_adam_and_yogi_by_hand() -> None:
    """A mean step of 2 with beta1 0.5 and beta2 0.75: m = 1; v = 0.75 + 1 or 1 + 1, tau 1."""
    for name, square in (("fedadam", 1.75), ("fedyogi", 2.0)):
        algorithm = federated.create(name, learning_rate=3.0, beta1=0.5, beta2=0.75, tau=1.0)
        state = start(algorithm)
        moved = {key: array + 2.0 for key, array in state.arrays.items()}
        after = algorithm.apply(state, [ClientUpdate(client=0, num_samples=5, arrays=moved)])
        for key in NAMES:
            gone = after.arrays[key] - state.arrays[key]
            np.testing.assert_allclose(gone, 3.0 / (math.sqrt(square) + 1.0), rtol=1e-12)


def test_fedbn_shares_all_but_batch_norm() -> None:
    net = torch.nn.Sequential(
        torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.LayerNorm(3), torch.nn.Linear(3, 2)
    )
    config = RoundsConfig(rounds=1, strategy=federated.create("fedbn"))
    shared = initial_server_state(net, config, num_clients=3)
    assert {name.partition(".")[0] for name in shared.arrays} == {"0", "2", "3"}
    assert set(private_arrays(net, config)) == {f"1.{name}" for name in net[1].state_dict()}
    with pytest.raises(UsageError, match="has no batch norm; take fedavg"):
        start(federated.create("fedbn"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate=0.0: must be above 0"),
        ({"tau": -1.0}, "tau=-1.0: must be above 0"),
        ({"beta2": 1.0}, "beta2=1.0: must be from 0 to below 1"),
    ],
)
def test_settings_of_adaptive_servers_are_checked(settings: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        federated.create("fedyogi", **settings)


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
