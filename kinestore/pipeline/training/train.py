"""The job that trains a head on stored features, or a network on clips of frames, and tests it."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kinestore.heads import HEAD_TRAINING, NETWORK_TRAINING, TrainingConfig
from kinestore.heads.training.processes import Processes, join_processes
from kinestore.pipeline.costs.run_cost import cost_of_model
from kinestore.pipeline.notes import tell
from kinestore.pipeline.runs.summary import RunSummary
from kinestore.pipeline.runs.training_clips import write_training_clips
from kinestore.pipeline.runs.writer import open_run, read_finished, versions
from kinestore.pipeline.training.config import EvaluationConfig
from kinestore.pipeline.training.data import TrainingData
from kinestore.pipeline.training.feature_data import FeatureData
from kinestore.pipeline.training.fit_state import EpochRecord
from kinestore.pipeline.training.fold import Fold, notes_on_start
from kinestore.pipeline.training.fold_trainer import FoldTrainer
from kinestore.pipeline.training.folds import choose_folds, score_folds
from kinestore.pipeline.training.label_sets import (
    as_scored,
    check_several,
    has_several,
    mean_average_precision,
    targets_of,
)
from kinestore.pipeline.training.networks.clip_data import ClipData, FrameClips
from kinestore.pipeline.training.run_figures import (
    best_and_last_epochs,
    best_epochs,
    counts,
    epoch_panels,
    fold_top1,
    predictions_of,
    seen_clips,
    untrained_classes,
)
from kinestore.progress import Progress
from kinestore.store import Features, UsageError
from kinestore.store.io.addresses import local_path

_COLUMNS = tuple(field.name for field in fields(EpochRecord))

_EVERY_CLIP = EvaluationConfig()


def train(
    data: Features | FrameClips,
    *,
    out: str | Path,
    head: str = "mlp",
    evaluation: EvaluationConfig = _EVERY_CLIP,
    training: TrainingConfig | None = None,
    seed: int = 0,
    resume: bool = False,
    progress: Progress | None = None,
) -> RunSummary:
    """Train a head or a network, test it on clips that it was not trained on, write a run folder.

    Features are standardized with statistics of the training clips alone; test clips decide
    nothing. Clips without a label are left out and counted. With a validation part, the weights
    kept are those of the epoch with the lowest validation loss, the earliest of equals. After
    several folds the saved model is trained on all clips, for the folds' mean best epoch.

    The same command, seed and number of processes give the same bits on the same CPU, also after a
    kill and `resume`. Under `torchrun` every process calls it; the first one alone writes.

    Args:
        data: What `Store.load` gives, with rows (N, D), or (N, T, D) for a temporal head; or clips
            of frames for a network.
        out: The run folder: new, empty or an earlier run, which is replaced.
        head: One of `heads.names()`, with settings, as "mlp:hidden=512-256".
        evaluation: Which clips are tested, and which choose the best epoch.
        training: How to train; by default `HEAD_TRAINING` or `NETWORK_TRAINING`.
        seed: 0 or more; decides first weights, batches, augmentation, folds and validation parts.
        resume: Whether to continue from the run folder's checkpoints; starts where there are none.
        progress: Called after each epoch.

    Raises:
        UsageError: If the request or the clips do not allow it.
        KinestoreError: If training diverged, or a video cannot be decoded any more.
    """
    started = time.perf_counter()
    config = training or default_training(data)
    if config.epochs < 1:
        raise UsageError(f"epochs={config.epochs}: must be 1 or more")
    config.rate_schedule(config.epochs)
    with join_processes(config.device) as processes:
        clips = open_data(
            data, head=head, training=config, seed=seed, processes=processes, several=True
        )
        rows = clips.rows
        several = has_several(rows)
        if several:
            check_several(config)
        described, folds = choose_folds(rows, evaluation, seed=seed)
        tell(notes_on_start(config.weights, rows, folds))
        asked = {
            "job": "train",
            "head": head,
            "features": rows.views,
            "clips": rows.fingerprint,
            **clips.describe(),
            "evaluation": described,
            "validation": evaluation.validation,
            "patience": evaluation.patience,
            "settings": asdict(config),
            "seed": seed,
        }
        if resume and (finished := read_finished(out, asked)) is not None:
            return finished
        clips.check(clips.new_model())
        with (
            open_run(out, asked, columns=_COLUMNS, resume=resume)
            if processes.is_first
            else nullcontext()
        ) as run:
            trainer = FoldTrainer(
                clips,
                config=config,
                patience=evaluation.patience,
                seed=seed,
                processes=processes,
                out=local_path(out),
                run=run,
                resume=resume,
            )
            results, saved = trainer.train_all(folds, progress)
            logits = [result.logits for result in results]
            scored = as_scored(rows, [fold.test for fold in folds], logits)
            scores = score_folds(scored, folds, logits)
            of_frames = isinstance(data, FrameClips)
            summary = RunSummary(
                path=local_path(out),
                **scores.fractions(),
                **counts(clips, folds),
                mean_average_precision=_mean_average_precision(rows, folds, logits)
                if several
                else None,
                fold_top1=fold_top1(scored, folds, logits),
                best_epochs=best_epochs(folds, results),
                cost=cost_of_model(saved.model, clips.example()),
                best_and_last=best_and_last_epochs(folds, results),
                num_changed=clips.num_changed,
                weights_taken=clips.weights_taken,
                untrained_classes=untrained_classes(rows, folds),
                classes=rows.classes,
                config=asked,
                processes=processes.count if of_frames else None,
                device=processes.device.type,
                clips_per_s=trainer.clips_per_s if of_frames else None,
                versions=versions(),
                seconds=round(time.perf_counter() - started, 3),
            )
            if run is not None:
                run.write_model(saved.model, saved.standardizer)
                write_training_clips(run.path, *seen_clips(rows, folds))
                run.write_pictures(epoch_panels(results), scores, classes=rows.classes)
                run.finish(summary, predictions_of(scored, folds, logits))
    return summary


def default_training(data: Features | FrameClips) -> TrainingConfig:
    """Return the default settings for stored features or for clips of frames."""
    return NETWORK_TRAINING if isinstance(data, FrameClips) else HEAD_TRAINING


def open_data(
    data: Features | FrameClips,
    *,
    head: str,
    training: TrainingConfig,
    seed: int,
    processes: Processes,
    several: bool = False,
) -> TrainingData:
    """Join clips and head; with `several`, clips may have several labels.

    Raises:
        UsageError: If they do not fit.
    """
    if training.freeze and training.weights is None:
        raise UsageError(
            f"freeze={training.freeze!r}: the trunk would stay as it is drawn at random; give "
            "weights to start from"
        )
    if isinstance(data, FrameClips):
        return ClipData(data, head=head, training=training, seed=seed, processes=processes)
    if training.activation_checkpointing:
        raise UsageError(
            f"head={head!r}: takes embeddings, and activation_checkpointing is for networks on "
            "frames; leave it out"
        )
    return FeatureData(
        data,
        head=head,
        seed=seed,
        device=processes.device,
        training=training,
        several=several,
    )


def _mean_average_precision(
    rows: Features, folds: Sequence[Fold], logits: Sequence[Tensor]
) -> float:
    targets = targets_of(rows)[np.concatenate([fold.test for fold in folds])]
    return mean_average_precision(torch.cat(list(logits)), targets)
