"""`kinestore federate`: a head, or a network on frames, trained over clients."""

from typing import Annotated

import typer

from kinestore.pipeline.commands.console import progress
from kinestore.pipeline.commands.data_options import (
    ColumnOptions,
    EvaluationOptions,
    FrameOptions,
    HeadFeaturesOption,
    InputOption,
    choose_data,
)
from kinestore.pipeline.commands.option_groups import takes_groups
from kinestore.pipeline.commands.options import (
    HeadOption,
    JsonOption,
    OverwriteOption,
    RemoteVideosOption,
    RepeatsOption,
    RunOption,
    SeedOption,
    StoreArgument,
)
from kinestore.pipeline.commands.recipe_option import takes_recipe
from kinestore.pipeline.commands.run_once_or_more import run_and_say
from kinestore.pipeline.commands.training_options import RecipeOptions


@takes_recipe("federate")
@takes_groups
def federate_command(
    store: StoreArgument,
    out: RunOption,
    *,
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
    seed: SeedOption = 0,
    repeats: RepeatsOption = None,
    checkpoint_every: Annotated[int, typer.Option(help="Rounds between checkpoints.")] = 10,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the run folder's last checkpoint.")
    ] = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
    remote_videos: RemoteVideosOption = False,
    evaluation: EvaluationOptions,
    columns: ColumnOptions,
    learning: RecipeOptions,
    frames: FrameOptions,
) -> None:
    """Train one head, or a network on frames, over clients that keep their clips to themselves."""
    from kinestore.pipeline.training.config import FederationConfig
    from kinestore.pipeline.training.federated.federate import default_client_training, federate
    from kinestore.store import Store

    opened = Store(store, remote_videos=remote_videos)
    data = choose_data(opened, head, features, frames.clips_of(opened), clips, columns)
    training = learning.config(default_client_training(data), epochs=local_epochs)
    federation = FederationConfig(
        strategy=strategy,
        num_clients=clients,
        rounds=rounds,
        partition=partition,
        clients_per_round=clients_per_round,
        min_clips=min_clips,
        checkpoint_every=checkpoint_every,
        resume=resume,
    )
    with progress() as shown:
        run_and_say(
            lambda out, seed: federate(
                data,
                out=out,
                head=head,
                federation=federation,
                evaluation=evaluation.config(),
                training=training,
                seed=seed,
                progress=shown,
            ),
            out=out,
            seed=seed,
            repeats=repeats,
            as_json=as_json,
            replaces=resume or overwrite,
        )
