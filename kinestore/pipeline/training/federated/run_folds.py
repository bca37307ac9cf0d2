"""Carries a federated job out: the rounds of every fold, and the run folder that they leave."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kinestore.federated.evaluation import plain_mean
from kinestore.federated.privacy import check_accountant, privacy_of
from kinestore.federated.round_record import RoundRecord
from kinestore.federated.simulation import CheckpointConfig, History
from kinestore.heads import among_best
from kinestore.pipeline.plotting.run_charts import LinePanel, draw_clients, draw_partition
from kinestore.pipeline.runs.client_partition import write_client_partition
from kinestore.pipeline.runs.predictions import count_by_client
from kinestore.pipeline.runs.writer import Run, open_run, read_finished, versions
from kinestore.pipeline.training.federated.communication_report import communication
from kinestore.pipeline.training.federated.fold_simulation import Federation, FoldResult
from kinestore.pipeline.training.folds import Fold, score_folds
from kinestore.pipeline.training.run_summary import predictions_of
from kinestore.store import Features

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


def carry_out(
    job: Federation,
    divisions: Sequence[Fold],
    *,
    features: Features,
    config: Mapping[str, Any],
    out: str | Path,
    checkpoint_every: int,
    resume: bool,
    on_progress: OnProgress | None,
) -> dict[str, Any]:
    """Train in every fold and, after several, on all rows; score, and write the run folder.

    Args:
        job: Who learns what.
        divisions: The folds.
        features: All clips, with those that have no label.
        config: What was asked for, as config.json has it.
        out: As for `pipeline.federate`, and so what follows.
        checkpoint_every: Likewise.
        resume: Likewise.
        on_progress: Likewise.

    Returns:
        What summary.json holds.
    """
    started = time.perf_counter()
    rows = job.material.rows
    check_accountant(job.strategy.stages)
    crossed = len(divisions) > 1
    if crossed:
        everything = np.arange(len(rows.labels))
        divisions = [*divisions, Fold(name=ALL_ROWS, train=everything, test=everything[:0])]
    deals = [job.deal(fold) for fold in divisions]
    job.check(deals)
    checkpoints = CheckpointConfig(path=Path(out), every=checkpoint_every, resume=resume)
    if resume and (finished := read_finished(out, config)) is not None:
        return finished
    with open_run(out, config, columns=_COLUMNS, resume=resume) as run:
        tell = _Progress(run, total=job.rounds * len(divisions), on_progress=on_progress)
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
        own = [part.top1 for part in count_by_client(told, num_clients=job.clients)]
        own_five = _client_top5(rows, scored, num_clients=job.clients)
        sent = _sent(last, job)
        summary = {
            **scores.fractions(),
            "mean_client_top1": _plain_mean(own),
            "mean_client_top5": _plain_mean(own_five),
            "client_top1": own,
            "client_top5": own_five,
            **_counts(features, rows, scored, last, crossed=crossed),
            **_totals(sent, results),
            "classes": rows.classes,
            **{key: value for key, value in config.items() if key != "job"},
            "privacy": _privacy(job, last),
            "versions": versions(),
            "seconds": round(time.perf_counter() - started, 3),
        }
        run.write_json("communication.json", sent)
        write_client_partition(run.path, rows, last.deal.parts)
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


def _sent(result: FoldResult, job: Federation) -> dict[str, Any]:
    """What communication.json holds; frames come from no frozen network, features do."""
    rows = job.material.rows
    parameters = dict(result.model.named_parameters())
    shared = result.history.shared
    return communication(
        result.history.rounds,
        setup=result.setup,
        num_clients=job.clients,
        shared=sum(array.numel() for name, array in parameters.items() if name in shared),
        head=sum(array.numel() for array in parameters.values()),
        views=rows.views if rows.features.shape[-1] else [],
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


def _client_top5(
    rows: Features, scored: Sequence[FoldResult], *, num_clients: int
) -> list[float | None]:
    """Of each client's own scored clips; None for a client without any."""
    owners = np.concatenate([result.deal.owners for result in scored])
    labels = np.concatenate([rows.labels[result.deal.fold.test] for result in scored])
    logits = torch.cat([result.logits for result in scored])
    right = among_best(logits, torch.from_numpy(labels), 5)
    each = [right[owners == client] for client in range(num_clients)]
    return [float(mine.mean()) if len(mine) else None for mine in each]


def _plain_mean(fractions: Sequence[float | None]) -> float:
    """Over the clients that have one, each counted once."""
    return plain_mean([math.nan if fraction is None else fraction for fraction in fractions])


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
    spent = privacy_of(job.strategy.stages, rounds=len(last.history.rounds), rate=rate)
    return None if spent is None else asdict(spent)


def _panels(histories: Sequence[History]) -> list[LinePanel]:
    losses = np.array([[record.train_loss for record in each.rounds] for each in histories])
    lines = {"model": [[record.accuracy for record in each.rounds] for each in histories]}
    for name in histories[0].rounds[0].others:
        lines[name] = [[record.others[name] for record in each.rounds] for each in histories]
    return [
        LinePanel(
            title="Cross-entropy in the clients, last local epoch", lines={"clients": losses}
        ),
        LinePanel(
            title="Accuracy on unseen clips",
            lines={name: np.array(line, dtype=np.float64) for name, line in lines.items()},
            is_fraction=True,
        ),
    ]
