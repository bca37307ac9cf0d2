"""Options that say how something learns.

Options that were not given are None, since the defaults of heads, networks and clients differ.
"""

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kinestore.pipeline.commands.data_options import NETWORKS
from kinestore.pipeline.commands.option_groups import Group
from kinestore.store import UsageError
from kinestore.store.io.addresses import local_path

if TYPE_CHECKING:
    from kinestore.heads import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class LearningOptions(Group):
    """Options of everything that learns, each a field of `TrainingConfig`."""

    batch_size: Annotated[
        int | None,
        typer.Option(help="Clips in a step. [default: 32; for heads in federate 128]"),
    ] = None
    optimizer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Optimizer: adam, adamw or sgd. [default: adam for heads, sgd for networks]",
        ),
    ] = None
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Highest learning rate. [default: 0.001 for heads, 0.01 for networks]"),
    ] = None
    weight_decay: Annotated[
        float | None,
        typer.Option(
            help="Weight decay. [default: 0.01 for heads, in federate 0.0001; 0.0005 for networks]"
        ),
    ] = None
    momentum: Annotated[
        float | None, typer.Option(help="Momentum of sgd, from 0 to below 1. [default: 0.9]")
    ] = None
    nesterov: Annotated[
        bool | None,
        typer.Option("--nesterov", help="Use Nesterov's momentum with sgd. [default: off]"),
    ] = None
    schedule: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Learning rate by epoch, in federate by round: constant, cosine, steps:30-45-55, "
            "after each of which it is a tenth, or decay:0.998, its factor from one to the next. "
            "[default: constant; for networks in train cosine]",
        ),
    ] = None
    warmup: Annotated[
        int | None,
        typer.Option(
            help="Epochs, in federate rounds, in which the learning rate rises first. [default: 0]"
        ),
    ] = None
    clip_gradients: Annotated[
        str | None,
        typer.Option(
            metavar="NORM",
            help="Largest L2 norm of a step's gradient, or none. [default: none for heads, 20 for "
            "networks]",
        ),
    ] = None
    label_smoothing: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Share of each label that is spread over all classes, such as 0.1. [default: 0]",
        ),
    ] = None
    class_weights: Annotated[
        str | None,
        typer.Option(
            metavar="balanced", help="Give each class the same weight in the loss. [default: off]"
        ),
    ] = None
    standardize: Annotated[
        str | None,
        typer.Option(
            "--standardize",
            "--standardise",
            metavar="NAME",
            help="Scale stored features by statistics of the training clips (train), or take them "
            "as they are (none). [default: train]",
        ),
    ] = None
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            parser=local_path,
            help="Weights to start from: a file, or a finished run, of such a model, or of the "
            "backbone of a network. A classifier of other classes starts from random weights. "
            "[default: all random]",
        ),
    ] = None
    freeze: Annotated[
        str | None,
        typer.Option(
            metavar="trunk", help="Train the last linear layer alone. [default: train all]"
        ),
    ] = None
    classifier_lr: Annotated[
        float | None,
        typer.Option(
            metavar="MULTIPLIER",
            help="Factor of the learning rate of the last linear layer, such as 5. [default: 1]",
        ),
    ] = None
    accumulate: Annotated[
        int | None,
        typer.Option(help="Gradient accumulation steps, to reduce memory. [default: 1]"),
    ] = None
    activation_checkpointing: Annotated[
        bool | None,
        typer.Option(
            "--activation-checkpointing",
            "--recompute",
            help="Use activation checkpointing, to reduce memory. [default: off]",
            rich_help_panel=NETWORKS,
        ),
    ] = None
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Precision: float32 or bfloat16. [default: float32 on a CPU, bfloat16 on a GPU]",
        ),
    ] = None
    device: Annotated[
        str | None,
        typer.Option(
            help="Device: auto, cpu or cuda. [default: auto; for heads in train cpu]",
        ),
    ] = None

    def config(self, default: "TrainingConfig", **more: object) -> "TrainingConfig":
        """Return the settings of a job: its defaults, but for the options that were given.

        Args:
            default: Of this kind of model and job.
            more: Further settings; None takes the default.

        Raises:
            UsageError: If a value is out of range, or has no effect.
        """
        given = {own.name: getattr(self, own.name) for own in fields(self)} | more
        settings = {name: value for name, value in given.items() if value is not None}
        if self.clip_gradients is not None:
            settings["clip_gradients"] = _norm(self.clip_gradients)
        chosen: TrainingConfig = replace(default, **settings)
        if self.momentum is not None and chosen.optimizer != "sgd":
            raise UsageError(
                f"momentum={self.momentum}: {chosen.optimizer} has none; give --optimizer sgd, or "
                "leave it out"
            )
        return chosen


@dataclass(frozen=True, kw_only=True)
class RecipeOptions(LearningOptions):
    """Options of the jobs that papers have recipes of."""

    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Settings of a paper, such as flamest or stc, for the options that are not given; "
            "docs/training.md lists all. [default: none]",
        ),
    ] = None


def _norm(text: str) -> float | None:
    """Read a largest norm, or "none"."""
    if text == "none":
        return None
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"clip_gradients={text!r}: must be a number above 0, or none") from None


def is_first_process() -> bool:
    """Return whether this is the only process, or the one of `torchrun` that prints."""
    return os.environ.get("RANK", "0") == "0"
