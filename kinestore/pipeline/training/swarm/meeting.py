"""The meeting of all particles after an epoch: they are measured, and moved if they exchange."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray

from kinestore.heads.training.loop import Diverged
from kinestore.pipeline.training.swarm.config import SwarmConfig
from kinestore.pipeline.training.swarm.dynamics import (
    Exchange,
    Swarm,
    TensorSizes,
    distances,
    measured_at,
    step_norms,
)


class MeetingFigures(TypedDict):
    """Figures of a particle at a meeting, as in `ParticleRecord`."""

    distances: list[float]
    step: float
    gradients: float | None
    positions: float | None
    best: float | None


def meet(
    swarm: Swarm, sizes: TensorSizes, *, config: SwarmConfig, r: float | None
) -> list[MeetingFigures]:
    """Measure all particles and, with an exchange, move those in memory in place.

    Args:
        swarm: The particles; `swarm.after` is in memory.
        sizes: The tensors that take part.
        config: The dynamics.
        r: The random factor of the exchange; None for no exchange.

    Raises:
        Diverged: If a particle's new position has NaN or infinity.
    """
    with _one_thread():
        return _meet(swarm, sizes, config=config, r=r)


def _meet(
    swarm: Swarm, sizes: TensorSizes, *, config: SwarmConfig, r: float | None
) -> list[MeetingFigures]:
    if r is None:
        distance = distances(swarm.after, sizes)
        steps = step_norms(swarm, sizes)
        pairs = zip(distance.tolist(), steps.tolist(), strict=True)
        return [
            MeetingFigures(distances=row, step=step, gradients=None, positions=None, best=None)
            for row, step in pairs
        ]
    distance = distances(measured_at(swarm, config), sizes)
    norms = _move(swarm, Exchange(swarm, distance, r=r, config=config), sizes)
    rows = zip(distance.tolist(), norms.tolist(), strict=True)
    return [
        MeetingFigures(
            distances=row,
            step=step,
            gradients=gradients,
            positions=positions if config.dynamic == 2 else None,
            best=best,
        )
        for row, (step, gradients, positions, best) in rows
    ]


def _move(swarm: Swarm, exchange: Exchange, sizes: TensorSizes) -> NDArray[np.float64]:
    """Move all particles, block by block; return the norms of the terms."""
    for name, part, values in exchange.moved(sizes):
        for number, (position, value) in enumerate(zip(swarm.after, values, strict=True), start=1):
            place = position.read(name, part)
            place.copy_(value)
            if not torch.isfinite(place).all():
                raise Diverged(f"particle {number}: its new position has NaN or infinity")
    return exchange.norms


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch compute in one thread, in which blocks are quickest: threads wait for each other.

    On a busy machine with two cores, two threads took eleven times as long. And so the number of
    threads changes no bit.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
