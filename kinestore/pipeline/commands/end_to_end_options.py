"""Options of `train` and `federate` for nets; unset ones are None, to tell who gave them."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from kinestore.store.io.addresses import local_path

_PANEL = "For nets that take frames"

InputOption = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="frames[:NAME]",
        help="Frames that the store keeps, or videos:segments:8x5@256 to decode anew each epoch.",
        rich_help_panel=_PANEL,
    ),
]
SizeOption = Annotated[
    int | None,
    typer.Option(help="Pixels of a cut's side; 7/8 of the frames'.", rich_help_panel=_PANEL),
]
SwapOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="A,B",
        help="Two classes that are mirror images, as left,right; repeatable.",
        rich_help_panel=_PANEL,
    ),
]
TestClipsOption = Annotated[
    int | None,
    typer.Option(help="Clips of a video whose logits are averaged; 1.", rich_help_panel=_PANEL),
]
TestCropsOption = Annotated[
    int | None, typer.Option(help="Cuts of each of them, 1 or 3; 1.", rich_help_panel=_PANEL)
]
WeightsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        parser=local_path,
        help="A file to start from: of such a net, or of its trunk.",
        rich_help_panel=_PANEL,
    ),
]
ScheduleOption = Annotated[
    str | None,
    typer.Option(
        metavar="cosine",
        help="How the step size falls: also constant, or steps:30-45-55, each to a tenth.",
        rich_help_panel=_PANEL,
    ),
]
WarmupOption = Annotated[
    int | None,
    typer.Option(help="Epochs in which the step size rises first; 0.", rich_help_panel=_PANEL),
]
AccumulateOption = Annotated[
    int | None,
    typer.Option(help="Passes that a step adds up, to hold less; 1.", rich_help_panel=_PANEL),
]
RecomputeOption = Annotated[
    bool | None,
    typer.Option(
        "--recompute", help="Compute activations twice, to hold less.", rich_help_panel=_PANEL
    ),
]
PrecisionOption = Annotated[
    str | None,
    typer.Option(
        metavar="float32", help="Or bfloat16, which GPUs have if unset.", rich_help_panel=_PANEL
    ),
]
DeviceOption = Annotated[
    str | None, typer.Option(help="auto, cpu or cuda.", rich_help_panel=_PANEL)
]
ResumeOption = Annotated[
    bool | None,
    typer.Option(
        "--resume", help="Go on after the run folder's last epoch.", rich_help_panel=_PANEL
    ),
]


def given(**options: Any) -> dict[str, Any]:
    """Those that a person gave."""
    return {name: value for name, value in options.items() if value is not None and value != []}


def is_first_process() -> bool:
    """Whether this is the only process, or the one of `torchrun` that speaks."""
    return os.environ.get("RANK", "0") == "0"
