"""The job that trains one head over many clients, simulated in one process."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from federated.client import LOCAL_SETTINGS
from federated.privacy import check_accountant, privacy_of
from federated.records import RoundRecord
from federated.scoring import plain_mean
from federated.simulation import Checkpoints, History, check_rounds
from heads import FitSettings, to_features
from pipeline.charts import Panel, draw_clients, draw_partition
from pipeline.choices import read_head, read_strategy
from pipeline.communication import communication
from pipeline.federation import Federation, FoldResult
from pipeline.folds import Fold, divide, keep_labelled, score_folds
from pipeline.predictions import by_client, predictions_of, write_deal
from pipeline.runs import Run, open_run, read_finished, versions
from store import Features

_COLUMNS = (
    "fold",
    "round",
    "train_loss",
    "accuracy",
    "others",
    "clients",
    "refused",
    "parameters_up",
    "parameters_down",
    "bytes_up",
    "bytes_down",
    "seconds",
)

OnProgress = Callable[[int, int, str], None]
"""Called with the rounds done, how many there are in all, and the last one's accuracy in words."""

ALL_ROWS = "all"


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
    split: str | None = None,
    cv: str | None = None,
    folds: int | None = None,
    settings: FitSettings = LOCAL_SETTINGS,
    seed: int = 0,
    checkpoint_every: int = 10,
    resume: bool = False,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Deal the training clips to clients, train together, and write a run folder.

    What is scored is chosen as `train` does. Clients agree on the standardiser by their moments,
    without sharing a row. A client's own test clips are those of its groups where groups were
    dealt; else each class's are shared out as the client's training clips are, and where parts of
    the head are private, a clip is scored by the model of its client.

    Args:
        features: What `Store.load` gives.
        out: The run folder: new, empty or an earlier run, which is replaced.
        head: One of `heads.names()`, with settings as `pipeline.choices` reads them.
        strategy: One of `federated.names()`, likewise.
        clients: Number of clients.
        rounds: 1 or more.
        partition: One of `pipeline.deal.PARTITIONS`: "iid" for even shares of every class, "group"
            to keep each group with one client, and others that skew the classes.
        sample: Clients drawn for each round; None takes all.
        split: "column" to insist on the split column.
        cv: "group" to leave one group out at a time.
        folds: Number of stratified folds, 2 or more.
        settings: A client's training in one round; its epochs are the local epochs.
        seed: 0 or more; decides the hold-out, the partition, first weights, draws and batches.
        checkpoint_every: Rounds between two checkpoints in the run folder.
        resume: Go on from the run folder's checkpoints, to the same bits; start where there are
            none. A run that is finished is only read.
        on_progress: Called after each round.

    Returns:
        What summary.json holds. Its parameters and bytes are sums over all rounds and clients; the
        bytes hold the exchange of moments too (once, from all clients), which is given apart as
        `standardise_bytes_up` and `standardise_bytes_down` and is in no row of metrics.csv. With
        folds they are those of the saved model, which is trained on all rows.

    Raises:
        UsageError: If the request or the features do not allow it.
    """
    started = time.perf_counter()
    check_rounds(rounds=rounds, sample=sample, num_clients=clients)
    rows = keep_labelled(features)
    to_features(rows.features)  # refuse NaN before anything is written
    evaluation, divisions = divide(rows, split=split, cv=cv, folds=folds, seed=seed)
    job = Federation(
        rows=rows,
        head=read_head(head),
        strategy=read_strategy(strategy),
        partition=partition,
        clients=clients,
        rounds=rounds,
        sample=sample,
        settings=settings,
        seed=seed,
    )
    check_accountant(job.strategy)
    crossed = len(divisions) > 1
    if crossed:
        everything = np.arange(len(rows.labels))
        divisions = [*divisions, Fold(name=ALL_ROWS, train=everything, test=everything[:0])]
    deals = [job.deal(fold) for fold in divisions]
    job.check(deals)
    config = {
        "job": "federate",
        "head": head,
        "features": rows.views,
        "clips": rows.fingerprint,
        "strategy": strategy,
        "partition": partition,
        "clients": clients,
        "rounds": rounds,
        "sample": sample,
        "evaluation": evaluation,
        "settings": asdict(settings),
        "seed": seed,
    }
    checkpoints = Checkpoints(path=Path(out), every=checkpoint_every, resume=resume)
    if resume and (finished := read_finished(out, config)) is not None:
        return finished
    with open_run(out, config, columns=_COLUMNS, resume=resume) as run:
        tell = _Progress(run, total=rounds * len(divisions), on_progress=on_progress)
        results = [
            job.run(
                dealt,
                checkpoints=replace(checkpoints, path=run.checkpoint(number)),
                on_round=tell.round_of(dealt.fold.name),
            )
            for number, dealt in enumerate(deals)
        ]
        scored, last = (results[:-1] if crossed else results), results[-1]
        scored_folds = [result.deal.fold for result in scored]
        logits = [result.logits for result in scored]
        scores = score_folds(rows, scored_folds, logits)
        owners = [result.deal.owners for result in scored]
        told = predictions_of(rows, scored_folds, logits, owners=owners)
        own = [part.top1 for part in by_client(told, num_clients=clients)]
        sent = _sent(last, clients=clients, views=rows.views)
        summary = {
            **scores.fractions(),
            "mean_client_top1": plain_mean([math.nan if top1 is None else top1 for top1 in own]),
            "client_top1": own,
            **_counts(features, rows, scored, last, crossed=crossed),
            **_totals(sent, results),
            "classes": rows.classes,
            **{key: value for key, value in config.items() if key != "job"},
            "privacy": _privacy(job, last),
            "versions": versions(),
            "seconds": round(time.perf_counter() - started, 3),
        }
        run.write_json("communication.json", sent)
        write_deal(run.path, rows, last.deal.parts)
        held = [rows.labels[part] for part in last.deal.parts]
        counts = np.stack([np.bincount(mine, minlength=len(rows.classes)) for mine in held])
        draw_partition(run.path / "partition.png", counts, classes=rows.classes)
        draw_clients(run.path / "clients.png", own)
        run.finish(
            model=last.model,
            private=last.history.private,
            standardiser=last.standardiser,
            scores=scores,
            predictions=told,
            classes=rows.classes,
            panels=_panels([result.history for result in scored]),
            x_label="round",
            summary=summary,
        )
    return summary


class _Progress:
    """Writes a row of metrics a round, and tells whoever watches."""

    def __init__(self, run: Run, *, total: int, on_progress: OnProgress | None) -> None:
        self._run, self._total, self._on_progress = run, total, on_progress
        self._done = 0

    def round_of(self, fold: str) -> Callable[[RoundRecord], None]:
        """What to do after each round of a fold."""

        def on_round(record: RoundRecord) -> None:
            others = ";".join(f"{name}={value}" for name, value in record.others.items())
            row = {name: getattr(record, name) for name in _COLUMNS if name != "fold"}
            self._run.add({**row, "fold": fold, "others": others})
            self._done += 1
            if self._on_progress is not None:
                note = "" if record.accuracy is None else f"accuracy {record.accuracy:.3f}"
                self._on_progress(self._done, self._total, note)

        return on_round


def _sent(result: FoldResult, *, clients: int, views: Sequence[str]) -> dict[str, Any]:
    """What communication.json holds."""
    parameters = dict(result.model.named_parameters())
    shared = result.history.shared
    return communication(
        result.history.rounds,
        setup=result.setup,
        num_clients=clients,
        shared=sum(array.numel() for name, array in parameters.items() if name in shared),
        head=sum(array.numel() for array in parameters.values()),
        views=views,
    )


def _counts(
    features: Features,
    rows: Features,
    scored: Sequence[FoldResult],
    last: FoldResult,
    *,
    crossed: bool,
) -> dict[str, Any]:
    """How many clips went where."""
    num_train = sum(map(len, last.deal.parts))
    num_test = sum(len(result.deal.fold.test) for result in scored)
    return {
        "num_train": num_train,
        "num_test": num_test,
        "num_unlabelled": len(features.labels) - len(rows.labels),
        "num_missing": len(features.missing),
        "num_left_out": len(rows.labels) - num_train - (0 if crossed else num_test),
        "model": "all rows" if crossed else "train rows",
        "client_sizes": [len(part) for part in last.deal.parts],
    }


def _totals(sent: Mapping[str, Any], results: Sequence[FoldResult]) -> dict[str, Any]:
    """Sums over the run, and who was refused in any fold."""
    setup = sent["standardise"]
    return {
        **sent["run"],
        "bytes_up": sent["run"]["bytes_up"] + setup["bytes_up"],
        "bytes_down": sent["run"]["bytes_down"] + setup["bytes_down"],
        "standardise_bytes_up": setup["bytes_up"],
        "standardise_bytes_down": setup["bytes_down"],
        "refused": sum(record.refused for result in results for record in result.history.rounds),
        "refusals": [
            f"{_prefix(result, results)}round {record.round}, client {refusal.client}: "
            f"{refusal.reason}"
            for result in results
            for record in result.history.rounds
            for refusal in record.refusals
        ],
    }


def _prefix(result: FoldResult, results: Sequence[FoldResult]) -> str:
    return f"fold {result.deal.fold.name}, " if len(results) > 1 else ""


def _privacy(job: Federation, last: FoldResult) -> dict[str, float] | None:
    """What the saved model may tell of a client, where there is noise."""
    rate = 1.0 if job.sample is None else job.sample / job.clients
    spent = privacy_of(job.strategy, rounds=len(last.history.rounds), rate=rate)
    return None if spent is None else asdict(spent)


def _panels(histories: Sequence[History]) -> list[Panel]:
    losses = np.array([[record.train_loss for record in each.rounds] for each in histories])
    lines = {"model": [[record.accuracy for record in each.rounds] for each in histories]}
    for name in histories[0].rounds[0].others:
        lines[name] = [[record.others[name] for record in each.rounds] for each in histories]
    return [
        Panel(title="Cross-entropy in the clients, last local epoch", lines={"clients": losses}),
        Panel(
            title="Accuracy on unseen clips",
            lines={name: np.array(line, dtype=np.float64) for name, line in lines.items()},
            is_fraction=True,
        ),
    ]
