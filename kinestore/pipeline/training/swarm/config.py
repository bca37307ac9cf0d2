"""Settings of a swarm."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinestore.heads import TrainingConfig
from kinestore.store import UsageError

MODES = ("paper", "code", "consensus")
FITNESS = ("accuracy", "loss")

PEAK_RATE = 1e-2
WILD_RANGE = (1e-5, 1e-1)
"""Learning rates of Video Action Recognition Collaborative Learning with Dynamics via PSO-ConvNet
Transformer, 2023: of the first particle, and of the one that draws its rate."""

_PULL, _PULL_OF_LAST = 0.2, 10.0

SWARM_TRAINING = TrainingConfig(
    epochs=20,
    batch_size=8,
    learning_rate=PEAK_RATE,
    weight_decay=0.0,
    optimizer="sgd",
    momentum=0.0,
)
"""Default training of a particle: plain SGD, as in the paper; its rate is the particle's."""

LearningRate = float | tuple[float, float]
"""A fixed rate, or the range from which one is drawn log-uniformly before each epoch."""


@dataclass(frozen=True, kw_only=True)
class SwarmConfig:
    """Particles of a swarm, and how they collaborate.

    Attributes:
        particles: Number of particles N, 2 or more.
        dynamic: 1 adds the gradients of neighbors, 2 their positions too.
        mode: Form of the dynamics: "paper" as printed, "code" as the authors released it, or
            "consensus", in which positions of neighbors are taken relative to the particle's own;
            for dynamic 1 that is the form "code".
        neighbors: Number of nearest other particles that a particle sees, from 1 to N - 1; None
            for all. It always sees itself.
        matrix: M, one row for each particle, whose column j scales what it takes from particle j;
            the diagonal has no effect. None for 0.2, and 10 from the last particle to the others.
        beta: Exponent of the kernel M / (1 + distance) ** beta, 0 or more.
        c1: Weight of a particle's own best position, 0 or more; only the form "paper" of dynamic 1
            has this term, by default with 0.5.
        c2: Weight of the best position in the neighborhood, 0 or more.
        fitness: What chooses the best positions on the validation clips: "accuracy" as in the
            released code, or "loss" as in the paper.
        individual_epochs: First epochs without an exchange, 0 or more.
        individual: Whether the particles never exchange anything.
        include_buffers: Whether distances and updates include buffers, such as the running
            statistics of batch norm.
        same_start: Whether all particles start from the same weights and see the same batches.
        learning_rates: One for each particle; None for 0.01, a tenth of it and so on, and a drawn
            rate for the last particle.
        resume: Continue from the run folder's checkpoint, to the same bits.
    """

    particles: int = 4
    dynamic: int = 1
    mode: str = "code"
    neighbors: int | None = None
    matrix: Sequence[Sequence[float]] | None = None
    beta: float = 1.0
    c1: float | None = None
    c2: float = 0.5
    fitness: str = "accuracy"
    individual_epochs: int = 0
    individual: bool = False
    include_buffers: bool = False
    same_start: bool = False
    learning_rates: Sequence[LearningRate] | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        if self.particles < 2:
            raise UsageError(f"particles={self.particles}: must be 2 or more")
        for name, allowed in {"dynamic": (1, 2), "mode": MODES, "fitness": FITNESS}.items():
            if getattr(self, name) not in allowed:
                names = " or ".join(map(str, allowed))
                raise UsageError(f"{name}={getattr(self, name)!r}: must be {names}")
        most = self.particles - 1
        if self.neighbors is not None and not 1 <= self.neighbors <= most:
            raise UsageError(
                f"neighbors={self.neighbors}: must be from 1 to {most}, the number of other "
                f"particles of {self.particles}"
            )
        for name in ("beta", "c1", "c2", "individual_epochs"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise UsageError(f"{name}={value}: must be 0 or more and finite")
        if self.c1 is not None and not self.pulls_to_own_best:
            raise UsageError(
                f"c1={self.c1}: only mode='paper' of dynamic=1 has this term; leave it out"
            )
        self._check_matrix()
        self._check_rates()

    @property
    def pulls_to_own_best(self) -> bool:
        """Return whether these dynamics have the term of a particle's own best position."""
        return self.dynamic == 1 and self.mode == "paper"

    @property
    def own_best_weight(self) -> float:
        """Return c1; 0 where the dynamics do not have its term."""
        if not self.pulls_to_own_best:
            return 0.0
        return 0.5 if self.c1 is None else self.c1

    def pull(self) -> NDArray[np.float64]:
        """Return M, shape (N, N), with a diagonal of zeros."""
        if self.matrix is None:
            found = np.full((self.particles, self.particles), _PULL)
            found[:, -1] = _PULL_OF_LAST
        else:
            found = np.array(self.matrix, np.float64)
        np.fill_diagonal(found, 0)
        return found

    def rates(self) -> list[LearningRate]:
        """Return the learning rate of each particle."""
        if self.learning_rates is not None:
            return list(self.learning_rates)
        return scanned_rates(PEAK_RATE, WILD_RANGE, particles=self.particles)

    def exchanges(self, epoch: int) -> bool:
        """Return whether the particles exchange after an epoch, 1 for the first."""
        return not self.individual and epoch > self.individual_epochs

    def _check_matrix(self) -> None:
        if self.matrix is None:
            return
        wanted = f"must be {self.particles} x {self.particles} for {self.particles} particles"
        widths = {len(row) for row in self.matrix}
        if len(self.matrix) != self.particles or widths != {self.particles}:
            shape = f"{len(self.matrix)} x {'/'.join(map(str, sorted(widths)))}"
            raise UsageError(f"matrix: is {shape}, and {wanted}")
        if not np.isfinite(np.array(self.matrix, np.float64)).all():
            raise UsageError("matrix: has NaN or infinity; give finite numbers")

    def _check_rates(self) -> None:
        if self.learning_rates is None:
            return
        if len(self.learning_rates) != self.particles:
            raise UsageError(
                f"learning_rates: {len(self.learning_rates)} were given for {self.particles} "
                "particles; give one for each"
            )
        for number, rate in enumerate(self.learning_rates, start=1):
            low, high = rate if isinstance(rate, tuple) else (rate, rate)
            if not 0 < low <= high < math.inf:
                raise UsageError(
                    f"learning_rates: {rate_text(rate)} of particle {number} must be above 0 and "
                    "finite, or a range LOW:HIGH that rises"
                )


def scanned_rates(peak: float, drawn: tuple[float, float], *, particles: int) -> list[LearningRate]:
    """Return the paper's rates: the peak, a tenth of it and so on, and a range for the last."""
    fixed: list[LearningRate] = [peak / 10**number for number in range(particles - 1)]
    return [*fixed, drawn]


def rate_text(rate: LearningRate) -> str:
    """Return a learning rate as the command line takes it: "0.01", or "1e-05:0.1"."""
    return ":".join(f"{one:g}" for one in rate) if isinstance(rate, tuple) else f"{rate:g}"


def check_plain_sgd(training: TrainingConfig) -> None:
    """Refuse settings that particles do not have."""
    for name, value in {
        "optimizer": "sgd",
        "momentum": 0,
        "schedule": "constant",
        "warmup": 0,
        "learning_rate": SWARM_TRAINING.learning_rate,
    }.items():
        if getattr(training, name) != value:
            instead = (
                "give learning_rates, one for each particle"
                if name == "learning_rate"
                else "leave it out"
            )
            raise UsageError(
                f"{name}={getattr(training, name)!r}: particles of a swarm train by plain SGD, "
                f"each at its own learning rate; {instead}"
            )
