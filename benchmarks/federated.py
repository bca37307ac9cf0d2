"""Seconds per round of federated training: this project, a plain loop and Flower's simulation.

    python -m benchmarks.federated [--clients 4 10 20] [--repeats 5] [--skip-flower] [--json FILE]

10,619 generated rows of 2816 values, 101 classes, MLP 2816-512-256-101, even parts; five local
epochs, batches of 128, Adam. A repetition runs each contender in turn for three rounds; the first
warms up, and the median of the others over all repetitions counts.

- `ours`: `federated.simulation.simulate`, with its checks, accounting and averages in float64.
- `plain loop`: the same batches, fused Adam, one model and one optimizer for all clients, weights
  averaged as they come, in float32; nothing is checked, counted or stored.
- `Flower`: its simulation on Ray in a virtual environment of its own (`--flower-venv`), made where
  there is none: the plain loop's steps, one worker process and one torch thread a core
  (`--flower-cpus`), rows mapped once by each worker, FedAvg over all clients, no evaluation.

The peak is what `torch.mm` reaches on the products of one step. Overhead is a round of no epoch.
Where there is a GPU, whole runs of 80 rounds are timed on it, with 4 and with 100 clients. First of
all run 1,000 clients with small heads, 50 a round: seconds, and memory, which must not grow.
"""

import argparse
import copy
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks import _flower
from benchmarks._flower import BATCH, WIDTHS, Trainer, build_model
from kinestore.federated import partition
from kinestore.federated.simulation import SimulationOptions, simulate
from kinestore.heads import TrainingConfig, create, predict_logits
from kinestore.heads.support.seeds import derive_seed

ROWS, TEST_ROWS = 10_619, 2_000
ROUNDS, EPOCHS = 3, 5
EMPTY_ROUNDS = 20
CONTENDERS = ("ours", "plain loop", "Flower")

Parts = list[NDArray[np.int64]]
Seconds = dict[str, list[float]]


def settings(epochs: int) -> TrainingConfig:
    return TrainingConfig(epochs=epochs, batch_size=BATCH, learning_rate=1e-3, weight_decay=1e-4)


def make_rows(num_rows: int, width: int, num_classes: int) -> tuple[Tensor, Tensor]:
    """Noise around a center for each class, near enough that some rows stay hard."""
    rng = np.random.default_rng(0)
    labels = np.arange(num_rows) % num_classes
    centers = 0.1 * rng.standard_normal((num_classes, width), np.float32)
    features = rng.standard_normal((num_rows, width), np.float32) + centers[labels]
    return torch.from_numpy(features), torch.from_numpy(labels)


class Bench:
    """The contenders on one set of rows; each gives the weights that it ended with."""

    def __init__(self, rows: tuple[Tensor, Tensor]) -> None:
        self.features, self.labels = (array[:ROWS] for array in rows)
        self._test = tuple(array[ROWS:] for array in rows)
        torch.manual_seed(0)
        self.start = build_model()
        self._trainer = Trainer(self.features, self.labels, build_model())

    def ours(self, parts: Parts, *, epochs: int, rounds: int) -> tuple[Seconds, list[Tensor]]:
        """This project's simulation."""
        ended: list[float] = []
        history = simulate(
            copy.deepcopy(self.start),
            self.features,
            self.labels,
            parts,
            rounds=rounds,
            settings=settings(epochs),
            options=SimulationOptions(
                device="cpu", on_round=lambda record: ended.append(time.perf_counter())
            ),
        )
        return {"ours": np.diff(ended).tolist()}, list(history.state.values())

    def plain(self, parts: Parts, *, epochs: int, rounds: int) -> tuple[Seconds, list[Tensor]]:
        """The best plain loop."""
        trainer = self._trainer
        clients = [torch.from_numpy(part) for part in parts]
        num_rows = sum(map(len, parts))
        weights = [parameter.detach().clone() for parameter in self.start.parameters()]
        total = [torch.empty_like(weight) for weight in weights]
        seconds: list[float] = []
        for number in range(1, rounds + 1):
            began = time.perf_counter()
            for array in total:
                array.zero_()
            for client, part in enumerate(clients):
                order = torch.Generator().manual_seed(derive_seed("client", 0, number, client))
                trainer.start_from(weights)
                trainer.train(part, epochs=epochs, order=order)
                with torch.no_grad():
                    for array, own in zip(total, trainer.model.parameters(), strict=True):
                        array.add_(own, alpha=len(part) / num_rows)
            weights, total = total, weights
            seconds.append(time.perf_counter() - began)
        return {"plain loop": seconds[1:]}, weights

    def flower(self, python: Path, parts: Parts, num_cpus: int) -> tuple[Seconds, list[Tensor]]:
        """Flower's simulation, in its own environment."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            np.save(folder / "features.npy", self.features.numpy())
            np.save(folder / "labels.npy", self.labels.numpy())
            np.save(folder / "parts.npy", np.concatenate(parts))
            np.save(folder / "bounds.npy", np.cumsum([len(part) for part in parts])[:-1])
            torch.save(self.start.state_dict(), folder / "start.pt")
            _flower.run(
                python,
                folder,
                num_clients=len(parts),
                rounds=ROUNDS,
                epochs=EPOCHS,
                num_cpus=num_cpus,
            )
            seconds = json.loads((folder / "seconds.json").read_text())
            return {"Flower": seconds}, list(torch.load(folder / "state.pt").values())

    def accuracy(self, weights: Sequence[Tensor]) -> float:
        """Return the accuracy on test rows."""
        model = build_model()
        model.load_state_dict(dict(zip(model.state_dict(), weights, strict=True)))
        features, labels = self._test
        return float((predict_logits(model, features).argmax(1) == labels).double().mean())


def product_seconds() -> float:
    """Measure all matrix products of one step, by torch.mm."""
    total = 0.0
    for layer, (width_in, width_out) in enumerate(pairwise(WIDTHS)):
        x, grad = torch.randn(BATCH, width_in), torch.randn(BATCH, width_out)
        weight = torch.randn(width_out, width_in)
        products = [(x, weight.t()), (grad.t(), x)] + ([(grad, weight)] if layer else [])
        for left, right in products:
            total += seconds_of(torch.mm, left, right)
    return total


def seconds_of(multiply: Callable[[Tensor, Tensor], Tensor], left: Tensor, right: Tensor) -> float:
    """Median of thirty."""
    times = []
    for _ in range(30):
        began = time.perf_counter()
        multiply(left, right)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def flops(num_rows: int) -> int:
    """Of forward and backward passes; the gradient of the rows themselves is not needed."""
    products = sum(a * b for a, b in pairwise(WIDTHS))
    return num_rows * (6 * products - 2 * WIDTHS[0] * WIDTHS[1])


def measure(
    bench: Bench, num_clients: int, *, repeats: int, python: Path | None, num_cpus: int
) -> dict[str, float]:
    """Median seconds of each contender, and what follows from them."""
    parts = partition.iid(bench.labels.numpy(), num_clients, seed=0)
    seen: Seconds = {}
    for _ in range(repeats):
        answers = [
            bench.ours(parts, epochs=EPOCHS, rounds=ROUNDS),
            bench.plain(parts, epochs=EPOCHS, rounds=ROUNDS),
        ]
        if python is not None:
            answers.append(bench.flower(python, parts, num_cpus))
        check([bench.accuracy(weights) for _, weights in answers])
        for run in (bench.ours, bench.plain):
            seconds, _ = run(parts, epochs=0, rounds=EMPTY_ROUNDS)
            answers.append(({f"{name}, no epoch": times for name, times in seconds.items()}, []))
        answers.append(({"torch.mm": [product_seconds()]}, []))
        for seconds, _ in answers:
            for name, times in seconds.items():
                seen.setdefault(name, []).extend(times)
    found = {name: statistics.median(times) for name, times in seen.items()}
    found |= {f"{name}, fastest": min(times) for name, times in seen.items()}
    found["flop/s"] = flops(ROWS * EPOCHS) / found["ours"]
    found["flop/s of the peak"] = flops(BATCH) / found["torch.mm"]
    return found


def check(accuracies: Sequence[float]) -> None:
    """Check that all contenders learned the same: otherwise their speed means nothing."""
    if max(accuracies) - min(accuracies) > 0.05 or min(accuracies) < 5 / WIDTHS[-1]:
        raise ValueError(f"the contenders did not learn alike: accuracies {accuracies}")


def crowd() -> dict[str, float]:
    """Seconds of 200 rounds with small heads, and memory in MiB after some of them."""
    rows = make_rows(20_000, 64, 10)
    parts = partition.iid(rows[1].numpy(), 1_000, seed=0)
    head = create("mlp", in_features=64, num_classes=10, hidden=(32,))
    memory: dict[str, float] = {}

    def measure_memory(record: Any) -> None:
        if record.round in (20, 100, 200):
            mib = psutil.Process().memory_info().rss / 2**20
            memory[f"MiB after round {record.round}"] = mib

    began = time.perf_counter()
    options = SimulationOptions(clients_per_round=50, on_round=measure_memory)
    simulate(head, *rows, parts, rounds=200, settings=settings(EPOCHS), options=options)
    return {"seconds": time.perf_counter() - began, **memory}


def whole_runs(bench: Bench) -> dict[int, float]:
    """Seconds of 80 rounds on a GPU, by clients; a short run of as many warms up."""
    found = {}
    for num_clients in (4, 100):
        parts = partition.iid(bench.labels.numpy(), num_clients, seed=0)
        rows = (bench.start, bench.features, bench.labels, parts)
        for rounds in (1, 80):
            began = time.perf_counter()
            options = SimulationOptions(device="cuda")
            simulate(*rows, rounds=rounds, settings=settings(EPOCHS), options=options)
            found[num_clients] = time.perf_counter() - began
    return found


def show(console: Console, found: dict[int, dict[str, float]]) -> None:
    names = [name for name in CONTENDERS if name in next(iter(found.values()))]
    table = Table("clients", *(f"{name} s" for name in names), title="Median seconds a round")
    more = (
        "/ plain",
        "Flower / ours",
        "of peak",
        "overhead ms",
        "plain's",
    )
    for column in more:
        table.add_column(column, justify="right")
    for num_clients, of in found.items():
        table.add_row(
            str(num_clients),
            *(f"{of[name]:.2f}" for name in names),
            f"{of['ours'] / of['plain loop']:.3f}",
            f"{of['Flower'] / of['ours']:.2f}" if "Flower" in of else "-",
            f"{of['flop/s'] / of['flop/s of the peak']:.3f}",
            f"{1e3 * of['ours, no epoch']:.1f}",
            f"{1e3 * of['plain loop, no epoch']:.1f}",
        )
    console.print(table)
    speed = statistics.median(of["flop/s of the peak"] for of in found.values())
    console.print(f"peak: {speed / 1e9:.0f} GFLOP/s with {torch.get_num_threads()} threads")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, nargs="+", default=[4, 10, 20])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--skip-flower", action="store_true")
    parser.add_argument("--flower-venv", type=Path, default=Path.home() / ".cache/kinestore/flower")
    parser.add_argument("--flower-cpus", type=int, default=1, help="cores and threads a worker")
    running = torch.__version__.split("+")[0]
    parser.add_argument("--flower-torch", default=running, help=f"version (default {running})")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    args = parser.parse_args()
    console = Console(width=120, highlight=False)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        many = alone.submit(crowd).result()
    console.print("1,000 clients, 50 a round:", {what: round(n, 1) for what, n in many.items()})
    bench = Bench(make_rows(ROWS + TEST_ROWS, WIDTHS[0], WIDTHS[-1]))
    if torch.cuda.is_available():
        console.print("80 rounds on a GPU, seconds by clients:", whole_runs(bench))
    python = None
    if not args.skip_flower:
        python = _flower.install(args.flower_venv, torch_version=args.flower_torch)
    found = {
        number: measure(
            bench, number, repeats=args.repeats, python=python, num_cpus=args.flower_cpus
        )
        for number in args.clients
    }
    show(console, found)
    if args.json:
        args.json.write_text(json.dumps({"rounds": found, "crowd": many}, indent=2) + "\n")


if __name__ == "__main__":
    main()
