"""The job that trains one head over many clients, simulated in one process."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import federated
from federated.accounting import Traffic
from federated.client import LOCAL_SETTINGS
from federated.moments import agree
from federated.simulation import History, RoundRecord, check_rounds, simulate
from heads import FitSettings, Scores, create, predict, score, to_features
from pipeline.charts import Panel, draw_partition
from pipeline.deal import deal
from pipeline.folds import Fold, divide_once, keep_labelled
from pipeline.runs import Run, open_run
from store import Features

_COLUMNS = (
    "round",
    "train_loss",
    "accuracy",
    "clients",
    "refused",
    "parameters_up",
    "parameters_down",
    "bytes_up",
    "bytes_down",
    "seconds",
)


def federate(
    features: Features,
    *,
    out: str | Path,
    head: str = "mlp",
    strategy: str = "fedavg",
    clients: int = 4,
    rounds: int = 80,
    partition: str = "iid",
    sample: int | None = None,
    settings: FitSettings = LOCAL_SETTINGS,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Deal the training clips to clients, train together, and write a run folder.

    The split column decides what is scored if it has both "train" and "test"; else a fifth of each
    class is held out. Clients agree on the standardiser by their moments, without sharing a row.

    Args:
        features: What `Store.load` gives, with rows (N, D).
        out: The run folder: new, empty or an earlier run, which is replaced.
        head: One of `heads.names()`.
        strategy: One of `federated.names()`.
        clients: Number of clients.
        rounds: 1 or more.
        partition: One of `pipeline.deal.PARTITIONS`: "iid" for even shares of every class, "group"
            to keep each group with one client, and others that skew the classes.
        sample: Clients drawn for each round; None takes all.
        settings: A client's training in one round; its epochs are the local epochs.
        seed: 0 or more; decides the hold-out, the partition, first weights, draws and batches.
        on_progress: Called after each round with the rounds done and their number.

    Returns:
        What summary.json holds. Its parameters and bytes are sums over all rounds and clients; the
        bytes hold the exchange of moments too (once, from all clients), which is given apart as
        `standardise_bytes_up` and `standardise_bytes_down` and is in no row of metrics.csv.

    Raises:
        UsageError: If the request or the features do not allow it.
    """
    started = time.perf_counter()
    check_rounds(rounds=rounds, sample=sample, num_clients=clients)
    rows = keep_labelled(features)
    to_features(rows.features)  # refuse NaN and sequences before anything is written
    evaluation, fold = divide_once(rows, split=None, seed=seed)
    parts = deal(rows, fold.train, clients=clients, partition=partition, seed=seed)
    num_train = sum(map(len, parts))
    standardiser, setup = agree(rows.features, parts)
    ready = standardiser.apply(rows.features)
    model = create(head, in_features=ready.shape[1], num_classes=len(rows.classes), seed=seed)
    rule = federated.create(strategy)
    config = {
        "job": "federate",
        "head": head,
        "features": rows.views,
        "strategy": strategy,
        "partition": partition,
        "clients": clients,
        "rounds": rounds,
        "sample": sample,
        "evaluation": evaluation,
        "settings": asdict(settings),
        "seed": seed,
    }
    with open_run(out, config, columns=_COLUMNS) as run:
        history = simulate(
            model,
            ready,
            rows.labels,
            parts,
            rounds=rounds,
            strategy=rule,
            settings=settings,
            sample=sample,
            seed=seed,
            test=(ready[fold.test], rows.labels[fold.test]),
            on_round=_write_round(run, rounds, on_progress),
        )
        model.load_state_dict(history.state)
        scores = _score(model, ready, rows, fold)
        summary = {
            **scores.fractions(),
            "num_train": num_train,
            "num_test": len(fold.test),
            "num_unlabelled": len(features.labels) - len(rows.labels),
            "num_missing": len(features.missing),
            "num_left_out": len(rows.labels) - num_train - len(fold.test),
            "client_sizes": [len(part) for part in parts],
            **_totals(history, setup),
            "classes": rows.classes,
            **{key: value for key, value in config.items() if key != "job"},
            "seconds": round(time.perf_counter() - started, 3),
        }
        held = [np.bincount(rows.labels[part], minlength=len(rows.classes)) for part in parts]
        draw_partition(run.path / "partition.png", np.stack(held), classes=rows.classes)
        run.finish(
            model=model,
            standardiser=standardiser,
            scores=scores,
            classes=rows.classes,
            panels=_panels(history),
            x_label="round",
            summary=summary,
        )
    return summary


def _write_round(
    run: Run, rounds: int, on_progress: Callable[[int, int], None] | None
) -> Callable[[RoundRecord], None]:
    """What to do after each round: one row of metrics, and the news to whoever watches."""

    def on_round(record: RoundRecord) -> None:
        run.add({name: getattr(record, name) for name in _COLUMNS})
        if on_progress is not None:
            on_progress(record.round, rounds)

    return on_round


def _score(model: nn.Module, ready: NDArray[np.float32], rows: Features, fold: Fold) -> Scores:
    logits = predict(model, torch.from_numpy(ready[fold.test]))
    return score(logits, torch.from_numpy(rows.labels[fold.test]), len(rows.classes))


def _totals(history: History, setup: Traffic) -> dict[str, Any]:
    """Sums over the run, and who was refused."""
    return {
        "parameters_up": sum(record.parameters_up for record in history.rounds),
        "parameters_down": sum(record.parameters_down for record in history.rounds),
        "bytes_up": setup.bytes_up + sum(record.bytes_up for record in history.rounds),
        "bytes_down": setup.bytes_down + sum(record.bytes_down for record in history.rounds),
        "standardise_bytes_up": setup.bytes_up,
        "standardise_bytes_down": setup.bytes_down,
        "refused": sum(record.refused for record in history.rounds),
        "refusals": [
            f"round {record.round}, client {refusal.client}: {refusal.reason}"
            for record in history.rounds
            for refusal in record.refusals
        ],
    }


def _panels(history: History) -> list[Panel]:
    losses = np.array([[record.train_loss for record in history.rounds]])
    accuracies = np.array([[record.accuracy for record in history.rounds]], dtype=np.float64)
    return [
        Panel(title="Cross-entropy in the clients, last local epoch", lines={"clients": losses}),
        Panel(title="Accuracy on unseen clips", lines={"model": accuracies}, is_fraction=True),
    ]
