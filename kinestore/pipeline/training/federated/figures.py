"""Figures of a federated job, for its summary, communication.json and curves."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray

from kinestore.federated.evaluation import plain_mean
from kinestore.federated.privacy import privacy_of
from kinestore.federated.round_record import RoundRecord
from kinestore.heads import among_best
from kinestore.pipeline.plotting.run_charts import LinePanel
from kinestore.pipeline.runs.best_and_last import BestAndLast, FoldCurve, summarize_curves
from kinestore.pipeline.runs.predictions import Predictions, count_by_client
from kinestore.pipeline.runs.summary import FederatedFigures
from kinestore.pipeline.training.data import TrainingData
from kinestore.pipeline.training.federated.communication_report import communication
from kinestore.pipeline.training.federated.fold_simulation import FederatedFold, FederatedTrainer


class FederatedCounts(TypedDict):
    """Clips by what became of them, and what the saved model was trained on."""

    num_train: int
    num_validation: int | None
    num_test: int
    num_unlabeled: int
    num_missing: int
    num_left_out: int
    model: str


def counts_of(
    data: TrainingData, scored: Sequence[FederatedFold], last: FederatedFold, *, crossed: bool
) -> FederatedCounts:
    """Count the clips of each part."""
    num_train = sum(map(len, last.partition.parts))
    num_test = sum(len(result.partition.fold.test) for result in scored)
    num_validation = sum(len(result.partition.fold.validation) for result in scored)
    return {
        "num_train": num_train,
        "num_validation": num_validation or None,
        "num_test": num_test,
        "num_unlabeled": data.num_unlabeled,
        "num_missing": len(data.rows.missing),
        "num_left_out": len(data.rows.labels)
        - num_train
        - (0 if crossed else num_test + num_validation),
        "model": "all rows" if crossed else "train rows",
    }


def communication_of(result: FederatedFold, trainer: FederatedTrainer) -> dict[str, Any]:
    """Return what communication.json holds."""
    rows = trainer.data.rows
    parameters = dict(result.model.named_parameters())
    shared = result.history.shared
    return communication(
        result.history.rounds,
        setup=result.traffic,
        num_clients=trainer.federation.num_clients,
        shared=sum(array.numel() for name, array in parameters.items() if name in shared),
        head=sum(array.numel() for array in parameters.values()),
        views=rows.views if rows.features.shape[-1] else [],
    )


def federated_figures(
    trainer: FederatedTrainer,
    results: Sequence[FederatedFold],
    scored: Sequence[FederatedFold],
    predictions: Predictions,
    communication: dict[str, Any],
) -> FederatedFigures:
    """Gather the figures that a central run does not have.

    Args:
        trainer: The job.
        results: All folds, the last of which gave the saved model.
        scored: The folds that were tested.
        predictions: Predictions of their test clips.
        communication: What communication.json holds.
    """
    num_clients, last = trainer.federation.num_clients, results[-1]
    own = [part.top1 for part in count_by_client(predictions, num_clients=num_clients)]
    own_top5 = _client_top5(trainer, scored)
    run, moments = communication["run"], communication["standardise"]
    return FederatedFigures(
        mean_client_top1=mean_of_clients(own),
        mean_client_top5=mean_of_clients(own_top5),
        client_top1=own,
        client_top5=own_top5,
        client_sizes=[len(part) for part in last.partition.parts],
        client_best_top1=_client_best(scored, num_clients),
        client_num_classes=[
            len(np.unique(trainer.data.rows.labels[part])) for part in last.partition.parts
        ],
        num_unused=last.partition.num_unused,
        num_untested=sum(result.partition.num_untested for result in scored),
        parameters_up=run["parameters_up"],
        parameters_down=run["parameters_down"],
        bytes_up=run["bytes_up"] + moments["bytes_up"],
        bytes_down=run["bytes_down"] + moments["bytes_down"],
        standardise_bytes_up=moments["bytes_up"],
        standardise_bytes_down=moments["bytes_down"],
        num_rejected_updates=sum(
            record.refused for result in results for record in result.history.rounds
        ),
        rejected_updates=[
            sentence
            for result in results
            for sentence in rejected_updates_of(
                result.history.rounds, _fold_prefix(result, results)
            )
        ],
        privacy=_privacy(trainer, last),
        left_out_clients=[
            f"{_fold_prefix(result, results)}client {client}: {num_clips} training clips"
            for result in results
            for client, num_clips in result.partition.left_out.items()
        ],
    )


def _client_top5(trainer: FederatedTrainer, scored: Sequence[FederatedFold]) -> list[float | None]:
    """Return the top-5 accuracy of each client's test clips; None for a client without any."""
    rows = trainer.data.rows
    owners = np.concatenate([result.partition.owners for result in scored])
    labels = np.concatenate([rows.labels[result.partition.fold.test] for result in scored])
    logits = torch.cat([result.logits for result in scored])
    correct = among_best(logits, torch.from_numpy(labels), 5)
    each = [correct[owners == client] for client in range(trainer.federation.num_clients)]
    return [float(own.mean()) if len(own) else None for own in each]


def best_and_last_of(scored: Sequence[FederatedFold]) -> BestAndLast | None:
    """Return the accuracies of the last round, the chosen one, and the best on the test clips."""

    def curve(values: Iterable[float | None]) -> list[float]:
        return [math.nan if value is None else value for value in values]

    return summarize_curves(
        [
            FoldCurve(
                name=result.partition.fold.name,
                num_test=len(result.partition.fold.test),
                top1=curve(record.accuracy for record in result.history.rounds),
                top5=curve(record.top5 for record in result.history.rounds),
                chosen=best_rounds_of([result]).get(result.partition.fold.name),
            )
            for result in scored
        ],
        unit="round",
    )


def best_rounds_of(results: Sequence[FederatedFold]) -> dict[str, int]:
    """Return the best round of each fold that has a validation part to choose it by."""
    return {
        result.partition.fold.name: result.history.kept_round
        for result in results
        if len(result.partition.fold.validation)
    }


def mean_kept_round(results: Sequence[FederatedFold]) -> int:
    """Return for how many rounds a model of all clips is trained after several folds."""
    return round(float(np.mean([result.history.kept_round for result in results])))


def client_rows(record: RoundRecord, fold: str) -> list[dict[str, float | str | None]]:
    """Return the rows of client_metrics.csv for one round."""
    return [
        {
            "fold": fold,
            "round": record.round,
            "client": one.client,
            "part": part,
            "clips": one.num_clips,
            "top1": one.top1 / one.num_clips,
            "top5": one.top5 / one.num_clips,
        }
        for part, hits in {"train": record.train_hits, "test": record.test_hits}.items()
        for one in hits
        if one.num_clips
    ]


def _client_best(scored: Sequence[FederatedFold], num_clients: int) -> list[float | None]:
    """Return each client's highest accuracy after any round; of folds, that of their clips."""
    best, clips = np.zeros((2, num_clients))
    for result in scored:
        in_fold, counted = np.zeros((2, num_clients))
        for record in result.history.rounds:
            for one in record.test_hits:
                in_fold[one.client] = max(in_fold[one.client], one.top1)
                counted[one.client] = one.num_clips
        best, clips = best + in_fold, clips + counted
    return [float(most / total) if total else None for most, total in zip(best, clips, strict=True)]


def mean_of_clients(fractions: Sequence[float | None]) -> float | None:
    """Return the mean over the clients that have a fraction, each counted once; None without."""
    known = [fraction for fraction in fractions if fraction is not None]
    return plain_mean(known) if known else None


def rejected_updates_of(records: Sequence[RoundRecord], prefix: str = "") -> list[str]:
    """Return a sentence for each update that was not used."""
    return [
        f"{prefix}round {record.round}, client {one.client}: {one.reason}"
        for record in records
        for one in record.refusals
    ]


def _fold_prefix(result: FederatedFold, results: Sequence[FederatedFold]) -> str:
    return f"fold {result.partition.fold.name}, " if len(results) > 1 else ""


def _privacy(trainer: FederatedTrainer, last: FederatedFold) -> dict[str, float | None] | None:
    """Return a bound on what the saved model reveals of a client, where there is noise."""
    taken = Counter(client for record in last.history.rounds for client in record.participants)
    spent = privacy_of(trainer.strategy.stages, rounds=max(taken.values(), default=0))
    return None if spent is None else asdict(spent)


def round_panels(results: Sequence[FederatedFold]) -> list[LinePanel]:
    """Return the panels of curves.png for these folds."""
    return round_panels_of([result.history.rounds for result in results])


def round_panels_of(runs: Sequence[Sequence[RoundRecord]]) -> list[LinePanel]:
    """Return the panels of curves.png: loss and accuracy by round, a line for each model."""
    title, accuracy_title = "Cross-entropy, last local epoch", "Accuracy on test clips"
    losses = {"clients": _curves(runs, lambda record: record.train_loss)}
    lines = {"model": _curves(runs, lambda record: record.accuracy)}
    for name in runs[0][0].others:
        lines[name] = _curves(runs, _other(name))
    if runs[0][0].validation_loss is not None:
        title, accuracy_title = "Cross-entropy", "Accuracy"
        losses["validation"] = _curves(runs, lambda record: record.validation_loss)
        lines["validation"] = _curves(runs, lambda record: record.validation_accuracy)
    return [
        LinePanel(title=title, lines=losses),
        LinePanel(title=accuracy_title, lines=lines, is_fraction=True),
    ]


def _other(name: str) -> Callable[[RoundRecord], float]:
    return lambda record: record.others[name]


def _curves(
    runs: Sequence[Sequence[RoundRecord]], figure: Callable[[RoundRecord], float | None]
) -> NDArray[np.float64]:
    """Return a figure by fold and round; NaN where a fold had stopped."""
    curves = np.full((len(runs), max(map(len, runs))), np.nan)
    for curve, run in zip(curves, runs, strict=True):
        curve[: len(run)] = [figure(record) for record in run]
    return curves
