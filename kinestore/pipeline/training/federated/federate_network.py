"""The job that trains one net over many clients' clips, simulated in one process."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kinestore.federated.config import RoundsConfig
from kinestore.pipeline.training.federated.client_clips import FrameClips
from kinestore.pipeline.training.federated.fold_simulation import Federation
from kinestore.pipeline.training.federated.run_folds import OnProgress, carry_out
from kinestore.pipeline.training.folds import divide, keep_labelled
from kinestore.pipeline.training.model_spec import read_strategy
from kinestore.pipeline.training.networks.clip_rows import rows_of
from kinestore.pipeline.training.networks.config import Looks, NetSettings
from kinestore.pipeline.training.networks.data.clip_source import open_source
from kinestore.pipeline.training.networks.data.transforms import choose_size
from kinestore.pipeline.training.networks.distributed import processes
from kinestore.pipeline.training.networks.task import CENTRE, make_task
from kinestore.store import Store, UsageError

LOCAL_SETTINGS = NetSettings(epochs=1, schedule="constant")
"""A client's training a round, as `differential`'s paper has it; it prints no learning rate."""


def federate_net(
    store: Store,
    *,
    clips: str,
    head: str,
    out: str | Path,
    strategy: str = "fedavg",
    clients: int = 4,
    rounds: int = 80,
    partition: str = "iid",
    sample: int | None = None,
    size: int | None = None,
    swaps: Sequence[str] = (),
    looks: Looks = CENTRE,
    weights: Path | None = None,
    split: str | None = None,
    cv: str | None = None,
    folds: int | None = None,
    settings: NetSettings = LOCAL_SETTINGS,
    device: str = "auto",
    seed: int = 0,
    checkpoint_every: int = 10,
    resume: bool = False,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Deal the training clips to clients, train one net together, and write a run folder.

    Clips, net, cuts and looks are those of `pipeline.nets.train.train_net`; clients, rounds, who
    is scored by which model and the run folder those of `pipeline.federate`. Each client in turn
    trains by SGD with a velocity that starts from rest; one that diverges is refused, and the
    others go on.

    Args:
        store: Knows the clips, their labels and where their videos are.
        clips: As for `train_net`.
        head: Likewise.
        out: The run folder: new, empty or an earlier run, which is replaced.
        strategy: As for `pipeline.federate`, and so clients, rounds, partition and sample.
        clients: Number of clients.
        rounds: 1 or more.
        partition: Which clients hold which clips.
        sample: Clients drawn for each round; None takes all.
        size: As for `train_net`, and so swaps, looks and weights.
        swaps: Pairs of classes that are each other's mirror images.
        looks: How the final logits are taken; a round's accuracy comes from one centre look.
        weights: What the net starts from.
        split: "column" to insist on the split column.
        cv: "group" to leave one group out at a time.
        folds: Number of stratified folds, 2 or more.
        settings: A client's training in one round; its epochs are the local epochs, and its
            schedule runs over these alone.
        device: "auto", "cpu" or "cuda".
        seed: 0 or more.
        checkpoint_every: Rounds between two checkpoints in the run folder.
        resume: Go on from the run folder's checkpoints, to the same bits.
        on_progress: Called after each round.

    Returns:
        What summary.json holds.

    Raises:
        UsageError: If the request or the clips do not allow it.
        KinestoreError: If a video cannot be decoded any more.
    """
    RoundsConfig(rounds=rounds, sample=sample).check_clients(clients)
    source = open_source(store, clips, num_clips=looks.clips)
    features = rows_of(store, source)
    rows = keep_labelled(features)
    evaluation, divisions = divide(rows, split=split, cv=cv, folds=folds, seed=seed)
    config = {
        "job": "federate",
        "head": head,
        "features": rows.views,
        "clips": rows.fingerprint,
        "size": choose_size(size, source.size),
        "swaps": list(swaps),
        "looks": asdict(looks),
        "weights": None if weights is None else str(weights),
        "strategy": strategy,
        "partition": partition,
        "clients": clients,
        "rounds": rounds,
        "sample": sample,
        "evaluation": evaluation,
        "settings": asdict(settings),
        "seed": seed,
    }
    with processes(device) as group:
        if group.count > 1:
            raise UsageError(
                f"torchrun: {group.count} processes, and clients are simulated in one; start "
                "`kinestore federate` without it"
            )
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
        job = Federation(
            material=FrameClips(task=task),
            strategy=read_strategy(strategy),
            partition=partition,
            clients=clients,
            rounds=rounds,
            sample=sample,
            seed=seed,
        )
        return carry_out(
            job,
            divisions,
            features=features,
            config=config,
            out=out,
            checkpoint_every=checkpoint_every,
            resume=resume,
            on_progress=on_progress,
        )
