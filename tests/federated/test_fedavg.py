"""Contracts of every strategy, federated averaging, update validation and traffic."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from kinestore import federated
from kinestore.federated import Algorithm, ClientUpdate, ServerState
from kinestore.federated.communication_cost import payload_bytes, round_traffic
from kinestore.federated.standardization import federated_standardizer
from kinestore.federated.update_validation import validate_updates
from kinestore.heads import create
from kinestore.store import UsageError


def update(client: int, num_samples: int, **arrays: Tensor) -> ClientUpdate:
    return ClientUpdate(client=client, num_samples=num_samples, arrays=arrays)


def start(**arrays: Tensor) -> ServerState:
    """Of five clients; all but the integers are parameters."""
    trained = frozenset(name for name, array in arrays.items() if array.is_floating_point())
    return ServerState(arrays=arrays, parameters=trained, num_clients=5, per_round=5)


WITHOUT_BATCH_NORM = [name for name in federated.names() if name != "fedbn"]
"""Strategies for any model: fedbn finds its private part in one with batch norm."""


def make(name: str) -> Algorithm:
    """The strategy as it comes, but for one that has to be told what is private."""
    return federated.create(name, **({"private": ["own"]} if name == "personal" else {}))


def test_weighted_mean_by_hand() -> None:
    # (1 * -4 + 3 * 2) / 4 = 0.5; counters: the larger of 7 and 5
    state = federated.create("fedavg").apply(
        start(w=torch.tensor([9.0]), n=torch.tensor(0)),
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
    state = federated.create("fedavg").apply(start(w=torch.zeros(1)), answers)
    assert state.arrays["w"].item() == pytest.approx(1 / 3)


def random_updates(seed: int) -> list[ClientUpdate]:
    generator = torch.Generator().manual_seed(seed)
    return [
        update(i, 3 * i + 1, w=torch.randn(50, generator=generator), own=torch.zeros(2))
        for i in range(5)
    ]


@pytest.mark.parametrize("name", WITHOUT_BATCH_NORM)
def test_a_strategy_is_pure_and_ignores_the_order_of_answers(name: str) -> None:
    strategy = make(name)
    state = strategy.init(start(w=torch.ones(50), own=torch.ones(2)))
    answers = random_updates(0)
    kept = [answer.arrays["w"].clone() for answer in answers]
    forward = strategy.apply(state, answers).arrays["w"]
    backward = strategy.apply(state, answers[::-1]).arrays["w"]
    assert torch.equal(forward, backward)  # bit for bit
    assert torch.equal(state.arrays["w"], torch.ones(50))
    assert all(torch.equal(a.arrays["w"], w) for a, w in zip(answers, kept, strict=True))


@pytest.mark.parametrize("name", WITHOUT_BATCH_NORM)
def test_a_round_without_updates_keeps_the_model(name: str) -> None:
    strategy = make(name)
    state = strategy.init(start(w=torch.tensor([3.0]), own=torch.ones(2)))
    assert strategy.apply(state, []).arrays["w"].item() == 3.0


def test_one_client_is_taken_over_bit_for_bit() -> None:
    (sole,) = random_updates(1)[4:]
    state = federated.create("fedavg").apply(start(w=torch.zeros(50)), [sole])
    assert torch.equal(state.arrays["w"], sole.arrays["w"])


def test_unknown_strategies_and_settings_are_named() -> None:
    assert "fedavg" in federated.names()
    assert not {"client", "guard", "partition", "simulation"} & set(federated.names())
    with pytest.raises(UsageError, match=r"strategy='fedagv': must be one of .*fedavg"):
        federated.create("fedagv")
    with pytest.raises(UsageError, match="mu=1: strategy 'fedavg' takes aggregate, trim, "):
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
def test_a_broken_update_is_rejected_by_name_and_the_rest_kept(
    arrays: Mapping[str, Tensor], reason: str
) -> None:
    reference = {"w": torch.zeros(2), "n": torch.tensor(0)}
    good = update(0, 1, w=torch.ones(2), n=torch.tensor(1))
    bad = ClientUpdate(client=1, num_samples=1, arrays=arrays)
    valid, rejected = validate_updates([good, bad], reference=reference)
    assert valid == [good]
    assert [(one.client, one.reason) for one in rejected] == [(1, reason)]


def test_traffic_counts_parameters_without_buffers_and_bytes_with_them() -> None:
    # BatchNorm1d(4): weight and bias are 8 parameters, 32 bytes; mean and variance 8 floats more,
    # 32 bytes, and a counter of 8 bytes. Three clients.
    model = torch.nn.BatchNorm1d(4)
    arrays = model.state_dict()
    names = dict(model.named_parameters())
    traffic = round_traffic(names, sent_down=arrays, num_receivers=3, sent_up=[arrays] * 3)
    assert traffic.parameters_up == traffic.parameters_down == 3 * 8
    assert traffic.bytes_up == traffic.bytes_down == 3 * (32 + 32 + 8)


def test_the_head_of_flamest_weighs_6_4_megabytes() -> None:
    head = create("mlp", in_features=2816, num_classes=101)
    assert payload_bytes(head.state_dict()) == 4 * 1_599_589


def test_federated_standardizer_is_that_of_all_rows_and_its_cost_is_counted() -> None:
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(30, 4)) + 10).astype(np.float32)
    parts = [np.arange(3), np.arange(3, 20)]  # the other rows are in no client
    standardizer, traffic = federated_standardizer(features, parts)
    seen = features[:20].astype(np.float64)
    # float64 sums of 20 terms
    np.testing.assert_allclose(standardizer.mean, seen.mean(0), rtol=1e-12)
    np.testing.assert_allclose(standardizer.std, seen.std(0), rtol=1e-12)
    # up: a count and 2 * 4 float64 from each of two clients; down: 2 * 4 float64 to each
    assert (traffic.bytes_up, traffic.bytes_down) == (2 * (8 + 64), 2 * 64)
    assert traffic.parameters_up == traffic.parameters_down == 0
