"""Training heads, centrally and together."""

import json
from functools import partial
from typing import Annotated

import typer

from pipeline.commands.options import (
    BatchSizeOption,
    CvOption,
    EpochsOption,
    FeaturesOption,
    FoldsOption,
    HeadOption,
    JsonOption,
    LearningRateOption,
    RunOption,
    SeedOption,
    SplitOption,
    StoreArgument,
    WeightDecayOption,
)
from pipeline.console import (
    progress,
    run_table,
    say,
)


def train_command(
    store: StoreArgument,
    features: FeaturesOption,
    out: RunOption,
    head: HeadOption = "mlp",
    split: SplitOption = None,
    cv: CvOption = None,
    folds: FoldsOption = None,
    validation: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Of the fitted clips, held to choose the best epoch."),
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="Stop after so many epochs without a lower validation loss.")
    ] = None,
    class_weights: Annotated[
        str | None, typer.Option(metavar="balanced", help="Let each class count the same.")
    ] = None,
    epochs: EpochsOption = 40,
    batch_size: BatchSizeOption = 32,
    learning_rate: LearningRateOption = 1e-3,
    weight_decay: WeightDecayOption = 1e-2,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Train a head on stored features and score it on clips that it has not seen."""
    from heads import FitSettings
    from pipeline.train import train
    from store import Store

    settings = FitSettings(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
    )
    loaded = Store(store).load(features.split(","))
    with progress() as tell:
        summary = train(
            loaded,
            out=out,
            head=head,
            split=split,
            cv=cv,
            folds=folds,
            validation=validation,
            patience=patience,
            class_weights=class_weights,
            settings=settings,
            seed=seed,
            on_progress=partial(tell, "training"),
        )
    say(json.dumps(summary) if as_json else run_table(summary, out))


def federate_command(
    store: StoreArgument,
    features: FeaturesOption,
    out: RunOption,
    head: HeadOption = "mlp",
    strategy: Annotated[
        str, typer.Option(help="fedavg, fedprox:mu=0.1, feddyn, personal:private=0, ...; see docs.")
    ] = "fedavg",
    clients: Annotated[int, typer.Option(help="Number of clients.")] = 4,
    rounds: Annotated[int, typer.Option(help="Rounds of communication.")] = 80,
    local_epochs: EpochsOption = 5,
    partition: Annotated[
        str, typer.Option(help="iid, group, dirichlet:0.6, classes:2, ...; see docs.")
    ] = "iid",
    sample: Annotated[int | None, typer.Option(help="Clients a round; all if unset.")] = None,
    split: SplitOption = None,
    cv: CvOption = None,
    folds: FoldsOption = None,
    batch_size: BatchSizeOption = 128,
    learning_rate: LearningRateOption = 1e-3,
    weight_decay: WeightDecayOption = 1e-4,
    seed: SeedOption = 0,
    checkpoint_every: Annotated[int, typer.Option(help="Rounds between checkpoints.")] = 10,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the run folder's last checkpoint.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train one head over clients that keep their clips to themselves."""
    from heads import FitSettings
    from pipeline.federate import federate
    from store import Store

    settings = FitSettings(
        epochs=local_epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
    )
    loaded = Store(store).load(features.split(","))
    with progress() as tell:
        summary = federate(
            loaded,
            out=out,
            head=head,
            strategy=strategy,
            clients=clients,
            rounds=rounds,
            partition=partition,
            sample=sample,
            split=split,
            cv=cv,
            folds=folds,
            settings=settings,
            seed=seed,
            checkpoint_every=checkpoint_every,
            resume=resume,
            on_progress=partial(tell, "rounds"),
        )
    say(json.dumps(summary) if as_json else run_table(summary, out))
