"""`kinestore federate`: a head, or a network on frames, trained over clients."""

from dataclasses import replace
from typing import Annotated

import typer

from kinestore.pipeline.commands.console import progress, say, say_json
from kinestore.pipeline.commands.options import (
    CvOption,
    FoldsOption,
    HeadOption,
    JsonOption,
    RemoteVideosOption,
    RunOption,
    SeedOption,
    SplitOption,
    StoreArgument,
)
from kinestore.pipeline.commands.tables import run_table
from kinestore.pipeline.commands.training_options import (
    AccumulateOption,
    ActivationCheckpointingOption,
    BatchSizeOption,
    FlipPairOption,
    HeadFeaturesOption,
    InputOption,
    PrecisionOption,
    SizeOption,
    TestClipsOption,
    TestCropsOption,
    WeightsOption,
    choose_data,
    either,
    frame_clips,
)


def federate_command(
    store: StoreArgument,
    out: RunOption,
    features: HeadFeaturesOption = None,
    clips: InputOption = None,
    head: HeadOption = "mlp",
    strategy: Annotated[
        str,
        typer.Option(
            help="Aggregation method: fedavg, fedprox:mu=0.1, feddyn, personal:private=0, ...; "
            "docs/training.md lists all settings."
        ),
    ] = "fedavg",
    clients: Annotated[int, typer.Option(help="Number of clients.")] = 4,
    rounds: Annotated[int, typer.Option(help="Rounds of communication.")] = 80,
    local_epochs: Annotated[
        int | None,
        typer.Option(help="Epochs of a client in a round. [default: 5 for heads, 1 for networks]"),
    ] = None,
    partition: Annotated[
        str,
        typer.Option(
            help="Which clients hold which clips: iid, group, dirichlet:0.6, classes:2, ...; "
            "docs/training.md lists all."
        ),
    ] = "iid",
    clients_per_round: Annotated[
        int | None,
        typer.Option(
            "--clients-per-round",
            "--sample",
            help="Number of clients drawn for each round. [default: all]",
        ),
    ] = None,
    min_clips: Annotated[
        int, typer.Option(help="Training clips that a client needs to take part.")
    ] = 3,
    split: SplitOption = None,
    cv: CvOption = None,
    folds: FoldsOption = None,
    batch_size: BatchSizeOption = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            help="Learning rate. [default: 0.001 (Adam) for heads, 0.01 (SGD) for networks]"
        ),
    ] = None,
    weight_decay: Annotated[
        float | None,
        typer.Option(help="L2 penalty. [default: 0.0001 for heads, 0.0005 for networks]"),
    ] = None,
    accumulate: AccumulateOption = None,
    precision: PrecisionOption = None,
    device: Annotated[str, typer.Option(help="Device: auto, cpu or cuda.")] = "auto",
    seed: SeedOption = 0,
    checkpoint_every: Annotated[int, typer.Option(help="Rounds between checkpoints.")] = 10,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the run folder's last checkpoint.")
    ] = False,
    as_json: JsonOption = False,
    size: SizeOption = None,
    flip_pair: FlipPairOption = None,
    test_clips: TestClipsOption = None,
    test_crops: TestCropsOption = None,
    weights: WeightsOption = None,
    activation_checkpointing: ActivationCheckpointingOption = None,
    remote_videos: RemoteVideosOption = False,
) -> None:
    """Train one head, or a network on frames, over clients that keep their clips to themselves."""
    from kinestore.pipeline.training.config import EvaluationConfig, FederationConfig
    from kinestore.pipeline.training.federated.federate import default_client_training, federate
    from kinestore.store import Store

    opened = Store(store, remote_videos=remote_videos)
    frames = frame_clips(
        opened,
        size=size,
        flip_pairs=flip_pair,
        test_clips=test_clips,
        test_crops=test_crops,
        weights=weights,
        activation_checkpointing=activation_checkpointing,
    )
    data = choose_data(opened, head, features, frames, clips)
    default = default_client_training(data)
    with progress() as shown:
        summary = federate(
            data,
            out=out,
            head=head,
            federation=FederationConfig(
                strategy=strategy,
                num_clients=clients,
                rounds=rounds,
                partition=partition,
                clients_per_round=clients_per_round,
                min_clips=min_clips,
                checkpoint_every=checkpoint_every,
                resume=resume,
            ),
            evaluation=EvaluationConfig(split=split, cv=cv, folds=folds),
            training=replace(
                default,
                epochs=either(local_epochs, default.epochs),
                batch_size=either(batch_size, default.batch_size),
                learning_rate=either(learning_rate, default.learning_rate),
                weight_decay=either(weight_decay, default.weight_decay),
                accumulate=either(accumulate, default.accumulate),
                activation_checkpointing=bool(activation_checkpointing),
                precision=precision,
                device=device,
            ),
            seed=seed,
            progress=shown,
        )
    if as_json:
        say_json(summary.to_json())
    else:
        say(run_table(summary.to_json(), out))
