"""A federated run on raw rows against a loop that is written from the equations of FLAMeST.

Federated Multimodal Fusion for Action Recognition, section 3.6: every client starts from the
server's weights, trains for its local epochs (Eq. 11), and the server takes the mean weighted by
n_i / sum n (Eq. 12). The loop below uses torch alone; a batch holds all rows of a client, so that
their order does not matter.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import kinestore as ks
from kinestore import heads
from kinestore.pipeline.runs.client_partition import read_client_partition
from tests.helpers.embedded import embedded_store
from tests.helpers.reported import without_pictures

no_pictures = pytest.fixture(scope="module", autouse=True)(without_pictures)

ROUNDS, LOCAL_EPOCHS, RATE, DECAY = 4, 5, 0.01, 1e-4


def loop(
    rows: Tensor, labels: Tensor, clients: list[list[int]], *, optimizer: str
) -> dict[str, Tensor]:
    """Return the server's weights after all rounds."""
    server = heads.create("mlp", seed=3, in_features=6, num_classes=3, hidden=(8, 4))
    for _ in range(ROUNDS):
        mean = {
            name: torch.zeros_like(w, dtype=torch.float64) for name, w in server.named_parameters()
        }
        total = sum(map(len, clients))
        for own in clients:
            model = nn.Sequential(
                nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3)
            )
            model.load_state_dict(server.state_dict())
            steps: torch.optim.Optimizer
            if optimizer == "adam":
                steps = torch.optim.Adam(model.parameters(), lr=RATE, weight_decay=DECAY)
            else:
                steps = torch.optim.SGD(model.parameters(), lr=RATE)
            for _ in range(LOCAL_EPOCHS):
                steps.zero_grad()
                loss: Tensor = nn.functional.cross_entropy(model(rows[own]), labels[own])
                loss.backward()  # type: ignore[no-untyped-call]
                steps.step()
            for name, weight in model.named_parameters():
                mean[name] += len(own) / total * weight.detach().double()
        server.load_state_dict({name: weight.float() for name, weight in mean.items()})
    return dict(server.state_dict())


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("partition", ["iid", "dirichlet:0.6", "client-dirichlet:1"])
def test_a_run_on_raw_rows_equals_the_loop(tmp_path: Path, optimizer: str, partition: str) -> None:
    features = embedded_store(tmp_path / "store", num_clips=60).load("vector")
    scale = np.array([1, 5, 0.2, 3, 1, 2], np.float32)  # what standardizing would take away
    features = replace(features, features=features.features * scale + 1)
    summary = ks.federate(
        features,
        out=tmp_path / "run",
        head="mlp:hidden=8-4",
        federation=ks.FederationConfig(num_clients=3, rounds=ROUNDS, partition=partition),
        training=ks.TrainingConfig(
            epochs=LOCAL_EPOCHS,
            batch_size=60,
            learning_rate=RATE,
            weight_decay=DECAY if optimizer == "adam" else 0.0,
            optimizer=optimizer,
            momentum=0.0,
            standardize="none",
            device="cpu",
        ),
        seed=3,
    )
    owner = read_client_partition(tmp_path / "run")
    number = {clip_id: row for row, clip_id in enumerate(features.clip_ids)}
    clients = [[number[clip] for clip in owner if owner[clip] == client] for client in range(3)]
    assert summary.federation is not None
    assert [len(own) for own in clients] == summary.federation.client_sizes
    wanted = loop(
        torch.from_numpy(features.features),
        torch.from_numpy(features.labels),
        clients,
        optimizer=optimizer,
    )
    saved = load_file(tmp_path / "run" / "model.safetensors")
    assert set(saved["standardise.mean"].tolist()) == {0.0}
    assert set(saved["standardise.std"].tolist()) == {1.0}
    for name, weight in wanted.items():
        # float32 sums in another order, amplified by twenty steps of Adam
        torch.testing.assert_close(saved[f"head.{name}"], weight, atol=2e-5, rtol=1e-4)
