"""`kinestore train`: a head on stored features, or a network on frames."""

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


@takes_recipe("train")
@takes_groups
def train_command(
    store: StoreArgument,
    out: RunOption,
    *,
    features: HeadFeaturesOption = None,
    clips: InputOption = None,
    head: HeadOption = "mlp",
    epochs: Annotated[
        int | None,
        typer.Option(help="Number of epochs. [default: 40 for heads, 60 for networks]"),
    ] = None,
    seed: SeedOption = 0,
    repeats: RepeatsOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the run folder's checkpoints.")
    ] = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
    remote_videos: RemoteVideosOption = False,
    evaluation: EvaluationOptions,
    columns: ColumnOptions,
    learning: RecipeOptions,
    frames: FrameOptions,
) -> None:
    """Train a head on stored features, or a network on frames, and test it."""
    from kinestore.pipeline.training.train import default_training, train
    from kinestore.store import Store

    opened = Store(store, remote_videos=remote_videos)
    data = choose_data(opened, head, features, frames.clips_of(opened), clips, columns)
    training = learning.config(default_training(data), epochs=epochs)
    with progress() as shown:
        run_and_say(
            lambda out, seed: train(
                data,
                out=out,
                head=head,
                evaluation=evaluation.config(),
                training=training,
                seed=seed,
                resume=resume,
                progress=shown,
            ),
            out=out,
            seed=seed,
            repeats=repeats,
            as_json=as_json,
            replaces=resume or overwrite,
        )
