"""Figures of a swarm, for the summary of its run."""

import math
from dataclasses import dataclass

from kinestore.store import UsageError


@dataclass(frozen=True, kw_only=True)
class AccuracySpread:
    """Accuracies over folds.

    Attributes:
        values: One for each fold, from 0 to 1.
        mean: Their mean.
        std: Their sample standard deviation, with n - 1; None for a single one.
        max: The highest.
    """

    values: list[float]
    mean: float
    std: float | None
    max: float


@dataclass(frozen=True, kw_only=True)
class ParticleFigures:
    """Accuracies of a particle on the test clips, after SGD and before the exchange.

    Attributes:
        particle: 1 for the first.
        learning_rate: Its rate, or the range that it is drawn from, as "1e-05:0.1".
        chosen: After the epoch with the best fitness on the validation clips.
        last: After the last epoch.
        best_on_test: After the epoch with the highest accuracy on the test clips, as the paper has
            it. It is chosen by the clips that it is measured on, and so is too high as an estimate.
        chosen_epochs: Epoch of `chosen` in each fold.
        best_epochs_on_test: Epoch of `best_on_test` in each fold.
        shares: Median size of each term of the exchange relative to SGD's own step, over folds and
            epochs: "gradients" and "positions" of the neighbors, and "best" positions; empty
            without an exchange.
    """

    particle: int
    learning_rate: str
    chosen: AccuracySpread
    last: AccuracySpread
    best_on_test: AccuracySpread
    chosen_epochs: list[int]
    best_epochs_on_test: list[int]
    shares: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class SwarmFigures:
    """Figures of a swarm's run alone.

    Attributes:
        dynamic: The dynamics by name, such as "dynamic 2, code", or "individual".
        chosen_particles: The particle that validation chose in each fold, 1 for the first.
        saved_particle: The particle of the saved model.
        particles: Figures of each particle.
    """

    dynamic: str
    chosen_particles: list[int]
    saved_particle: int
    particles: list[ParticleFigures]

    def __post_init__(self) -> None:
        for one in self.particles:
            for spread in (one.chosen, one.last, one.best_on_test):
                if not all(0 <= value <= 1 for value in (*spread.values, spread.mean, spread.max)):
                    raise UsageError(f"particle {one.particle}: an accuracy is not from 0 to 1")
            if not all(math.isfinite(share) and share >= 0 for share in one.shares.values()):
                raise UsageError(f"particle {one.particle}: a share is below 0 or infinite")
