"""How well clients learn together: each strategy under each deal, beside a head trained centrally.

    python -m benchmarks.strategies STORE --features cnn-efficientnet-lite0,motion [--clients 9]

Every clip is scored once, by a head that saw nothing of its group; the head trained centrally has
the same folds, the same number of passes over the clips and the same optimiser. Printed is the mean
top-1 over seeds, and in brackets the lowest and the highest. A head with private parts has no model
for a group that is a client of its own and was left out.
"""

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from rich.console import Console
from rich.table import Table

from kinestore.federated.client_update import LOCAL_SETTINGS
from kinestore.pipeline.training.federated.fold_simulation import Federation
from kinestore.pipeline.training.folds import Fold, divide, keep_labelled, score_folds
from kinestore.pipeline.training.head_trainer import Trainer
from kinestore.pipeline.training.model_spec import read_head, read_strategy
from kinestore.store import Features, Store

STRATEGIES = (
    "fedavg",
    "fedprox:mu=0.1",
    "feddyn:alpha=0.01",
    "personal:private=4",
    "personal:public=4",
)
PARTITIONS = ("iid", "dirichlet:0.6", "group")


def central(rows: Features, folds: Sequence[Fold], *, head: str, rounds: int, seed: int) -> float:
    """Top-1 of a head that sees all clients' clips, for as many epochs as they train."""
    trainer = Trainer(
        features=rows,
        head=read_head(head),
        settings=replace(LOCAL_SETTINGS, epochs=rounds * LOCAL_SETTINGS.epochs),
        patience=None,
        class_weights=None,
        seed=seed,
    )
    logits = [trainer.run_fold(fold, lambda _: None).logits for fold in folds]
    return score_folds(rows, folds, logits).top1


def together(job: Federation, folds: Sequence[Fold]) -> float:
    """Top-1 of the clients' model, or models."""
    logits = [
        job.run(job.deal(fold), checkpoints=None, on_round=lambda _: None).logits for fold in folds
    ]
    return score_folds(job.rows, folds, logits).top1


def told(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("--features", required=True)
    parser.add_argument("--head", default="mlp")
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES)
    parser.add_argument("--partitions", nargs="+", default=PARTITIONS)
    parser.add_argument("--clients", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    console = Console()
    rows = keep_labelled(Store(args.store).load(args.features.split(",")))
    _, folds = divide(rows, split=None, cv="group", folds=None, seed=0)
    alone = [
        central(rows, folds, head=args.head, rounds=args.rounds, seed=seed) for seed in args.seeds
    ]
    console.print(
        f"{len(rows.labels)} clips, {np.ptp(rows.labels) + 1} classes; central {told(alone)}"
    )
    table = Table("strategy", *args.partitions)
    for strategy in args.strategies:
        cells = []
        for partition in args.partitions:
            jobs = [
                Federation(
                    rows=rows,
                    head=read_head(args.head),
                    strategy=read_strategy(strategy),
                    partition=partition,
                    clients=args.clients,
                    rounds=args.rounds,
                    sample=None,
                    settings=LOCAL_SETTINGS,
                    seed=seed,
                )
                for seed in args.seeds
            ]
            own = strategy.startswith("personal") and partition == "group"
            cells.append("-" if own else told([together(job, folds) for job in jobs]))
            console.print(f"{strategy}, {partition}: {cells[-1]}")
        table.add_row(strategy, *cells)
    console.print(table)


if __name__ == "__main__":
    main()
