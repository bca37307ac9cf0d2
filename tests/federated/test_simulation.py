"""Federated rounds in one process."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from kinestore.federated import Algorithm, ClientState, ServerState
from kinestore.federated import create as create_strategy
from kinestore.federated.client_data import LocalSamples
from kinestore.federated.client_update import LocalConfig, local_update
from kinestore.federated.partition import iid
from kinestore.federated.simulation import (
    History,
    RoundRecord,
    RoundsConfig,
    SimulationOptions,
    simulate,
    simulate_clients,
)
from kinestore.federated.strategies.fedavg import FedAvg
from kinestore.heads import FeatureSamples, TrainingConfig, create, fit
from kinestore.heads.support.seeds import derive_seed
from kinestore.store import KinestoreError, UsageError

OPTIONS = ("clients_per_round", "seed", "test", "on_round")
LOCAL = TrainingConfig(epochs=2, batch_size=16, learning_rate=5e-3, weight_decay=0.0)
Arrays = tuple[NDArray[np.float32], NDArray[np.int64]]


def local_samples(features: Any, labels: Any) -> LocalSamples:
    samples = FeatureSamples(features=torch.as_tensor(features), labels=torch.as_tensor(labels))
    return LocalSamples(samples=samples, config=LOCAL)


def blobs(seed: int, num_rows: int = 120) -> Arrays:
    rng = np.random.default_rng(seed)
    labels = np.arange(num_rows) % 3
    centres = rng.normal(size=(3, 8)) * 3
    return (centres[labels] + rng.normal(size=(num_rows, 8))).astype(np.float32), labels


def head(seed: int = 0) -> torch.nn.Module:
    return create("mlp", in_features=8, num_classes=3, hidden=(16,), seed=seed)


def run(**changes: Any) -> History:
    features, labels = blobs(0)
    arguments = {
        "head": head(),
        "features": features,
        "labels": labels,
        "parts": iid(labels, 4, seed=0),
        "rounds": 2,
        "settings": LOCAL,
        **changes,
    }
    options = {name: arguments.pop(name) for name in OPTIONS if name in arguments}
    return simulate(**arguments, options=SimulationOptions(**options))


def start_of(model: torch.nn.Module, *, num_clients: int) -> ServerState:
    return ServerState(
        arrays=model.state_dict(),
        parameters=frozenset(name for name, _ in model.named_parameters()),
        num_clients=num_clients,
        per_round=num_clients,
    )


def overflowing() -> torch.Tensor:
    """A finite row that makes the first hidden unit infinite: eight terms of 3e38 |w|."""
    return torch.sign(next(head().parameters())[0].detach()) * 3e38


def same(a: History, b: History) -> bool:
    return all(torch.equal(array, b.state[name]) for name, array in a.state.items())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_clients_learn_together_what_unseen_rows_confirm(seed: int) -> None:
    features, labels = blobs(seed)
    # the harshest partition: no client has seen two of the three classes
    parts = [np.flatnonzero(labels[:90] == label) for label in range(3)]
    history = simulate(
        head(seed),
        features,
        labels,
        parts,
        rounds=60,  # seed 2 is the hardest of twelve: 0.87 after 40, 0.93 after 60, others 1.0
        settings=LOCAL,
        options=SimulationOptions(seed=seed, test=(features[90:], labels[90:])),
    )
    assert (history.rounds[-1].accuracy or 0.0) >= 0.9  # chance is 1/3


def test_one_client_and_one_round_equal_central_training_bit_for_bit() -> None:
    features, labels = blobs(0)
    history = run(parts=[np.arange(120)], rounds=1, seed=6)
    central = head()
    fit(
        central,
        torch.from_numpy(features),
        torch.from_numpy(labels),
        config=LOCAL,
        seed=derive_seed("client", 6, 1, 0),
    )
    for name, array in central.state_dict().items():
        assert torch.equal(history.state[name], array)


def test_two_rounds_are_local_updates_averaged_twice() -> None:
    features, labels = map(torch.from_numpy, blobs(0))
    parts = [np.arange(50), np.arange(50, 120)]
    state = start_of(head(), num_clients=2)
    for number in (1, 2):
        updates = [
            local_update(
                state.arrays,
                LocalConfig(client=client, round_number=number, seed=0),
                ClientState(),
                model=head(seed=9),  # whatever it holds is overwritten
                data=LocalSamples(
                    samples=FeatureSamples(features=features[part], labels=labels[part]),
                    config=LOCAL,
                ),
            ).update
            for client, part in enumerate(parts)
        ]
        assert [update.num_samples for update in updates] == [50, 70]
        state = create_strategy("fedavg").apply(state, updates)
    history = run(parts=parts)
    assert all(torch.equal(history.state[name], array) for name, array in state.arrays.items())


def test_buffers_of_batch_norm_are_averaged_too_and_counters_take_the_largest() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(8, 4), torch.nn.BatchNorm1d(4), torch.nn.ReLU(), torch.nn.Linear(4, 3)
    )
    features, labels = map(torch.from_numpy, blobs(0))
    parts = [np.arange(48), np.arange(48, 120)]  # no batch of one row
    means, counts = [], []
    for client, part in enumerate(parts):
        alone = local_update(
            net.state_dict(),
            LocalConfig(client=client, round_number=1, seed=0),
            ClientState(),
            model=copy.deepcopy(net),
            data=LocalSamples(
                samples=FeatureSamples(features=features[part], labels=labels[part]), config=LOCAL
            ),
        ).update.arrays
        means.append(alone["1.running_mean"].double())
        counts.append(int(alone["1.num_batches_tracked"]))
    state = run(head=net, parts=parts, rounds=1).state
    wanted = (48 * means[0] + 72 * means[1]) / 120
    torch.testing.assert_close(state["1.running_mean"], wanted.float(), atol=1e-7, rtol=0)
    assert int(state["1.num_batches_tracked"]) == max(counts) > min(counts)


def appearance_and_motion(seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Four looks (columns 0 to 11) times four motions (columns 12 to 23): sixteen classes."""
    rng = np.random.default_rng(seed)
    look, motion = rng.integers(0, 4, (2, 2400))
    centres = rng.normal(size=(2, 4, 12)) * 1.5
    parts = [centres[0][look], centres[1][motion]]
    features = np.concatenate(parts, axis=1) + rng.normal(size=(2400, 24)) * 0.5
    return features.astype(np.float32), look * 4 + motion


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_only_both_modalities_together_tell_a_label_of_appearance_and_motion(seed: int) -> None:
    features, labels = appearance_and_motion(seed)
    accuracy = {}
    for name, columns in {"both": slice(0, 24), "look": slice(12), "motion": slice(12, 24)}.items():
        history = simulate(
            "mlp",
            features[:1600, columns],
            labels[:1600],
            iid(labels[:1600], 4, seed=seed),
            rounds=8,
            settings=TrainingConfig(epochs=2, batch_size=32, learning_rate=2e-3, weight_decay=0.0),
            options=SimulationOptions(seed=seed, test=(features[1600:, columns], labels[1600:])),
        )
        accuracy[name] = history.rounds[-1].accuracy or 0.0
    assert accuracy["both"] >= 0.95
    # a modality alone names its own part, and guesses the other's one of four
    assert max(accuracy["look"], accuracy["motion"]) <= 0.30


def test_a_client_with_one_row_takes_part() -> None:
    history = run(parts=[np.array([0]), np.arange(1, 120)])
    assert all((record.clients, record.refused) == (2, 0) for record in history.rounds)


def test_the_seed_decides_every_bit_and_the_global_generator_stays() -> None:
    before = torch.get_rng_state()
    first = run(seed=1, clients_per_round=2)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(9)
    assert same(first, run(seed=1, clients_per_round=2))
    assert not same(first, run(seed=2, clients_per_round=2))


def test_a_head_given_is_copied_and_one_named_is_built_from_the_seed() -> None:
    mine = head()
    before = [parameter.clone() for parameter in mine.parameters()]
    run(head=mine)
    assert all(torch.equal(a, b) for a, b in zip(before, mine.parameters(), strict=True))
    built = create("mlp", in_features=8, num_classes=3, seed=4)
    assert same(run(head="mlp", seed=4, rounds=1), run(head=built, seed=4, rounds=1))


def test_a_strategy_may_be_named_or_given() -> None:
    assert same(run(strategy="fedavg"), run(strategy=Algorithm(strategy=FedAvg())))


def test_records_count_what_travelled() -> None:
    seen: list[RoundRecord] = []
    history = run(clients_per_round=3, on_round=seen.append)
    assert seen == history.rounds
    assert [record.round for record in seen] == [1, 2]
    num_parameters = 8 * 16 + 16 + 16 * 3 + 3
    for record in seen:
        assert (record.clients, record.refused, record.accuracy) == (3, 0, None)
        assert record.parameters_up == record.parameters_down == 3 * num_parameters
        assert record.bytes_up == record.bytes_down == 3 * 4 * num_parameters
        assert record.seconds > 0
        assert math.isfinite(record.train_loss)


def test_draws_change_from_round_to_round_and_every_client_has_its_turn() -> None:
    features, labels = blobs(0)
    sizes = [1, 2, 4, 8, 16]
    parts = np.split(np.arange(31), np.cumsum(sizes)[:-1])
    drawn: list[set[int]] = []

    class Watching(FedAvg):
        def apply(self, state: Any, joined: Any, updates: Any) -> Any:
            drawn.append({update.client for update in updates})
            return super().apply(state, joined, updates)

    arguments = {"features": features, "labels": labels, "parts": parts, "rounds": 20}
    run(**arguments, strategy=Algorithm(strategy=Watching()), clients_per_round=2)
    assert all(len(clients) == 2 for clients in drawn)
    assert len({frozenset(clients) for clients in drawn}) > 3
    assert set().union(*drawn) == {0, 1, 2, 3, 4}


def test_a_client_that_overflows_is_rejected_and_the_round_goes_on_with_the_rest() -> None:
    features, labels = blobs(0)
    features[:30] = overflowing()
    parts = [np.arange(30), np.arange(30, 120)]
    history = run(features=features, parts=parts, rounds=1)
    (record,) = history.rounds
    assert (record.clients, record.refused) == (2, 1)
    assert record.refusals[0].client == 0
    assert "holds NaN or infinity" in record.refusals[0].reason
    assert math.isfinite(record.train_loss)  # the rejected client's is not in it
    num_parameters = 8 * 16 + 16 + 16 * 3 + 3
    assert record.parameters_up == 2 * num_parameters  # rejected, but sent
    # the client that remains is all of the average
    alone = local_update(
        head().state_dict(),
        LocalConfig(client=1, round_number=1, seed=0),
        ClientState(),
        model=head(),
        data=LocalSamples(
            samples=FeatureSamples(
                features=torch.from_numpy(features[30:]), labels=torch.from_numpy(labels[30:])
            ),
            config=LOCAL,
        ),
    ).update
    assert all(torch.equal(history.state[name], array) for name, array in alone.arrays.items())


@pytest.mark.parametrize("strategy", ["fedavg", "feddyn", "fedavg with noise"])
def test_a_round_in_which_all_are_rejected_ends_the_run(strategy: str) -> None:
    stages = {"clip": 1.0, "noise": 1.0} if "noise" in strategy else {}
    seen: list[RoundRecord] = []
    with pytest.raises(KinestoreError) as raised:
        run(
            features=overflowing().repeat(120, 1),
            strategy=create_strategy(strategy.split()[0], **stages),
            on_round=seen.append,
        )
    message = str(raised.value)
    assert message.startswith("round 1: none of 4 updates can be used (client 0: ")
    assert "holds NaN or infinity; client 1: " in message
    assert message.endswith(
        "and 1 more); use a lower learning rate, or look for clips with extreme features"
    )
    assert not seen and "\n" not in message


def test_a_client_without_rows_takes_no_part_and_the_others_keep_their_numbers() -> None:
    features, labels = blobs(0)

    def clients(*sizes: int) -> list[LocalSamples]:
        ends = np.cumsum(sizes)
        return [
            LocalSamples(
                samples=FeatureSamples(
                    features=torch.from_numpy(features[end - size : end]),
                    labels=torch.from_numpy(labels[end - size : end]),
                ),
                config=LOCAL,
            )
            for end, size in zip(ends, sizes, strict=True)
        ]

    config = RoundsConfig(rounds=2, device="cpu", strategy=create_strategy("feddyn"))
    with_gap = simulate_clients(head(), clients(40, 0, 40), config=config)
    assert [record.participants for record in with_gap.rounds] == [(0, 2), (0, 2)]
    assert all(record.refused == 0 for record in with_gap.rounds)
    drawn = simulate_clients(
        head(), clients(40, 0, 40), config=RoundsConfig(rounds=8, clients_per_round=1, device="cpu")
    )
    assert {record.participants for record in drawn.rounds} == {(0,), (2,)}
    with pytest.raises(
        UsageError, match="clients_per_round=3: must be from 1 to 2, the number of clients"
    ):
        simulate_clients(
            head(), clients(40, 0, 40), config=RoundsConfig(rounds=1, clients_per_round=3)
        )


def with_nan() -> NDArray[np.float32]:
    features, _ = blobs(0)
    features[7, 0] = np.nan
    return features


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rounds": 0}, "rounds=0: must be 1 or more"),
        (
            {"clients_per_round": 5},
            "clients_per_round=5: must be from 1 to 4, the number of clients",
        ),
        ({"clients_per_round": 0}, "clients_per_round=0: must be from 1 to 4"),
        ({"seed": -1}, "seed=-1: must be from 0"),
        ({"strategy": "x"}, "strategy='x': must be one of"),
        ({"head": "x"}, "head='x': must be one of"),
        ({"parts": []}, r"parts=\[\]: must hold one client or more"),
        ({"parts": [np.arange(3), np.arange(0)]}, "client 1 has no row; give it one"),
        ({"parts": [np.array([3, 120])]}, "client 0 has row 120, must be from 0 to 119"),
        ({"parts": [np.array([-1, 3])]}, "client 0 has row -1, must be from 0 to 119"),
        ({"features": with_nan()}, "features: row 7 holds NaN or infinity"),
        ({"features": np.ones((120, 5), np.float32)}, "features: width 5 does not fit the head"),
        ({"labels": np.arange(120) % 4}, "features: label=3: must be from 0 to 2"),
        ({"labels": np.arange(120) % 3 - 1}, "features: label=-1: must be from 0 to 2"),
        ({"head": "mlp", "labels": np.full(120, -1)}, "label=-1: must be from 0 to 0"),
        ({"labels": np.zeros(119, np.int64)}, "features: 120 rows with 119 labels"),
        (
            {"test": (np.ones((2, 5), np.float32), np.zeros(2, np.int64))},
            "test: width 5 does not fit the head",
        ),
        (
            {"test": (np.ones((0, 8), np.float32), np.zeros(0, np.int64))},
            "test: 0 rows with 0 labels",
        ),
        (
            {"test": (np.ones((1, 8), np.float32), np.array([9]))},
            "test: label=9: must be from 0 to 2",
        ),
    ],
)
def test_a_wrong_request_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run(**changes)
