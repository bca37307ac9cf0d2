"""Rows, curves and figures of a swarm's run."""

from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from kinestore.pipeline.plotting.run_charts import LinePanel
from kinestore.pipeline.runs.swarm_figures import AccuracySpread, ParticleFigures, SwarmFigures
from kinestore.pipeline.training.swarm.config import SwarmConfig, rate_text
from kinestore.pipeline.training.swarm.dynamics import TERMS
from kinestore.pipeline.training.swarm.fold_swarm import TrainedSwarm
from kinestore.pipeline.training.swarm.position_files import ParticleRecord

_EXCHANGED = TERMS[1:]


def columns_of(particles: int) -> tuple[str, ...]:
    """Return the header of metrics.csv."""
    return (
        "fold",
        "epoch",
        "particle",
        "learning_rate",
        "train_loss",
        "train_accuracy",
        "validation_loss",
        "validation_accuracy",
        "test_accuracy",
        "step",
        *_EXCHANGED,
        *(f"distance_{number}" for number in range(1, particles + 1)),
    )


def metrics_row(record: ParticleRecord, *, fold: str) -> dict[str, float | str | None]:
    """Return a row of metrics.csv; terms are shares of SGD's own step, None for a step of 0."""
    row: dict[str, float | str | None] = {"fold": fold, **asdict(record), **_shares(record)}
    del row["distances"]
    places = enumerate(record.distances, start=1)
    return row | {f"distance_{number}": distance for number, distance in places}


def _shares(record: ParticleRecord) -> dict[str, float | None]:
    """Return the size of each term of the exchange relative to SGD's own step."""
    sizes = {name: getattr(record, name) for name in _EXCHANGED}
    return {
        name: size / record.step if size is not None and record.step else None
        for name, size in sizes.items()
    }


def swarm_panels(results: Sequence[TrainedSwarm]) -> list[LinePanel]:
    """Return the panels of curves.png: accuracies by epoch and particle, and distances."""
    panels = [
        LinePanel(title=title, lines=_lines(results, figure), is_fraction=True)
        for title, figure in {
            "Accuracy on training clips": lambda one: one.train_accuracy,
            "Accuracy on validation clips": lambda one: one.validation_accuracy,
            "Accuracy on test clips": lambda one: one.test_accuracy,
        }.items()
    ]
    distances = _lines(results, lambda one: sum(one.distances) / (len(one.distances) - 1))
    return [*panels, LinePanel(title="Mean distance to the other particles", lines=distances)]


def _lines(
    results: Sequence[TrainedSwarm], figure: Callable[[ParticleRecord], float | None]
) -> dict[str, NDArray[np.float64]]:
    """Return a figure by particle, fold and epoch."""
    numbers = sorted({record.particle for record in results[0].records})
    return {
        f"particle {number}": np.array(
            [
                [figure(one) for one in result.records if one.particle == number]
                for result in results
            ],
            np.float64,
        )
        for number in numbers
    }


def swarm_figures(
    results: Sequence[TrainedSwarm], saved: TrainedSwarm, config: SwarmConfig
) -> SwarmFigures:
    """Return the figures of a run.

    Args:
        results: The folds that were tested.
        saved: The one whose model is saved.
        config: The swarm.
    """
    together = f"dynamic {config.dynamic}, {config.mode}"
    return SwarmFigures(
        dynamic="individual" if config.individual else together,
        chosen_particles=[result.chosen + 1 for result in results],
        saved_particle=saved.chosen + 1,
        particles=[
            _particle(results, number, rate_text(rate))
            for number, rate in enumerate(config.rates())
        ],
    )


def _particle(results: Sequence[TrainedSwarm], number: int, rate: str) -> ParticleFigures:
    """Return the figures of a particle, 0 for the first."""
    own = [[one for one in result.records if one.particle == number + 1] for result in results]
    tested = [[one.test_accuracy or 0.0 for one in fold] for fold in own]
    chosen = [result.best_epochs[number] for result in results]
    best = [int(np.argmax(fold)) + 1 for fold in tested]
    shares = [_shares(one) for fold in own for one in fold]
    known = {name: [s for one in shares if (s := one[name]) is not None] for name in _EXCHANGED}
    return ParticleFigures(
        particle=number + 1,
        learning_rate=rate,
        chosen=_spread([fold[epoch - 1] for fold, epoch in zip(tested, chosen, strict=True)]),
        last=_spread([fold[-1] for fold in tested]),
        best_on_test=_spread([max(fold) for fold in tested]),
        chosen_epochs=chosen,
        best_epochs_on_test=best,
        shares={name: float(np.median(sizes)) for name, sizes in known.items() if sizes},
    )


def _spread(values: list[float]) -> AccuracySpread:
    return AccuracySpread(
        values=values,
        mean=float(np.mean(values)),
        std=float(np.std(values, ddof=1)) if len(values) > 1 else None,
        max=max(values),
    )
