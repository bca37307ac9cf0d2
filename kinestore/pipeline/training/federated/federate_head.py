"""The job that trains one head over many clients, simulated in one process."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from kinestore.federated.client_update import LOCAL_SETTINGS
from kinestore.federated.config import RoundsConfig
from kinestore.heads import FitSettings, to_features
from kinestore.pipeline.training.federated.fold_simulation import FeatureRows, Federation
from kinestore.pipeline.training.federated.run_folds import OnProgress, carry_out
from kinestore.pipeline.training.folds import divide, keep_labelled
from kinestore.pipeline.training.model_spec import read_head, read_strategy
from kinestore.store import Features


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
    device: str = "auto",
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
        device: "auto", "cpu" or "cuda", as `federated.simulation.simulate` has it.
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
    RoundsConfig(rounds=rounds, sample=sample).check_clients(clients)
    rows = keep_labelled(features)
    to_features(rows.features)  # refuse NaN before anything is written
    evaluation, divisions = divide(rows, split=split, cv=cv, folds=folds, seed=seed)
    job = Federation(
        material=FeatureRows(rows=rows, head=read_head(head), settings=settings, seed=seed),
        strategy=read_strategy(strategy),
        partition=partition,
        clients=clients,
        rounds=rounds,
        sample=sample,
        seed=seed,
        device=device,
    )
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
