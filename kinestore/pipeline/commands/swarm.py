"""`kinestore swarm`: particles that train together."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kinestore.pipeline.commands.console import progress, say, say_json
from kinestore.pipeline.commands.data_options import (
    EvaluationOptions,
    FrameOptions,
    HeadFeaturesOption,
    InputOption,
    choose_data,
)
from kinestore.pipeline.commands.option_groups import Group, takes_groups
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
from kinestore.pipeline.commands.run_once_or_more import run_and_say
from kinestore.pipeline.commands.swarm_table import scan_table
from kinestore.pipeline.commands.training_options import LearningOptions
from kinestore.store import UsageError
from kinestore.store.io.addresses import local_path

if TYPE_CHECKING:
    from kinestore.pipeline.training.networks.clip_data import FrameClips
    from kinestore.pipeline.training.swarm.config import LearningRate, SwarmConfig
    from kinestore.store import Features

PARTICLES = "For the particles"


@dataclass(frozen=True, kw_only=True)
class SwarmOptions(Group):
    """Options of a swarm."""

    particles: Annotated[
        int, typer.Option(help="Number of particles.", rich_help_panel=PARTICLES)
    ] = 4
    dynamic: Annotated[
        int,
        typer.Option(
            help="Dynamics: 1 adds the neighbors' gradients, 2 their positions too.",
            rich_help_panel=PARTICLES,
        ),
    ] = 1
    mode: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Form of the dynamics: paper, code (as released) or consensus.",
            rich_help_panel=PARTICLES,
        ),
    ] = "code"
    neighbors: Annotated[
        int | None,
        typer.Option(
            help="Nearest other particles that a particle sees. [default: all]",
            rich_help_panel=PARTICLES,
        ),
    ] = None
    matrix: Annotated[
        str | None,
        typer.Option(
            metavar="ROW/ROW/...",
            help="What each particle takes from each, such as 0,1/1,0. [default: 0.2; 10 from the "
            "last particle]",
            rich_help_panel=PARTICLES,
        ),
    ] = None
    beta: Annotated[
        float,
        typer.Option(help="Exponent of 1 + distance.", rich_help_panel=PARTICLES),
    ] = 1.0
    c1: Annotated[
        float | None,
        typer.Option(
            help="Pull to a particle's own best position, in mode paper of dynamic 1. "
            "[default: 0.5]",
            rich_help_panel=PARTICLES,
        ),
    ] = None
    c2: Annotated[
        float,
        typer.Option(
            help="Pull to the best position in the neighborhood.", rich_help_panel=PARTICLES
        ),
    ] = 0.5
    fitness: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="What chooses the best positions on validation clips: accuracy or loss.",
            rich_help_panel=PARTICLES,
        ),
    ] = "accuracy"
    individual_epochs: Annotated[
        int,
        typer.Option(help="First epochs without an exchange.", rich_help_panel=PARTICLES),
    ] = 0
    individual: Annotated[
        bool,
        typer.Option("--individual", help="Never exchange.", rich_help_panel=PARTICLES),
    ] = False
    include_buffers: Annotated[
        bool,
        typer.Option(
            "--include-buffers",
            help="Move running statistics of batch norm too.",
            rich_help_panel=PARTICLES,
        ),
    ] = False
    overwrite: OverwriteOption = False
    learning_rates: Annotated[
        str | None,
        typer.Option(
            metavar="RATE,...",
            help="Learning rate of each particle; LOW:HIGH draws one before each epoch. [default: "
            "0.01, a tenth of it and so on; 1e-5:1e-1 for the last particle]",
            rich_help_panel=PARTICLES,
        ),
    ] = None
    lr_scan: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            parser=local_path,
            help="Folder of kinestore lr-scan, whose peak and range give the learning rates. "
            "[default: none]",
            rich_help_panel=PARTICLES,
        ),
    ] = None

    epochs: Annotated[int | None, typer.Option(help="Number of epochs. [default: 20]")] = None
    repeats: RepeatsOption = None
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the run folder's last epoch.")
    ] = False

    def config(self) -> "SwarmConfig":
        """Return the settings of a swarm."""
        from kinestore.pipeline.training.swarm.config import SwarmConfig

        given = dict(vars(self))
        for name in ("lr_scan", "epochs", "repeats", "overwrite"):
            del given[name]
        given["matrix"] = None if self.matrix is None else _matrix(self.matrix)
        given["learning_rates"] = self._rates()
        return SwarmConfig(**given)

    def _rates(self) -> "list[LearningRate] | None":
        if self.lr_scan is None:
            return None if self.learning_rates is None else _read_rates(self.learning_rates)
        if self.learning_rates is not None:
            raise UsageError(
                f"learning_rates={self.learning_rates!r}: lr_scan={self.lr_scan} gives the rates; "
                "give one of them"
            )
        from kinestore.pipeline.training.swarm.lr_scan import read_scan

        return read_scan(self.lr_scan).rates(particles=self.particles)


@dataclass(frozen=True, kw_only=True)
class LearnerOptions(Group):
    """Options of what learns from which clips."""

    features: HeadFeaturesOption = None
    clips: InputOption = None
    head: HeadOption = "temporal_transformer"
    seed: SeedOption = 0
    as_json: JsonOption = False
    remote_videos: RemoteVideosOption = False

    def open(self, store: str, frames: FrameOptions) -> "Features | FrameClips":
        """Open the clips."""
        from kinestore.store import Store

        opened = Store(store, remote_videos=self.remote_videos)
        return choose_data(opened, self.head, self.features, frames.clips_of(opened), self.clips)


@takes_groups
def swarm_command(
    store: StoreArgument,
    out: RunOption,
    *,
    learner: LearnerOptions,
    swarm: SwarmOptions,
    evaluation: EvaluationOptions,
    learning: LearningOptions,
    frames: FrameOptions,
) -> None:
    """Train a swarm of heads, or of networks on frames, that move towards each other."""
    from kinestore.pipeline.training.swarm import swarm as job
    from kinestore.pipeline.training.swarm.config import SWARM_TRAINING

    data = learner.open(store, frames)
    with progress() as shown:
        run_and_say(
            lambda out, seed: job.swarm(
                data,
                out=out,
                head=learner.head,
                particles=swarm.config(),
                evaluation=evaluation.config(),
                training=learning.config(SWARM_TRAINING, epochs=swarm.epochs),
                seed=seed,
                progress=shown,
            ),
            out=out,
            seed=learner.seed,
            repeats=swarm.repeats,
            as_json=learner.as_json,
            replaces=swarm.resume or swarm.overwrite,
        )


def _matrix(text: str) -> list[list[float]]:
    """Read rows such as "0,1/1,0"."""
    return [[_number("matrix", text, cell) for cell in row.split(",")] for row in text.split("/")]


def _read_rates(text: str) -> "list[LearningRate]":
    """Read rates such as "0.01,0.001,1e-5:1e-1"."""
    rates: list[Any] = []
    for part in text.split(","):
        values = [_number("learning_rates", text, one) for one in part.split(":")]
        if len(values) > 2:
            raise UsageError(f"learning_rates={text!r}: {part!r} must be a rate, or LOW:HIGH")
        rates.append(tuple(values) if len(values) == 2 else values[0])
    return rates


def _number(name: str, text: str, part: str) -> float:
    try:
        return float(part)
    except ValueError:
        raise UsageError(f"{name}={text!r}: {part!r} is no number") from None


@takes_groups
def lr_scan_command(
    store: StoreArgument,
    out: Annotated[Path, typer.Option("--out", parser=local_path, help="Folder of the scan.")],
    *,
    learner: LearnerOptions,
    evaluation: EvaluationOptions,
    learning: LearningOptions,
    frames: FrameOptions,
) -> None:
    """Train at learning rates from 1e-6 to 40, for the rates of a swarm."""
    from kinestore.pipeline.training.swarm.config import SWARM_TRAINING
    from kinestore.pipeline.training.swarm.lr_scan import lr_scan

    data = learner.open(store, frames)
    with progress() as shown:
        scan = lr_scan(
            data,
            out=out,
            head=learner.head,
            evaluation=evaluation.config(),
            training=learning.config(SWARM_TRAINING),
            seed=learner.seed,
            progress=shown,
        )
    if learner.as_json:
        say_json(asdict(scan))
    else:
        say(scan_table(scan, out))
