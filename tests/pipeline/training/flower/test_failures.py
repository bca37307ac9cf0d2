"""Federations in which a client or the server is killed and comes back."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from kinestore.federated.best_round import RoundChoice
from kinestore.federated.client_data import LocalSamples
from kinestore.federated.client_update import LocalConfig
from kinestore.federated.clients import Answers
from kinestore.federated.config import RoundsConfig
from kinestore.federated.local_clients import LocalClients
from kinestore.federated.round_loop import History, run_rounds
from kinestore.federated.rounds import RoundRunner
from kinestore.federated.run_state import RunState
from kinestore.heads import FeatureSamples, Standardizer, create
from kinestore.heads.support.standardizer import combine, moments_of
from kinestore.heads.support.validation import to_features, to_labels
from kinestore.pipeline.training.federated.federate import CLIENT_HEAD_TRAINING
from kinestore.pipeline.training.model_spec import read_strategy
from kinestore.store import Store
from tests.helpers.leftovers import wait_until
from tests.helpers.machines import Machines
from tests.helpers.trained import metrics

pytestmark = pytest.mark.slow
HEAD = ("--head", "mlp:hidden=32")


def rounds_done(run: Path) -> int:
    path = run / "metrics.csv"
    return max(0, path.read_text().count("\n") - 1) if path.exists() else 0


class Absent(LocalClients):
    """Clients of a simulation, of which one is away in some rounds."""

    away: tuple[int, Sequence[int]]

    def train(self, run: RunState, configs: Sequence[LocalConfig]) -> Answers:
        client, rounds = self.away
        there = [c for c in configs if c.client != client or c.round_number not in rounds]
        return super().train(run, there)


def simulate_without(
    stores: dict[str, Path], strategy: str, rounds: int, away: tuple[int, Sequence[int]]
) -> History:
    """Train in one process as the machines do, with one client away in some rounds."""
    loaded = [Store(stores[name]).load(["motion"]) for name in sorted(stores)]
    parts = [[row for row, split in enumerate(each.splits) if split == "train"] for each in loaded]
    held = list(zip(loaded, parts, strict=True))
    moments = [moments_of(each.features[part]) for each, part in held]
    scale = Standardizer.from_moments(combine(moments))
    width, num_classes = loaded[0].features.shape[1], len(loaded[0].classes)
    model = create("mlp", in_features=width, num_classes=num_classes, seed=0, hidden=(32,))
    config = RoundsConfig(rounds=rounds, strategy=read_strategy(strategy), device="cpu")
    data = [
        LocalSamples(
            samples=FeatureSamples(
                features=to_features(scale.apply(each.features))[part],
                labels=to_labels(each.labels)[part],
            ),
            config=replace(CLIENT_HEAD_TRAINING, device="cpu").at_one_rate(),
        )
        for each, part in held
    ]
    clients = Absent(model, data, config, held_out=None, validation=None)
    clients.away = away
    runner = RoundRunner(model, clients, config)
    return run_rounds(runner, config, choice=RoundChoice(), checkpoints=None, on_round=None)


def test_a_client_that_is_killed_is_skipped_and_comes_back_with_its_private_part(
    stores: dict[str, Path], tmp_path: Path
) -> None:
    run, strategy, rounds = tmp_path / "run", "personal:private=0", 8
    with Machines(tmp_path, stores) as machines:
        options = [*HEAD, "--rounds", str(rounds), "--strategy", strategy, "--wait", "300"]
        server = machines.server(run, *options)
        clients = [machines.client(name) for name in sorted(stores)]
        assert wait_until(lambda: rounds_done(run) >= 1, 300), server.said()
        clients[2].kill()
        clients[2] = machines.client("west")
        assert server.wait() == 0, server.said()
        assert [client.wait() for client in clients] == [0, 0, 0]
    away = [int(row["round"]) for row in metrics(run) if row["refused"] == "1"]
    assert away and 1 not in away and away[-1] < rounds, server.said()
    wanted = simulate_without(stores, strategy, rounds, away=(2, away))
    for client, name in enumerate(sorted(stores)):
        found = load_file(tmp_path / f"client-{name}" / "run" / "model.safetensors")
        for tensor, array in wanted.state_of(client).items():
            assert torch.equal(found[f"head.{tensor}"], array), (name, tensor)


def test_a_server_that_is_killed_resumes_at_its_last_round_with_the_same_end(
    stores: dict[str, Path], tmp_path: Path
) -> None:
    run, strategy = tmp_path / "run", "feddyn"
    options = [*HEAD, "--rounds", "3", "--strategy", strategy, "--wait", "300"]
    with Machines(tmp_path, stores) as machines:
        server = machines.server(run, *options)
        clients = [machines.client(name) for name in sorted(stores)]
        assert wait_until(lambda: rounds_done(run) >= 1, 300), server.said()
        server.kill()
        server = machines.server(run, *options, "--resume")
        assert server.wait() == 0, server.said()
        assert [client.wait() for client in clients] == [0, 0, 0]
    found = load_file(run / "model.safetensors")
    wanted = simulate_without(stores, strategy, 3, away=(0, []))
    for tensor, array in wanted.state.items():
        assert torch.equal(found[f"head.{tensor}"], array), tensor
    assert [row["round"] for row in metrics(run)] == ["1", "2", "3"]
