"""The job that trains a swarm of particles together, and tests the one that validation chooses."""

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from kinestore.heads import TrainingConfig
from kinestore.heads.training.processes import sole_process
from kinestore.pipeline.costs.run_cost import cost_of_model
from kinestore.pipeline.notes import tell
from kinestore.pipeline.runs.summary import RunSummary
from kinestore.pipeline.runs.training_clips import write_training_clips
from kinestore.pipeline.runs.writer import Run, open_run, read_finished, versions
from kinestore.pipeline.training.config import EvaluationConfig
from kinestore.pipeline.training.fold import Fold, notes_on_start
from kinestore.pipeline.training.folds import choose_folds, hold_validation, score_folds
from kinestore.pipeline.training.networks.clip_data import FrameClips
from kinestore.pipeline.training.run_figures import (
    counts,
    fold_top1,
    predictions_of,
    seen_clips,
    untrained_classes,
)
from kinestore.pipeline.training.swarm.config import SWARM_TRAINING, SwarmConfig, check_plain_sgd
from kinestore.pipeline.training.swarm.figures import (
    columns_of,
    metrics_row,
    swarm_figures,
    swarm_panels,
)
from kinestore.pipeline.training.swarm.fold_swarm import SwarmTrainer
from kinestore.pipeline.training.swarm.position_files import ParticleRecord, remove_positions
from kinestore.pipeline.training.train import open_data
from kinestore.progress import Progress
from kinestore.store import Features, UsageError
from kinestore.store.io.addresses import local_path

_FOUR_PARTICLES = SwarmConfig()
_EVERY_CLIP = EvaluationConfig()
_VALIDATION = 0.2


def swarm(
    data: Features | FrameClips,
    *,
    out: str | Path,
    head: str = "temporal_transformer",
    particles: SwarmConfig = _FOUR_PARTICLES,
    evaluation: EvaluationConfig = _EVERY_CLIP,
    training: TrainingConfig = SWARM_TRAINING,
    seed: int = 0,
    progress: Progress | None = None,
) -> RunSummary:
    """Train a swarm, test the particle that validation chooses, and write a run folder.

    Source: Video Action Recognition Collaborative Learning with Dynamics via PSO-ConvNet
    Transformer, 2023. All particles train on the same clips by plain SGD, each with its own first
    weights, order of clips and learning rate. After each epoch all meet and move by the dynamics.
    The model kept is the best position of the fittest particle on the validation clips; without
    any, a fifth of the training clips of each class is held out. Test clips decide nothing.

    The same command and seed give the same bits on the same CPU, also after a kill and `resume`.

    Args:
        data: What `Store.load` gives, with rows (N, D), or (N, T, D) for a temporal head; or clips
            of frames for a network.
        out: The run folder: new, empty or an earlier run, which is replaced.
        head: One of `heads.names()`, with settings, as "temporal_rnn:units=512".
        particles: The swarm and its dynamics.
        evaluation: Which clips are tested, and which are for validation.
        training: How a particle is trained in each epoch: plain SGD; its learning rate is that of
            `particles`.
        seed: 0 or more; decides first weights, batches, drawn rates, folds and validation parts.
        progress: Called after each particle's epoch.

    Raises:
        UsageError: If the request or the clips do not allow it.
        KinestoreError: If a particle diverged, or a video cannot be decoded any more.
    """
    started = time.perf_counter()
    check_plain_sgd(training)
    if training.epochs < 1:
        raise UsageError(f"epochs={training.epochs}: must be 1 or more")
    if evaluation.patience is not None:
        raise UsageError(
            f"patience={evaluation.patience}: all particles of a swarm train for all epochs; leave "
            "it out"
        )
    with sole_process(
        training.device, work="a swarm is trained", command="kinestore swarm"
    ) as processes:
        clips = open_data(data, head=head, training=training, seed=seed, processes=processes)
        rows = clips.rows
        described, folds = choose_folds(rows, evaluation, seed=seed)
        tell(notes_on_start(training.weights, rows, folds))
        folds, share = _with_validation(rows, folds, evaluation, seed=seed)
        asked = {
            "job": "swarm",
            "head": head,
            "features": rows.views,
            "clips": rows.fingerprint,
            **clips.describe(),
            "evaluation": described,
            "validation": share,
            "dynamics": _described(particles),
            "settings": asdict(training),
            "seed": seed,
        }
        if particles.resume and (finished := read_finished(out, asked)) is not None:
            remove_positions(local_path(out))
            return finished
        clips.check(clips.new_model())
        columns = columns_of(particles.particles)
        with open_run(out, asked, columns=columns, resume=particles.resume) as run:
            if not particles.resume:
                remove_positions(run.path)
            a_fold = training.epochs * particles.particles
            shown = _Progress(progress, a_fold * len(folds))
            trainer = SwarmTrainer(
                data=clips,
                training=training,
                config=particles,
                seed=seed,
                processes=processes,
                out=run.path,
                on_particle=shown.trained,
            )
            results = [
                trainer.train(fold, number, _writer(run, fold, shown, before=number * a_fold))
                for number, fold in enumerate(folds)
            ]
            scored, saved = (results[:-1] if len(folds) > 1 else results), results[-1]
            tested = [result.fold for result in scored]
            logits = [result.logits for result in scored]
            scores = score_folds(rows, tested, logits)
            predictions = predictions_of(rows, tested, logits)
            summary = RunSummary(
                path=local_path(out),
                **scores.fractions(),
                **counts(clips, tested),
                fold_top1=fold_top1(rows, tested, logits),
                best_epochs={one.fold.name: one.best_epochs[one.chosen] for one in scored},
                num_changed=clips.num_changed,
                weights_taken=clips.weights_taken,
                untrained_classes=untrained_classes(rows, tested),
                classes=rows.classes,
                config=asked,
                cost=cost_of_model(saved.model, clips.example()),
                swarm=swarm_figures(scored, saved, particles),
                versions=versions(),
                seconds=round(time.perf_counter() - started, 3),
            )
            run.write_model(saved.model, saved.standardizer)
            write_training_clips(run.path, *seen_clips(rows, [saved.fold]))
            run.write_pictures(swarm_panels(scored), scores, classes=rows.classes)
            run.finish(summary, predictions)
        remove_positions(local_path(out))
    return summary


class _Progress:
    """The progress bar of all particles."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def reached(self, done: int) -> None:
        """Count the epochs that a checkpoint has."""
        self._done = done

    def trained(self, record: ParticleRecord) -> None:
        """Show the epoch of a particle."""
        self._done += 1
        if self._progress is not None:
            note = f"particle {record.particle}: accuracy {record.validation_accuracy:.3f}"
            self._progress("training", self._done, self._total, note)


def _writer(
    run: Run, fold: Fold, shown: _Progress, *, before: int
) -> Callable[[list[ParticleRecord]], None]:
    """Return what to do after an epoch; the swarm of all clips has no rows in metrics.csv."""

    def on_epoch(records: list[ParticleRecord]) -> None:
        for record in records:
            if len(fold.test):
                run.add(metrics_row(record, fold=fold.name))
        shown.reached(before + records[0].epoch * len(records))

    return on_epoch


def _with_validation(
    rows: Features, folds: list[Fold], evaluation: EvaluationConfig, *, seed: int
) -> tuple[list[Fold], float | None]:
    """Return the folds with validation parts, then one of all clips if there are several.

    Returns:
        The folds, and the share of the training clips that is held out; None where the split column
        marks the validation clips.
    """
    rows = evaluation.choose_columns(rows)
    share, groups = evaluation.validation, evaluation.cv is not None
    if share is None and not len(folds[0].validation):
        share = _VALIDATION
        tell(
            [
                f"validation: {share:.0%} of the training clips measure the fitness of the "
                "particles and are not trained on; give --validation for another share"
            ]
        )
        folds = hold_validation(rows, folds, share=share, whole_groups=groups, seed=seed)
    if len(folds) == 1:
        return folds, share
    everything = np.arange(len(rows.labels))
    whole = Fold(name="all rows", train=everything, test=everything[:0])
    held = hold_validation(
        rows, [whole], share=share or _VALIDATION, whole_groups=groups, seed=seed
    )
    return [*folds, *held], share


def _described(particles: SwarmConfig) -> dict[str, object]:
    """Return the settings of a swarm as config.json has them: what it does, not how it was asked.

    Matrix and rates are written out, so that defaults and the same values given are one run.
    """
    entries = asdict(replace(particles, resume=False))
    del entries["resume"]
    return entries | {
        "matrix": particles.pull().tolist(),
        "c1": particles.own_best_weight,
        "learning_rates": [list(r) if isinstance(r, tuple) else r for r in particles.rates()],
    }
