"""Training heads, centrally and together."""

import json
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import typer

from kinestore.pipeline.commands.console import progress, say
from kinestore.pipeline.commands.end_to_end_options import (
    AccumulateOption,
    DeviceOption,
    InputOption,
    PrecisionOption,
    RecomputeOption,
    ResumeOption,
    ScheduleOption,
    SizeOption,
    SwapOption,
    TestClipsOption,
    TestCropsOption,
    WarmupOption,
    WeightsOption,
    given,
    is_first_process,
)
from kinestore.pipeline.commands.options import (
    CvOption,
    FoldsOption,
    HeadOption,
    JsonOption,
    RunOption,
    SeedOption,
    SplitOption,
    StoreArgument,
)
from kinestore.pipeline.commands.tables import run_table

HeadFeaturesOption = Annotated[
    str | None,
    typer.Option(
        "--features", metavar="A[,B]", help="Views as VIEW or VIEW:POOL, for a head on vectors."
    ),
]


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
        typer.Option(metavar="SHARE", help="Of the fitted clips, held to choose the best epoch."),
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="Stop after so many epochs without a lower validation loss.")
    ] = None,
    class_weights: Annotated[
        str | None, typer.Option(metavar="balanced", help="Let each class count the same.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes; 40, of a net 60.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Clips a step; 32.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Adam's, 0.001; of a net SGD's highest, 0.01.")
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(help="L2 penalty, 0.01; of a net 0.0005.")
    ] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    size: SizeOption = None,
    swap: SwapOption = None,
    test_clips: TestClipsOption = None,
    test_crops: TestCropsOption = None,
    weights: WeightsOption = None,
    schedule: ScheduleOption = None,
    warmup: WarmupOption = None,
    accumulate: AccumulateOption = None,
    recompute: RecomputeOption = None,
    precision: PrecisionOption = None,
    device: DeviceOption = None,
    resume: ResumeOption = None,
) -> None:
    """Train a head on stored features, or a net on frames, and score it on unseen clips."""
    from kinestore.pipeline.training.model_spec import check_input

    how = given(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
    )
    net_how = given(
        schedule=schedule,
        warmup=warmup,
        accumulate=accumulate,
        recompute=recompute,
        precision=precision,
    )
    looks = given(clips=test_clips, crops=test_crops)
    net = given(size=size, swaps=swap, weights=weights, device=device, resume=resume)
    check_input(head, features=features, clips=clips, of_nets=bool(net_how or looks or net))
    shared: dict[str, Any] = {
        "out": out,
        "head": head,
        "split": split,
        "cv": cv,
        "folds": folds,
        "validation": validation,
        "patience": patience,
        "class_weights": class_weights,
        "seed": seed,
    }
    with progress() as tell:
        shared["on_progress"] = partial(tell, "training")
        if features is not None:
            summary = _train_head(store, features, how, shared)
        else:
            summary = _train_net(store, str(clips), how | net_how, looks, shared | net)
    if not is_first_process():
        return
    say(json.dumps(summary) if as_json else run_table(summary, out))


def _train_head(
    store: str, features: str, how: dict[str, Any], shared: dict[str, Any]
) -> dict[str, Any]:
    from kinestore.heads import FitSettings
    from kinestore.pipeline.training.train_head import train
    from kinestore.store import Store

    loaded = Store(store).load(features.split(","))
    return train(loaded, settings=FitSettings(**how), **shared)


def _train_net(
    store: str, clips: str, how: dict[str, Any], looks: dict[str, Any], shared: dict[str, Any]
) -> dict[str, Any]:
    from kinestore.pipeline.training.networks.config import Looks, NetSettings
    from kinestore.pipeline.training.networks.train_network import train_net
    from kinestore.store import Store

    return train_net(
        Store(store), clips=clips, settings=NetSettings(**how), looks=Looks(**looks), **shared
    )


def federate_command(
    store: StoreArgument,
    out: RunOption,
    features: HeadFeaturesOption = None,
    clips: InputOption = None,
    head: HeadOption = "mlp",
    strategy: Annotated[
        str, typer.Option(help="fedavg, fedprox:mu=0.1, feddyn, personal:private=0, ...; see docs.")
    ] = "fedavg",
    clients: Annotated[int, typer.Option(help="Number of clients.")] = 4,
    rounds: Annotated[int, typer.Option(help="Rounds of communication.")] = 80,
    local_epochs: Annotated[
        int | None, typer.Option(help="A client's passes a round; 5, of a net 1.")
    ] = None,
    partition: Annotated[
        str, typer.Option(help="iid, group, dirichlet:0.6, classes:2, ...; see docs.")
    ] = "iid",
    sample: Annotated[int | None, typer.Option(help="Clients a round; all if unset.")] = None,
    split: SplitOption = None,
    cv: CvOption = None,
    folds: FoldsOption = None,
    batch_size: Annotated[int | None, typer.Option(help="Clips a step; 128, of a net 32.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Adam's, 0.001; of a net SGD's, 0.01.")
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(help="L2 penalty, 0.0001; of a net 0.0005.")
    ] = None,
    seed: SeedOption = 0,
    checkpoint_every: Annotated[int, typer.Option(help="Rounds between checkpoints.")] = 10,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the run folder's last checkpoint.")
    ] = False,
    as_json: JsonOption = False,
    size: SizeOption = None,
    swap: SwapOption = None,
    test_clips: TestClipsOption = None,
    test_crops: TestCropsOption = None,
    weights: WeightsOption = None,
    accumulate: AccumulateOption = None,
    recompute: RecomputeOption = None,
    precision: PrecisionOption = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
) -> None:
    """Train one head, or a net on frames, over clients that keep their clips to themselves."""
    from kinestore.pipeline.training.model_spec import check_input

    how = given(
        epochs=local_epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
    )
    net_how = given(accumulate=accumulate, recompute=recompute, precision=precision)
    looks = given(clips=test_clips, crops=test_crops)
    net = given(size=size, swaps=swap, weights=weights)
    check_input(head, features=features, clips=clips, of_nets=bool(net_how or looks or net))
    shared: dict[str, Any] = {
        "out": out,
        "head": head,
        "strategy": strategy,
        "clients": clients,
        "rounds": rounds,
        "partition": partition,
        "sample": sample,
        "split": split,
        "cv": cv,
        "folds": folds,
        "seed": seed,
        "checkpoint_every": checkpoint_every,
        "resume": resume,
        **given(device=device),
    }
    with progress() as tell:
        shared["on_progress"] = partial(tell, "rounds")
        if features is not None:
            summary = _federate_head(store, features, how, shared)
        else:
            summary = _federate_net(store, str(clips), how | net_how, looks, shared | net)
    say(json.dumps(summary) if as_json else run_table(summary, out))


def _federate_head(
    store: str, features: str, how: dict[str, Any], shared: dict[str, Any]
) -> dict[str, Any]:
    from kinestore.federated.client_update import LOCAL_SETTINGS
    from kinestore.pipeline.training.federated.federate_head import federate
    from kinestore.store import Store

    loaded = Store(store).load(features.split(","))
    return federate(loaded, settings=replace(LOCAL_SETTINGS, **how), **shared)


def _federate_net(
    store: str, clips: str, how: dict[str, Any], looks: dict[str, Any], shared: dict[str, Any]
) -> dict[str, Any]:
    from kinestore.pipeline.training.federated.federate_network import LOCAL_SETTINGS, federate_net
    from kinestore.pipeline.training.networks.config import Looks
    from kinestore.store import Store

    return federate_net(
        Store(store),
        clips=clips,
        settings=replace(LOCAL_SETTINGS, **how),
        looks=Looks(**looks),
        **shared,
    )
