"""`kinestore train`: a head on stored features, or a network on frames."""

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
    ScheduleOption,
    SizeOption,
    TestClipsOption,
    TestCropsOption,
    WarmupOption,
    WeightsOption,
    choose_data,
    either,
    frame_clips,
    is_first_process,
)


def train_command(
    store: StoreArgument,
    out: RunOption,
    features: HeadFeaturesOption = None,
    clips: InputOption = None,
    head: HeadOption = "mlp",
    split: SplitOption = None,
    cv: CvOption = None,
    folds: FoldsOption = None,
    validation: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Fraction of training clips used for validation, such as 0.2. [default: the clips "
            "that the split column marks val]",
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            help="Stop after so many epochs without a lower validation loss. [default: never]"
        ),
    ] = None,
    class_weights: Annotated[
        str | None,
        typer.Option(
            metavar="balanced", help="Give each class the same weight in the loss. [default: off]"
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="Number of epochs. [default: 40 for heads, 60 for networks]"),
    ] = None,
    batch_size: BatchSizeOption = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            help="Learning rate. [default: 0.001 (Adam) for heads, 0.01 (SGD) for networks]"
        ),
    ] = None,
    weight_decay: Annotated[
        float | None,
        typer.Option(help="L2 penalty. [default: 0.01 for heads, 0.0005 for networks]"),
    ] = None,
    schedule: ScheduleOption = None,
    warmup: WarmupOption = None,
    accumulate: AccumulateOption = None,
    precision: PrecisionOption = None,
    device: Annotated[
        str | None,
        typer.Option(help="Device: auto, cpu or cuda. [default: cpu for heads, auto for networks]"),
    ] = None,
    seed: SeedOption = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the run folder's checkpoints.")
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
    """Train a head on stored features, or a network on frames, and test it."""
    from kinestore.pipeline.training.config import EvaluationConfig
    from kinestore.pipeline.training.train import default_training, train
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
    default = default_training(data)
    with progress() as shown:
        summary = train(
            data,
            out=out,
            head=head,
            evaluation=EvaluationConfig(
                split=split, cv=cv, folds=folds, validation=validation, patience=patience
            ),
            training=replace(
                default,
                epochs=either(epochs, default.epochs),
                batch_size=either(batch_size, default.batch_size),
                learning_rate=either(learning_rate, default.learning_rate),
                weight_decay=either(weight_decay, default.weight_decay),
                schedule=either(schedule, default.schedule),
                warmup=either(warmup, default.warmup),
                accumulate=either(accumulate, default.accumulate),
                activation_checkpointing=bool(activation_checkpointing),
                precision=precision,
                class_weights=class_weights,
                device=either(device, default.device),
            ),
            seed=seed,
            resume=resume,
            progress=shown,
        )
    if is_first_process():
        if as_json:
            say_json(summary.to_json())
        else:
            say(run_table(summary.to_json(), out))
