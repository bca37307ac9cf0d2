"""Options of `train` and `federate` that say which clips a model learns from."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from kinestore.pipeline.commands.option_groups import Group
from kinestore.store import UsageError

if TYPE_CHECKING:
    from kinestore.pipeline.training.config import EvaluationConfig
    from kinestore.pipeline.training.networks.clip_data import FrameClips
    from kinestore.store import Features, Store

NETWORKS = "For networks on frames"
"""Heading of their options in the help."""

_Value = TypeVar("_Value")

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
        help="Frames to train a network on: stored ones, or videos:segments:8x5@256, "
        "videos:random:16x4@112, videos:pieces:1x16@112 or videos:step:4@224 to decode videos on "
        "the fly.",
        rich_help_panel=NETWORKS,
    ),
]


@dataclass(frozen=True, kw_only=True)
class FrameOptions(Group):
    """Options of networks on frames."""

    size: Annotated[
        int | None,
        typer.Option(
            help="Input crop size in pixels, such as 224. [default: 7/8 of the frames' shorter "
            "side]",
            rich_help_panel=NETWORKS,
        ),
    ] = None
    flip_pair: Annotated[
        list[str] | None,
        typer.Option(
            "--flip-pair",
            "--swap",
            metavar="A,B",
            help="Two classes that are each other's mirror images, such as left,right; repeatable. "
            "[default: none]",
            rich_help_panel=NETWORKS,
        ),
    ] = None
    test_clips: Annotated[
        int | None,
        typer.Option(
            help="Clips of each test video whose logits are averaged. [default: 1]",
            rich_help_panel=NETWORKS,
        ),
    ] = None
    test_crops: Annotated[
        int | None,
        typer.Option(
            help="Spatial crops of each test clip, 1 or 3. [default: 1]",
            rich_help_panel=NETWORKS,
        ),
    ] = None

    augmentation: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Augmentation of training clips: crop for multi-scale crops and flips, or affine "
            "for one small rotation, shift and zoom of all frames, without flips. [default: crop]",
            rich_help_panel=NETWORKS,
        ),
    ] = None

    def clips_of(self, store: "Store") -> "FrameClips | None":
        """Return clips of frames with these options, or None where none was given."""
        given = (self.size, self.flip_pair or None, self.test_clips, self.test_crops)
        if all(value is None for value in (*given, self.augmentation)):
            return None
        from kinestore.pipeline.training.config import EvaluationViews
        from kinestore.pipeline.training.networks.clip_data import FrameClips

        views = EvaluationViews(
            num_clips=either(self.test_clips, 1), num_crops=either(self.test_crops, 1)
        )
        return FrameClips(
            store=store,
            size=self.size,
            flip_pairs=self.flip_pair or (),
            views=views,
            augmentation=either(self.augmentation, "crop"),
        )


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions(Group):
    """Options of which clips are tested and which choose the best weights."""

    split: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Column whose marks say which clips are trained on and tested: column for the "
            "split column, or one of your own, such as split_2; or random:0.3 to test this share, "
            "drawn by the seed. [default: column, if clips are marked; else test on 20 % of each "
            "class]",
        ),
    ] = None
    test_split: Annotated[
        str | None,
        typer.Option(
            metavar="MARK",
            help="Mark of the clips to test, such as val. [default: those whose mark means test]",
        ),
    ] = None
    cv: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Leave-one-group-out cross-validation, by the column group or one of your own, "
            "such as camera. [default: off]",
        ),
    ] = None
    folds: Annotated[
        int | None,
        typer.Option(
            metavar="K", help="K-fold stratified cross-validation, such as 5. [default: off]"
        ),
    ] = None
    validation: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Fraction of training clips used for validation, such as 0.2. [default: the clips "
            "that the split column marks val]",
        ),
    ] = None
    patience: Annotated[
        int | None,
        typer.Option(
            help="Stop after so many epochs, in federate rounds, without a lower validation loss. "
            "[default: never]"
        ),
    ] = None

    def config(self) -> "EvaluationConfig":
        """Return the choice of test and validation clips."""
        from kinestore.pipeline.training.config import EvaluationConfig

        return EvaluationConfig(**vars(self))


@dataclass(frozen=True, kw_only=True)
class ColumnOptions(Group):
    """Options of the columns that stand in for the usual ones."""

    label: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Column with the classes, such as action. [default: label]",
        ),
    ] = None
    group: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Column with the groups, such as person. [default: group]",
        ),
    ] = None

    def given(self) -> dict[str, str]:
        """Return the columns that were named, by what they stand in for."""
        return {name: column for name, column in vars(self).items() if column is not None}


def either(value: _Value | None, default: _Value) -> _Value:
    """Return the value of an option, or the default where it was not given."""
    return default if value is None else value


def choose_data(
    store: "Store",
    head: str,
    features: str | None,
    frames: "FrameClips | None",
    input_name: str | None,
    columns: ColumnOptions | None = None,
) -> "Features | FrameClips":
    """Open the clips of a command: stored features, or clips of frames.

    Args:
        store: The store.
        head: As the user names it.
        features: Views that were given, or None.
        frames: Clips of frames with the options for networks; None where none of these was given.
        input_name: Frames that were given, or None.
        columns: Columns that stand in for label and group.

    Raises:
        UsageError: If the options do not go together.
    """
    from kinestore import heads
    from kinestore.pipeline.training.networks.clip_data import FrameClips

    named = {} if columns is None else columns.given()
    name = head.partition(":")[0]
    if heads.takes_frames(name):
        if features is not None or input_name is None:
            raise UsageError(
                f"head={name!r}: takes frames; give --input frames, or --input "
                "videos:segments:8x5@256, and no --features"
            )
        return replace(frames or FrameClips(store=store), input=input_name, columns=named)
    if features is None or input_name is not None:
        raise UsageError(f"head={name!r}: takes embeddings; give --features A[,B], and no --input")
    if frames is not None:
        raise UsageError(
            f"head={name!r}: takes embeddings; leave out what --help lists for networks on frames"
        )
    return store.load(features.split(",")).with_columns(**named)
