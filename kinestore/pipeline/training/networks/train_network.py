"""The job that trains a net end to end from frames and says how good it is."""

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from kinestore.pipeline.runs.writer import Run, open_run, read_finished, versions
from kinestore.pipeline.training.folds import keep_labelled, score_folds
from kinestore.pipeline.training.head_trainer import EpochRecord
from kinestore.pipeline.training.networks.clip_rows import rows_of
from kinestore.pipeline.training.networks.config import Looks, NetSettings
from kinestore.pipeline.training.networks.data.clip_source import open_source
from kinestore.pipeline.training.networks.data.transforms import choose_size
from kinestore.pipeline.training.networks.distributed import Processes, processes
from kinestore.pipeline.training.networks.fold_loop import Fits, OnProgress
from kinestore.pipeline.training.networks.network_trainer import NetTrainer
from kinestore.pipeline.training.networks.task import CENTRE, make_task
from kinestore.pipeline.training.run_summary import (
    by_fold,
    choose_folds,
    counts,
    panels,
    predictions_of,
)
from kinestore.store import Store

NET_SETTINGS = NetSettings()
"""How `train_net` trains where nothing else is asked for."""

_COLUMNS = tuple(field.name for field in fields(EpochRecord))


def train_net(
    store: Store,
    *,
    clips: str,
    head: str,
    out: str | Path,
    size: int | None = None,
    swaps: Sequence[str] = (),
    looks: Looks = CENTRE,
    weights: Path | None = None,
    split: str | None = None,
    cv: str | None = None,
    folds: int | None = None,
    validation: float | None = None,
    patience: int | None = None,
    class_weights: str | None = None,
    settings: NetSettings = NET_SETTINGS,
    device: str = "auto",
    seed: int = 0,
    resume: bool = False,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Train a net, score it on clips that it has not seen, and write a run folder.

    What is scored is chosen as `pipeline.train` does. An epoch's figures come from one centre look
    at each clip; the final ones from all `looks`, whose logits are averaged. The same command, seed
    and number of processes give the same bits on the same CPU, also after a kill and `resume`.

    Under `torchrun` every process calls it; the first one alone writes.

    Args:
        store: Knows the clips, their labels and where their videos are.
        clips: As `open_source` reads it: "frames", "frames:NAME" or "videos:segments:8x5@256".
        head: One of `heads.names()` that takes frames, with settings as `pipeline.choices` reads
            them.
        out: The run folder: new, empty or an earlier run, which is replaced.
        size: Pixels of a side of what the net sees, up to the frames' shorter side; 7/8 of that
            side where it is None.
        swaps: Pairs of classes, as "left,right", that are each other's mirror images.
        looks: From how many clips and cuts of a video its logits are averaged.
        weights: As `build_net` reads it.
        split: "column" to insist on the split column.
        cv: "group" to leave one group out at a time.
        folds: Number of stratified folds, 2 or more.
        validation: Share of each fold's fitted clips to choose the best epoch by.
        patience: Stop after so many epochs without a lower validation loss, 1 or more.
        class_weights: "balanced" to let each class count the same in the loss.
        settings: How to train.
        device: "auto", "cpu" or "cuda".
        seed: 0 or more; decides first weights, folds, order, cuts, frames and dropout.
        resume: Go on from the run folder's checkpoints; start where there are none.
        on_progress: Called after each epoch.

    Returns:
        What summary.json holds: the same as for other heads, and `num_changed`, clips that are left
        out because their video is gone or has other bytes.

    Raises:
        UsageError: If the request or the clips do not allow it.
        KinestoreError: If training diverged, or a video cannot be decoded any more.
    """
    started = time.perf_counter()
    source = open_source(store, clips, num_clips=looks.clips)
    features = rows_of(store, source)
    rows = keep_labelled(features)
    evaluation, divisions = choose_folds(
        rows,
        split=split,
        cv=cv,
        folds=folds,
        validation=validation,
        patience=patience,
        seed=seed,
    )
    config = {
        "job": "train",
        "head": head,
        "features": rows.views,
        "clips": rows.fingerprint,
        "size": choose_size(size, source.size),
        "swaps": list(swaps),
        "looks": asdict(looks),
        "weights": None if weights is None else str(weights),
        "evaluation": evaluation,
        "validation": validation,
        "patience": patience,
        "class_weights": class_weights,
        "settings": asdict(settings),
        "seed": seed,
    }
    if resume and (finished := read_finished(out, config)) is not None:
        return finished
    with processes(device) as group:
        task = make_task(
            rows,
            source,
            head=head,
            size=size,
            swaps=swaps,
            weights=weights,
            settings=settings,
            looks=looks,
            seed=seed,
            processes=group,
        )
        trainer = NetTrainer(task=task, patience=patience, class_weights=class_weights, seed=seed)
        task.check(task.new_net())
        with _open(out, config, group, resume=resume) as run:
            fits = Fits(trainer, run, Path(out), resume=resume, on_progress=on_progress)
            results = fits.run(divisions)
            logits = [result.logits for result in results.scored]
            scores = score_folds(rows, divisions, logits)
            summary = {
                **scores.fractions(),
                **counts(features, rows, divisions),
                "num_changed": source.num_changed,
                **by_fold(rows, divisions, results.scored),
                "classes": rows.classes,
                **{key: value for key, value in config.items() if key not in ("job", "clips")},
                "processes": group.count,
                "device": group.device.type,
                "versions": versions(),
                "clips_per_s": results.clips_per_s,
                "seconds": round(time.perf_counter() - started, 3),
            }
            if run is not None:
                run.finish(
                    model=results.saved.model,
                    standardiser=results.saved.standardiser,
                    scores=scores,
                    predictions=predictions_of(rows, divisions, logits),
                    classes=rows.classes,
                    panels=panels(results.scored),
                    x_label="epoch",
                    summary=summary,
                )
    return summary


def _open(
    out: str | Path, config: Mapping[str, Any], group: Processes, *, resume: bool
) -> AbstractContextManager[Run | None]:
    """The run folder, for the process that writes."""
    if group.is_first:
        return open_run(out, config, columns=_COLUMNS, resume=resume)
    return nullcontext()
