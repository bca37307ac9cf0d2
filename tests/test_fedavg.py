"""Strategies, and what keeps a broken update out of them."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import federated
from federated import ClientUpdate
from federated.accounting import payload_bytes, round_traffic
from federated.fedavg import FedAvg
from federated.guard import screen
from federated.moments import agree
from heads import create
from store import UsageError


def update(client: int, num_samples: int, **arrays: Tensor) -> ClientUpdate:
    return ClientUpdate(client=client, num_samples=num_samples, arrays=arrays)


def gradient(
    w: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Of the mean squared error of a linear model."""
    step: NDArray[np.float64] = 2 * x.T @ (x @ w - y) / len(x)
    return step


def test_three_rounds_follow_the_equation() -> None:
    # McMahan et al., Algorithm 1: w <- sum_i n_i / n w_i, each w_i after two steps of gradient
    # descent on client i's rows, all in float64, against numpy's own average
    rng = np.random.default_rng(0)
    clients = [(rng.normal(size=(n, 3)), rng.normal(size=n)) for n in (5, 9, 2)]

    def descend(w: NDArray[np.float64], client: int) -> NDArray[np.float64]:
        for _ in range(2):
            w = w - 0.05 * gradient(w, *clients[client])
        return w

    strategy, wanted = FedAvg(), np.ones(3)
    state = strategy.init({"w": torch.ones(3, dtype=torch.float64)})
    for _ in range(3):
        local = [descend(wanted, client) for client in range(3)]
        wanted = np.average(local, axis=0, weights=[5, 9, 2])
        answers = [
            update(i, len(clients[i][0]), w=torch.from_numpy(descend(state.arrays["w"].numpy(), i)))
            for i in range(3)
        ]
        state = strategy.apply(state, answers)
    np.testing.assert_allclose(state.arrays["w"].numpy(), wanted, atol=1e-10)


def test_weighted_mean_by_hand() -> None:
    # (1 * -4 + 3 * 2) / 4 = 0.5; counters: the larger of 7 and 5
    state = FedAvg().apply(
        FedAvg().init({"w": torch.tensor([9.0]), "n": torch.tensor(0)}),
        [
            update(0, 1, w=torch.tensor([-4.0]), n=torch.tensor(7)),
            update(1, 3, w=torch.tensor([2.0]), n=torch.tensor(5)),
        ],
    )
    assert state.arrays["w"].tolist() == [0.5]
    assert state.arrays["w"].dtype == torch.float32
    assert state.arrays["n"].item() == 7
    assert state.arrays["n"].dtype == torch.int64


def test_sums_run_in_float64() -> None:
    # in float32, 1e8 + 1 is 1e8, and the mean of 1e8, 1 and -1e8 would be 0
    answers = [update(i, 1, w=torch.tensor([w])) for i, w in enumerate((1e8, 1.0, -1e8))]
    state = FedAvg().apply(FedAvg().init({"w": torch.zeros(1)}), answers)
    assert state.arrays["w"].item() == pytest.approx(1 / 3)


def random_updates(seed: int) -> list[ClientUpdate]:
    generator = torch.Generator().manual_seed(seed)
    return [update(i, 3 * i + 1, w=torch.randn(50, generator=generator)) for i in range(5)]


@pytest.mark.parametrize("name", federated.names())
def test_a_strategy_is_pure_and_ignores_the_order_of_answers(name: str) -> None:
    strategy = federated.create(name)
    first = torch.ones(50)
    state = strategy.init({"w": first})
    answers = random_updates(0)
    kept = [answer.arrays["w"].clone() for answer in answers]
    forward = strategy.apply(state, answers).arrays["w"]
    backward = strategy.apply(state, answers[::-1]).arrays["w"]
    assert torch.equal(forward, backward)  # bit for bit
    assert torch.equal(state.arrays["w"], torch.ones(50))
    assert all(torch.equal(a.arrays["w"], w) for a, w in zip(answers, kept, strict=True))


@pytest.mark.parametrize("name", federated.names())
def test_a_round_without_updates_keeps_the_model(name: str) -> None:
    strategy = federated.create(name)
    state = strategy.init({"w": torch.tensor([3.0])})
    assert strategy.apply(state, []).arrays["w"].item() == 3.0


def test_one_client_is_taken_over_bit_for_bit() -> None:
    (sole,) = random_updates(1)[4:]
    state = FedAvg().apply(FedAvg().init({"w": torch.zeros(50)}), [sole])
    assert torch.equal(state.arrays["w"], sole.arrays["w"])


def test_unknown_strategies_and_settings_are_named() -> None:
    assert "fedavg" in federated.names()
    assert not {"client", "guard", "partition", "simulation"} & set(federated.names())
    with pytest.raises(UsageError, match=r"strategy='fedagv': must be one of .*fedavg"):
        federated.create("fedagv")
    with pytest.raises(UsageError, match="mu=1: strategy 'fedavg' takes no settings"):
        federated.create("fedavg", mu=1)
    with pytest.raises(UsageError, match="num_samples=0: must be 1 or more"):
        update(0, 0)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"w": torch.tensor([1.0, float("nan")]), "n": torch.tensor(1)}, "w holds NaN or infinity"),
        ({"w": torch.tensor([float("-inf"), 0]), "n": torch.tensor(1)}, "w holds NaN or infinity"),
        ({"w": torch.zeros(2)}, "n is missing"),
        ({"w": torch.zeros(2), "n": torch.tensor(1), "x": torch.zeros(1)}, "x is not in the model"),
        (
            {"w": torch.zeros(3), "n": torch.tensor(1)},
            "w is torch.float32 (3,), must be torch.float32 (2,)",
        ),
        (
            {"w": torch.zeros(2).double(), "n": torch.tensor(1)},
            "w is torch.float64 (2,), must be torch.float32 (2,)",
        ),
    ],
)
def test_a_broken_update_is_refused_by_name_and_the_rest_kept(
    arrays: Mapping[str, Tensor], reason: str
) -> None:
    reference = {"w": torch.zeros(2), "n": torch.tensor(0)}
    good = update(0, 1, w=torch.ones(2), n=torch.tensor(1))
    bad = ClientUpdate(client=1, num_samples=1, arrays=arrays)
    kept, refused = screen([good, bad], reference=reference)
    assert kept == [good]
    assert [(refusal.client, refusal.reason) for refusal in refused] == [(1, reason)]


def test_traffic_counts_parameters_without_buffers_and_bytes_with_them() -> None:
    # BatchNorm1d(4): weight and bias are 8 parameters, 32 bytes; mean and variance 8 floats more,
    # 32 bytes, and a counter of 8 bytes. Three clients.
    model = torch.nn.BatchNorm1d(4)
    arrays = model.state_dict()
    traffic = round_traffic(model, sent_down=arrays, sent_up=[arrays] * 3)
    assert traffic.parameters_up == traffic.parameters_down == 3 * 8
    assert traffic.bytes_up == traffic.bytes_down == 3 * (32 + 32 + 8)


def test_the_head_of_flamest_weighs_6_4_megabytes() -> None:
    head = create("mlp", in_features=2816, num_classes=101)
    assert payload_bytes(head.state_dict()) == 4 * 1_599_589


def test_agreed_standardiser_is_that_of_all_rows_and_its_cost_is_counted() -> None:
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(30, 4)) + 10).astype(np.float32)
    parts = [np.arange(3), np.arange(3, 20)]  # the other rows are in no client
    standardiser, traffic = agree(features, parts)
    seen = features[:20].astype(np.float64)
    # float64 sums of 20 terms
    np.testing.assert_allclose(standardiser.mean, seen.mean(0), rtol=1e-12)
    np.testing.assert_allclose(standardiser.std, seen.std(0), rtol=1e-12)
    # up: a count and 2 * 4 float64 from each of two clients; down: 2 * 4 float64 to each
    assert (traffic.bytes_up, traffic.bytes_down) == (2 * (8 + 64), 2 * 64)
    assert traffic.parameters_up == traffic.parameters_down == 0
