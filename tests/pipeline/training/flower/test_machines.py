"""Federations over a real superlink and supernodes on loopback, with TLS and keys."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from kinestore.heads import TrainingConfig
from kinestore.pipeline.training.federated.federate import CLIENT_HEAD_TRAINING
from kinestore.store import Features
from tests.helpers.jobs import federate
from tests.helpers.machines import Machines, together
from tests.helpers.recording_proxy import RecordingProxy
from tests.helpers.trained import metrics

pytestmark = pytest.mark.slow
HEAD = ("--head", "mlp:hidden=32", "--rounds", "3")
ROUND_FIGURES = ("train_loss", "accuracy", "top5", "clients", "refused", "bytes_up", "bytes_down")


@pytest.mark.parametrize("strategy", ["personal:private=0"])
def test_three_machines_end_with_the_bits_of_a_simulation(
    strategy: str, stores: dict[str, Path], tmp_path: Path
) -> None:
    with Machines(tmp_path, stores) as machines:
        proxy = RecordingProxy(machines.port)
        machines.reached = proxy.port
        server = machines.server(tmp_path / "run", *HEAD, "--strategy", strategy)
        clients = [machines.client(name) for name in stores]
        assert server.wait() == 0, server.said()
        assert [client.wait() for client in clients] == [0, 0, 0]
        proxy.close()
    training: TrainingConfig = CLIENT_HEAD_TRAINING
    simulated = federate(
        together(stores),
        out=tmp_path / "simulated",
        head="mlp:hidden=32",
        strategy=strategy,
        rounds=3,
        clients=3,
        partition="group",
        split="column",
        settings=training,
    )
    found, wanted = (
        load_file(tmp_path / run / "model.safetensors") for run in ("run", "simulated")
    )
    assert all(torch.equal(array, wanted[name]) for name, array in found.items())
    rows, same = metrics(tmp_path / "run"), metrics(tmp_path / "simulated")
    assert [[row[name] for name in ROUND_FIGURES] for row in rows] == [
        [row[name] for name in ROUND_FIGURES] for row in same
    ]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    for name in ("top1", "top5", "macro_f1", "client_top1", "num_train", "num_test", "bytes_up"):
        assert summary[name] == simulated[name], name
    assert summary["wire_bytes_up"] > summary["bytes_up"]
    assert len(proxy.up) > summary["wire_bytes_up"]  # TLS adds to what the server counts
    assert_hidden(bytes(proxy.up) + bytes(proxy.down), found, together(stores))
    for client, name in enumerate(sorted(stores)):  # each has its own private part
        own = load_file(tmp_path / f"client-{name}" / "run" / "model.safetensors")
        for tensor, array in own.items():
            key = tensor.replace("head.", f"client.{client}.")
            assert torch.equal(array, wanted.get(key, wanted[tensor])), tensor


def assert_hidden(recorded: bytes, model: dict[str, torch.Tensor], clips: Features) -> None:
    """No tensor, label, file or clip can be read from what passed between the machines."""
    values = [array.numpy().tobytes() for array in model.values()]
    windows = [each[start : start + 12] for each in values for start in range(0, len(each), 256)]
    names = [name.removeprefix("head.").encode() for name in model]
    words = [*clips.classes, *clips.clip_ids, *(Path(uri).name for uri in clips.uris), *clips.views]
    for secret in (*windows, *names, *map(str.encode, words)):
        if len(secret) >= 6:
            assert secret not in recorded, secret
