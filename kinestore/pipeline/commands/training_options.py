"""Options that `train` and `federate` share; unset ones are None, so that defaults can differ."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from kinestore.store import UsageError
from kinestore.store.io.addresses import local_path

if TYPE_CHECKING:
    from kinestore.pipeline.training.networks.clip_data import FrameClips
    from kinestore.store import Features, Store

_NETWORKS = "For networks on frames"

HeadFeaturesOption = Annotated[
    str | None,
    typer.Option(
        "--features",
        metavar="A[,B]",
        help="Stored features to train a head on, as VIEW or VIEW:POOL, such as motion.",
    ),
]
InputOption = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="frames[:NAME]",
        help="Frames to train a network on: stored ones, or videos:segments:8x5@256 to decode "
        "videos on the fly.",
        rich_help_panel=_NETWORKS,
    ),
]
SizeOption = Annotated[
    int | None,
    typer.Option(
        help="Input crop size in pixels, such as 224. [default: 7/8 of the frames' shorter side]",
        rich_help_panel=_NETWORKS,
    ),
]
FlipPairOption = Annotated[
    list[str] | None,
    typer.Option(
        "--flip-pair",
        "--swap",
        metavar="A,B",
        help="Two classes that are each other's mirror images, such as left,right; repeatable. "
        "[default: none]",
        rich_help_panel=_NETWORKS,
    ),
]
TestClipsOption = Annotated[
    int | None,
    typer.Option(
        help="Clips of each test video whose logits are averaged. [default: 1]",
        rich_help_panel=_NETWORKS,
    ),
]
TestCropsOption = Annotated[
    int | None,
    typer.Option(
        help="Spatial crops of each test clip, 1 or 3. [default: 1]", rich_help_panel=_NETWORKS
    ),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        parser=local_path,
        help="Weights to start from: of such a network, or of its backbone. [default: random]",
        rich_help_panel=_NETWORKS,
    ),
]
ActivationCheckpointingOption = Annotated[
    bool | None,
    typer.Option(
        "--activation-checkpointing",
        "--recompute",
        help="Use activation checkpointing, to reduce memory. [default: off]",
        rich_help_panel=_NETWORKS,
    ),
]
BatchSizeOption = Annotated[
    int | None,
    typer.Option(help="Clips in a step. [default: 32; for heads in federate 128]"),
]
ScheduleOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Learning rate by epoch: constant, cosine, or steps:30-45-55, after each of which it "
        "is a tenth. [default: constant for heads, cosine for networks]",
    ),
]
WarmupOption = Annotated[
    int | None,
    typer.Option(help="Epochs in which the learning rate rises first. [default: 0]"),
]
AccumulateOption = Annotated[
    int | None,
    typer.Option(help="Gradient accumulation steps, to reduce memory. [default: 1]"),
]
PrecisionOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Precision: float32 or bfloat16. [default: float32 on a CPU, bfloat16 on a GPU]",
    ),
]
_Value = TypeVar("_Value")


def either(value: _Value | None, default: _Value) -> _Value:
    """Return the value of an option, or the default where it was not given."""
    return default if value is None else value


def choose_data(
    store: "Store", head: str, features: str | None, frames: "FrameClips | None", clips: str | None
) -> "Features | FrameClips":
    """Open the clips of a command: stored features, or clips of frames.

    Args:
        store: The store.
        head: As the user names it.
        features: Views that were given, or None.
        frames: Clips of frames with the options for networks; None where none of these was given.
        clips: Frames that were given, or None.

    Raises:
        UsageError: If the options do not go together.
    """
    from kinestore import heads
    from kinestore.pipeline.training.networks.clip_data import FrameClips

    name = head.partition(":")[0]
    if heads.takes_frames(name):
        if features is not None or clips is None:
            raise UsageError(
                f"head={name!r}: takes frames; give --input frames, or --input "
                "videos:segments:8x5@256, and no --features"
            )
        return replace(frames or FrameClips(store=store), clips=clips)
    if features is None or clips is not None:
        raise UsageError(f"head={name!r}: takes embeddings; give --features A[,B], and no --input")
    if frames is not None:
        raise UsageError(
            f"head={name!r}: takes embeddings; leave out what --help lists for networks on frames"
        )
    return store.load(features.split(","))


def frame_clips(
    store: "Store",
    *,
    size: int | None,
    flip_pairs: Sequence[str] | None,
    test_clips: int | None,
    test_crops: int | None,
    weights: Path | None,
    activation_checkpointing: bool | None,
) -> "FrameClips | None":
    """Return clips of frames with the options for networks, or None where none was given."""
    given = (size, flip_pairs or None, test_clips, test_crops, weights)
    if all(value is None for value in given) and not activation_checkpointing:
        return None
    from kinestore.pipeline.training.config import EvaluationViews
    from kinestore.pipeline.training.networks.clip_data import FrameClips

    return FrameClips(
        store=store,
        size=size,
        flip_pairs=flip_pairs or (),
        views=EvaluationViews(num_clips=either(test_clips, 1), num_crops=either(test_crops, 1)),
        weights=weights,
    )


def is_first_process() -> bool:
    """Return whether this is the only process, or the one of `torchrun` that prints."""
    return os.environ.get("RANK", "0") == "0"
