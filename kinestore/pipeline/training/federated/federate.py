"""The job that trains one model over many clients, simulated in one process."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from kinestore.federated.client_update import LOCAL_SETTINGS
from kinestore.federated.config import RoundsConfig
from kinestore.federated.privacy import check_accountant
from kinestore.federated.round_record import RoundRecord
from kinestore.federated.simulation import CheckpointConfig
from kinestore.heads import NETWORK_TRAINING, TrainingConfig
from kinestore.heads.training.processes import sole_process
from kinestore.pipeline.costs.run_cost import cost_of_model
from kinestore.pipeline.notes import tell
from kinestore.pipeline.plotting.partition_chart import draw_partition
from kinestore.pipeline.plotting.run_charts import draw_clients
from kinestore.pipeline.runs.client_partition import write_client_partition
from kinestore.pipeline.runs.predictions import count_by_client
from kinestore.pipeline.runs.summary import RunSummary
from kinestore.pipeline.runs.training_clips import write_training_clips
from kinestore.pipeline.runs.writer import Run, open_run, read_finished, versions
from kinestore.pipeline.training.config import EvaluationConfig, FederationConfig
from kinestore.pipeline.training.federated.figures import (
    best_and_last_of,
    best_rounds_of,
    client_rows,
    communication_of,
    counts_of,
    federated_figures,
    mean_kept_round,
    round_panels,
)
from kinestore.pipeline.training.federated.fold_simulation import FederatedFold, FederatedTrainer
from kinestore.pipeline.training.fold import Fold, notes_on_start
from kinestore.pipeline.training.folds import choose_folds, score_folds
from kinestore.pipeline.training.networks.clip_data import FrameClips
from kinestore.pipeline.training.run_figures import predictions_of, untrained_classes
from kinestore.pipeline.training.train import open_data
from kinestore.progress import Progress
from kinestore.store import Features
from kinestore.store.io.addresses import local_path

CLIENT_HEAD_TRAINING = LOCAL_SETTINGS
"""A client's default training of a head in one round."""

CLIENT_NETWORK_TRAINING = replace(NETWORK_TRAINING, epochs=1, schedule="constant")
"""A client's default training of a network in one round: one local epoch, as the paper on the
differential network has it, at one learning rate."""

ALL_ROWS = "all"

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
    "top5",
    "train_top1",
    "train_top5",
)
_VALIDATION = ("validation_loss", "validation_accuracy")

_FOUR_CLIENTS = FederationConfig()
_EVERY_CLIP = EvaluationConfig()


def federate(
    data: Features | FrameClips,
    *,
    out: str | Path,
    head: str = "mlp",
    federation: FederationConfig = _FOUR_CLIENTS,
    evaluation: EvaluationConfig = _EVERY_CLIP,
    training: TrainingConfig | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> RunSummary:
    """Partition the training clips among clients, train together, and write a run folder.

    The standardizer of features comes from statistics that clients send, without any row; with
    noise features are not scaled, as statistics would be sent without noise. Colors of frames are
    scaled alike everywhere. A client's own test clips are those of its groups with the
    partition "group"; else each class's are shared out as the client's training clips are. Where
    parts of the model are private, a clip is tested by the model of its client.

    Args:
        data: What `Store.load` gives, or clips of frames for a network.
        out: The run folder: new, empty or an earlier run, which is replaced.
        head: One of `heads.names()`, with settings, as "mlp:hidden=512-256".
        federation: Clients, their clips and the rounds.
        evaluation: Which clips are tested, and which choose the best round; no client trains on
            either. Patience counts rounds.
        training: A client's training in one round, its epochs being the local epochs; by default
            `CLIENT_HEAD_TRAINING` or `CLIENT_NETWORK_TRAINING`.
        seed: 0 or more; decides the hold-out, the partition, first weights, draws and batches.
        progress: Called after each round.

    Raises:
        UsageError: If the request or the clips do not allow it.
        KinestoreError: If no update of a round can be used, or a video cannot be decoded any more.
    """
    started = time.perf_counter()
    config = training or default_client_training(data)
    RoundsConfig(
        rounds=federation.rounds, clients_per_round=federation.clients_per_round
    ).check_clients(federation.num_clients)
    with sole_process(
        config.device, work="clients are simulated", command="kinestore federate"
    ) as processes:
        clips = open_data(data, head=head, training=config, seed=seed, processes=processes)
        rows = clips.rows
        described, folds = choose_folds(rows, evaluation, seed=seed)
        tell(notes_on_start(config.weights, rows, folds))
        trainer = FederatedTrainer(
            clips,
            federation=federation,
            training=config,
            patience=evaluation.patience,
            seed=seed,
            processes=processes,
        )
        check_accountant(trainer.strategy.stages)
        crossed = len(folds) > 1
        if crossed:
            everything = np.arange(len(rows.labels))
            folds = [*folds, Fold(name=ALL_ROWS, train=everything, test=everything[:0])]
        partitions = trainer.checked([trainer.partition(fold) for fold in folds])
        asked = {
            "job": "federate",
            "head": head,
            "features": rows.views,
            "clips": rows.fingerprint,
            **clips.describe(),
            "strategy": federation.strategy,
            "partition": federation.partition,
            "clients": federation.num_clients,
            "rounds": federation.rounds,
            "clients_per_round": federation.clients_per_round,
            "min_clips": federation.min_clips,
            "evaluation": described,
            "validation": evaluation.validation,
            "patience": evaluation.patience,
            "settings": asdict(config),
            "seed": seed,
        }
        resume = federation.resume
        checkpoints = CheckpointConfig(
            path=local_path(out), every=federation.checkpoint_every, resume=resume
        )
        if resume and (finished := read_finished(out, asked)) is not None:
            return finished
        columns = round_columns(validated=len(folds[0].validation) > 0)
        with open_run(out, asked, columns=columns, resume=resume) as run:
            on_round = round_writer(run, columns, federation.rounds * len(folds), progress)
            results: list[FederatedFold] = []
            for number, partition in enumerate(partitions):
                is_all = crossed and number == len(partitions) - 1
                results += [
                    trainer.run(
                        partition,
                        checkpoints=replace(checkpoints, path=run.checkpoint(number)),
                        on_round=on_round(partition.fold.name, number * federation.rounds),
                        last_round=mean_kept_round(results) if is_all else None,
                    )
                ]
            scored, last = (results[:-1] if crossed else results), results[-1]
            tested = [result.partition.fold for result in scored]
            logits = [result.logits for result in scored]
            scores = score_folds(rows, tested, logits)
            owners = [result.partition.owners for result in scored]
            predictions = predictions_of(rows, tested, logits, owners=owners)
            communication = communication_of(last, trainer)
            summary = RunSummary(
                path=local_path(out),
                **scores.fractions(),
                **counts_of(clips, scored, last, crossed=crossed),
                num_changed=clips.num_changed,
                weights_taken=clips.weights_taken,
                device=processes.device.type,
                untrained_classes=untrained_classes(
                    rows, [result.partition.trained_fold for result in scored]
                ),
                classes=rows.classes,
                config=asked,
                cost=cost_of_model(
                    last.model, clips.example(), sent=communication["shared_parameters"]
                ),
                best_and_last=best_and_last_of(scored),
                best_rounds=best_rounds_of(scored) or None,
                federation=federated_figures(trainer, results, scored, predictions, communication),
                versions=versions(),
                seconds=round(time.perf_counter() - started, 3),
            )
            run.write_json("communication.json", communication)
            write_client_partition(run.path, rows, dict(enumerate(last.partition.parts)))
            seen = (np.concatenate(last.partition.parts), last.partition.fold.validation)
            trained_on, chosen_on = ([rows.clip_ids[row] for row in part] for part in seen)
            write_training_clips(run.path, trained_on, chosen_on)
            held = [rows.labels[part] for part in last.partition.parts]
            per_class = np.stack([np.bincount(own, minlength=len(rows.classes)) for own in held])
            draw_partition(run.path / "partition.png", per_class, classes=rows.classes)
            own_top1 = [part.top1 for part in count_by_client(predictions, num_clients=len(held))]
            draw_clients(run.path / "clients.png", own_top1)
            run.write_model(last.model, last.standardizer, private=last.history.private)
            run.write_pictures(round_panels(scored), scores, classes=rows.classes, x_label="round")
            run.finish(summary, predictions)
    return summary


def default_client_training(data: Features | FrameClips) -> TrainingConfig:
    """Return a client's default settings for stored features or for clips of frames."""
    return CLIENT_NETWORK_TRAINING if isinstance(data, FrameClips) else CLIENT_HEAD_TRAINING


def round_columns(*, validated: bool) -> tuple[str, ...]:
    """Return the columns of metrics.csv."""
    return _COLUMNS + (_VALIDATION if validated else ())


def round_writer(
    run: Run, columns: Sequence[str], total: int, progress: Progress | None
) -> Callable[[str, int], Callable[[RoundRecord], None]]:
    """Return a function that gives, for each fold, what to do after its rounds."""

    def of_fold(fold: str, before: int) -> Callable[[RoundRecord], None]:
        def on_round(record: RoundRecord) -> None:
            others = ";".join(f"{name}={value}" for name, value in record.others.items())
            row = {name: getattr(record, name) for name in columns if name != "fold"}
            run.add({**row, "fold": fold, "others": others})
            run.add_clients(client_rows(record, fold))
            if progress is not None:
                note = "" if record.accuracy is None else f"accuracy {record.accuracy:.3f}"
                progress("rounds", before + record.round, total, note)

        return on_round

    return of_fold
