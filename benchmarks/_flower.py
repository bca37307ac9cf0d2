"""The other programs of `benchmarks.federated`: training steps in plain PyTorch, and in Flower.

Flower runs in its own virtual environment, which has this module and nothing else of the
project. Ray's workers import it by name, and so keep the result of `worker`.
"""

import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

BATCH = 128
WIDTHS = (2816, 512, 256, 101)
PACKAGE = "flwr[simulation]>=1.41,<1.42"


def build_model() -> nn.Module:
    """The network, with whatever weights the global generator gives."""
    layers: list[nn.Module] = []
    for width_in, width_out in pairwise(WIDTHS):
        layers += [nn.Linear(width_in, width_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Trainer:
    """One client after another in the same memory: weights and the state of Adam."""

    def __init__(self, features: Tensor, labels: Tensor, model: nn.Module) -> None:
        self._features, self._labels = features, labels
        self.model = model
        self._optimizer = torch.optim.Adam(
            self.model.parameters(), lr=1e-3, weight_decay=1e-4, fused=True
        )

    def start_from(self, weights: Sequence[Tensor]) -> None:
        """Copy these weights in; Adam forgets the client before."""
        with torch.no_grad():
            for own, given in zip(self.model.parameters(), weights, strict=True):
                own.copy_(given)
        for state in self._optimizer.state.values():
            for value in state.values():
                value.zero_()

    def train(self, part: Tensor, *, epochs: int, order: torch.Generator) -> None:
        """Steps over the rows of `part` in random order, and nothing else."""
        for _ in range(epochs):
            for rows in part[torch.randperm(len(part), generator=order)].split(BATCH):  # type: ignore[no-untyped-call]
                self._optimizer.zero_grad()
                logits = self.model(self._features[rows])
                loss = nn.functional.cross_entropy(logits, self._labels[rows])
                loss.backward()  # type: ignore[no-untyped-call]
                self._optimizer.step()


@functools.cache
def worker(folder: Path, num_threads: int) -> tuple[Trainer, list[Tensor]]:
    """Return the state that a Ray process keeps between clients: mapped rows, and a trainer."""
    torch.set_num_threads(num_threads)
    features = torch.from_numpy(np.load(folder / "features.npy", mmap_mode="c"))
    labels = torch.from_numpy(np.load(folder / "labels.npy"))
    parts = np.split(np.load(folder / "parts.npy"), np.load(folder / "bounds.npy"))
    return Trainer(features, labels, build_model()), [torch.from_numpy(part) for part in parts]


def simulate(folder: Path, *, num_clients: int, rounds: int, epochs: int, num_cpus: int) -> None:
    """Run Flower; leave `seconds.json`, a number for each round but the first, and `state.pt`."""
    from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
    from flwr.clientapp import ClientApp
    from flwr.serverapp import ServerApp
    from flwr.serverapp.strategy import FedAvg
    from flwr.simulation import run_simulation

    client_app, server_app = ClientApp(), ServerApp()
    ended: list[float] = []

    @client_app.train()
    def train(message: Any, context: Any) -> Any:
        trainer, parts = worker(folder, num_cpus)
        client = int(context.node_config["partition-id"])
        number = int(message.content["config"]["server-round"])
        trainer.start_from(list(message.content["arrays"].to_torch_state_dict().values()))
        order = torch.Generator().manual_seed(1000 * number + client)
        trainer.train(parts[client], epochs=epochs, order=order)
        arrays = ArrayRecord(trainer.model.state_dict())
        metrics = MetricRecord({"num-examples": len(parts[client])})
        content = RecordDict({"arrays": arrays, "metrics": metrics})
        return Message(content=content, reply_to=message)

    @server_app.main()
    def serve(grid: Any, context: Any) -> None:
        strategy = FedAvg(
            fraction_evaluate=0.0, min_train_nodes=num_clients, min_available_nodes=num_clients
        )
        result = strategy.start(
            grid,
            ArrayRecord(torch.load(folder / "start.pt")),
            num_rounds=rounds,
            evaluate_fn=lambda number, arrays: ended.append(time.perf_counter()),
        )
        torch.save(result.arrays.to_torch_state_dict(), folder / "state.pt")

    config: Any = {
        "client_resources": {"num_cpus": num_cpus, "num_gpus": 0.0},
        "init_args": {"num_cpus": os.cpu_count() or 1},
    }
    run_simulation(server_app, client_app, num_supernodes=num_clients, backend_config=config)
    after_first = ended[1:]  # the model is also evaluated before the first round
    (folder / "seconds.json").write_text(json.dumps(np.diff(after_first).tolist()))


def install(venv: Path, *, torch_version: str) -> Path:
    """Return the interpreter of Flower's environment, which is created if it is absent."""
    python = venv / "bin" / "python"
    if not python.exists():
        print(f"installing Flower into {venv}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        wanted = [PACKAGE, f"torch=={torch_version}"]
        subprocess.run([python, "-m", "pip", "install", "-q", *wanted], check=True)
    return python


def run(python: Path, folder: Path, **numbers: int) -> None:
    """Call `simulate` in that environment, without sending usage statistics."""
    # Not `-m`: Ray would then send the module's functions by value, and its workers keep nothing.
    call = f"from benchmarks._flower import *; simulate(Path({str(folder)!r}), **{numbers})"
    silent = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [python, "-c", call],
        cwd=Path(__file__).parent.parent,
        env=os.environ | silent,
        capture_output=True,
        text=True,
    )
    if done.returncode or not (folder / "seconds.json").exists():
        raise SystemExit(f"Flower failed (exit status {done.returncode}):\n{done.stderr[-2000:]}")
