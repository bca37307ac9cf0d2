"""Accuracy of each federated strategy on each client partition, and of central training.

    python -m benchmarks.strategies STORE --features cnn-efficientnet-lite0,motion [--clients 9]

Every clip is tested once, by a head that was trained without its group. Central training has the
same folds, as many epochs over the clips, and the same optimizer. A cell is the mean top-1 over
seeds, with the lowest and the highest in brackets. A head with private parts has no model for a
group that is a client of its own and was left out: such cells are empty.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

import kinestore as ks
from kinestore.federated.client_update import LOCAL_SETTINGS
from kinestore.store import Features

STRATEGIES = (
    "fedavg",
    "fedprox:mu=0.1",
    "feddyn:alpha=0.01",
    "personal:private=4",
    "personal:public=4",
)
LEAVE_GROUPS_OUT = ks.EvaluationConfig(cv="group")
PARTITIONS = ("iid", "dirichlet:0.6", "group")


def central(features: Features, *, head: str, rounds: int, seed: int) -> float:
    """Return top-1 of a head that trains on all clients' clips, for as many epochs as they do."""
    training = replace(LOCAL_SETTINGS, epochs=rounds * LOCAL_SETTINGS.epochs)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        ks.train(
            features,
            out=run,
            head=head,
            evaluation=LEAVE_GROUPS_OUT,
            training=training,
            seed=seed,
        )
        return top1_of(run)


def federated(
    features: Features,
    *,
    head: str,
    strategy: str,
    partition: str,
    clients: int,
    rounds: int,
    seed: int,
) -> float:
    """Return top-1 of the clients' common model, or of their own models."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        ks.federate(
            features,
            out=run,
            head=head,
            federation=ks.FederationConfig(
                strategy=strategy, partition=partition, num_clients=clients, rounds=rounds
            ),
            evaluation=LEAVE_GROUPS_OUT,
            seed=seed,
        )
        return top1_of(run)


def top1_of(run: Path) -> float:
    """Read the accuracy from a run folder."""
    return float(json.loads((run / "summary.json").read_text())["top1"])


def spread(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("--features", required=True, help="views, separated by commas")
    parser.add_argument("--head", default="mlp")
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES)
    parser.add_argument("--partitions", nargs="+", default=PARTITIONS)
    parser.add_argument("--clients", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    console = Console()
    features = ks.Store(args.store).load(args.features.split(","))
    scores = [
        central(features, head=args.head, rounds=args.rounds, seed=seed) for seed in args.seeds
    ]
    labels = [int(label) for label in features.labels if label >= 0]
    console.print(f"{len(labels)} clips, {len(set(labels))} classes; central {spread(scores)}")
    table = Table("strategy", *args.partitions)
    for strategy in args.strategies:
        cells = []
        for partition in args.partitions:
            if strategy.startswith("personal") and partition == "group":
                cells.append("-")
                continue
            scores = [
                federated(
                    features,
                    head=args.head,
                    strategy=strategy,
                    partition=partition,
                    clients=args.clients,
                    rounds=args.rounds,
                    seed=seed,
                )
                for seed in args.seeds
            ]
            cells.append(spread(scores))
            console.print(f"{strategy}, {partition}: {cells[-1]}")
        table.add_row(strategy, *cells)
    console.print(table)


if __name__ == "__main__":
    main()
