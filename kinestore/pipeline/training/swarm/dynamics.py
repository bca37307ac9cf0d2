"""The dynamics by which the particles of a swarm move towards each other after an epoch of SGD.

Source: Video Action Recognition Collaborative Learning with Dynamics via PSO-ConvNet Transformer,
2023, Eqs. 3 to 7 and Table 3; the form "code" is that of the authors' released notebooks.

x_i is where particle i started its epoch, phi_i where SGD took it, psi_i = phi_i - x_i its step,
P_i its best position so far and P_g the best one of its neighborhood; K_ij = M_ij / (1 + d_ij) **
beta for its neighbors j, and 0 for the others and itself. One r is drawn for all.

    1 paper      phi_i + sum_j K_ij psi_j + c1 r (P_i - phi_i) + c2 r (P_g - phi_i)
    1 code       phi_i + sum_j K_ij psi_j + c2 r (P_g - phi_i)
    2 paper      x_i + sum_j K_ij (x_j + psi_j) + c2 r (P_g - x_i)
    2 code       phi_i + sum_j K_ij (psi_j + eta_i phi_j) + c2 r (P_g - phi_i)
    2 consensus  phi_i + sum_j K_ij (psi_j + eta_i (phi_j - phi_i)) + c2 r (P_g - phi_i)

Distances are those of the x in the form "paper", squared in its dynamic 2, else those of the phi.
Dynamic 1 has no term of positions, so that its form "consensus" is its form "code".

Done differently:
    Eq. 7 prints a norm without its second operand; it is read as the distance of x_i and x_j.
    The form "code" has the exponent beta too, which is 1 in the released code.

Shape legend: N particles, B values of a block.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinestore.pipeline.training.swarm.config import SwarmConfig

VALUES_AT_A_TIME = 1 << 17
"""Values of a tensor that are computed at a time, so that a tensor is never copied as a whole."""

TERMS = ("step", "gradients", "positions", "best")
"""Parts of an update: SGD's own step, and the terms of the dynamics."""

TensorSizes = Mapping[str, int]
"""Names of the tensors that take part, with their numbers of values."""

_VARIANCE = "running_var"


class Position(Protocol):
    """Named tensors of a particle, in memory or in a file."""

    def read(self, name: str, part: slice) -> Tensor:
        """Return a part of a flattened tensor, shape (B,)."""


@dataclass(frozen=True, eq=False)
class TensorsInMemory:
    """A position whose tensors are in memory."""

    tensors: Mapping[str, Tensor]

    def read(self, name: str, part: slice) -> Tensor:
        """Return a part of a flattened tensor, shape (B,); a view of it."""
        return self.tensors[name].detach().view(-1)[part]


@dataclass(frozen=True, kw_only=True, eq=False)
class Swarm:
    """Positions of N particles after an epoch of SGD.

    Attributes:
        starts: x, before the epoch.
        after: phi, after it.
        bests: P, the best position of each particle so far.
        fitness: Fitness of each best position; the highest is the best.
        rates: eta, the learning rate of each particle in this epoch.
    """

    starts: Sequence[Position]
    after: Sequence[Position]
    bests: Sequence[Position]
    fitness: Sequence[float]
    rates: Sequence[float]


def blocks(sizes: TensorSizes) -> Iterator[tuple[str, slice]]:
    """Divide tensors into blocks of at most `VALUES_AT_A_TIME` values."""
    for name, size in sizes.items():
        for begin in range(0, size, VALUES_AT_A_TIME):
            yield name, slice(begin, min(begin + VALUES_AT_A_TIME, size))


def distances(positions: Sequence[Position], sizes: TensorSizes) -> NDArray[np.float64]:
    """Return the Euclidean distances between positions, float64, shape (N, N)."""
    count = len(positions)
    squares = np.zeros((count, count))
    for name, part in blocks(sizes):
        values = _values(positions, name, part)
        for one in range(count):
            for other in range(one):
                difference = values[one] - values[other]
                squares[one, other] += float(difference.dot(difference))
    found: NDArray[np.float64] = np.sqrt(squares + squares.T)
    return found


def step_norms(swarm: Swarm, sizes: TensorSizes) -> NDArray[np.float64]:
    """Return the L2 norm of each particle's own step of SGD, float64, shape (N,)."""
    squares = np.zeros(len(swarm.after))
    for name, part in blocks(sizes):
        for own, (phi, x) in enumerate(zip(swarm.after, swarm.starts, strict=True)):
            step = _value(phi, name, part) - _value(x, name, part)
            squares[own] += float(step.dot(step))
    found: NDArray[np.float64] = np.sqrt(squares)
    return found


def measured_at(swarm: Swarm, config: SwarmConfig) -> Sequence[Position]:
    """Return the positions between which a form of the dynamics measures distances."""
    return swarm.starts if config.mode == "paper" else swarm.after


def neighborhoods(distance: NDArray[np.float64], num_neighbors: int | None) -> list[list[int]]:
    """Return the nearest other particles of each, the lower number first among equals.

    Args:
        distance: Shape (N, N).
        num_neighbors: How many, from 1 to N - 1; None for all.
    """
    found = []
    for own, row in enumerate(distance):
        order = [int(other) for other in np.argsort(row, kind="stable") if other != own]
        found.append(sorted(order[:num_neighbors]))
    return found


class Exchange:
    """The exchange between the particles of a swarm.

    Args:
        swarm: The positions.
        distance: Distances between the positions of `measured_at`, float64, shape (N, N).
        r: From 0 to 1, the same for all.
        config: The dynamics.

    Attributes:
        kernel: K, float64, shape (N, N).
        leaders: The particle of P_g of each particle.
        norms: L2 norm of each of `TERMS` for each particle, over the blocks so far, shape (N, 4).
    """

    def __init__(
        self, swarm: Swarm, distance: NDArray[np.float64], *, r: float, config: SwarmConfig
    ) -> None:
        self._swarm, self._r, self._config = swarm, r, config
        near = neighborhoods(distance, config.neighbors)
        squared = config.dynamic == 2 and config.mode == "paper"
        kernel = config.pull() / (1 + (distance**2 if squared else distance)) ** config.beta
        seen = np.zeros(kernel.shape, bool)
        for own, others in enumerate(near):
            seen[own, others] = True
        self.kernel = np.where(seen, kernel, 0)
        fitness = swarm.fitness
        groups = [sorted([own, *others]) for own, others in enumerate(near)]
        self.leaders = [max(group, key=lambda one: fitness[one]) for group in groups]
        self._squares = np.zeros((len(near), len(TERMS)))

    @property
    def norms(self) -> NDArray[np.float64]:
        """Return the L2 norms of the terms."""
        found: NDArray[np.float64] = np.sqrt(self._squares)
        return found

    def moved(self, sizes: TensorSizes) -> Iterator[tuple[str, slice, list[Tensor]]]:
        """Yield the next position of all particles, block by block, float64, shape (B,) each.

        A block may be written to the position in memory before the next one is taken.
        """
        swarm = self._swarm
        used = {leader: swarm.bests[leader] for leader in self.leaders}
        if self._config.own_best_weight:
            used = dict(enumerate(swarm.bests))
        for name, part in blocks(sizes):
            starts, after = (_values(all_, name, part) for all_ in (swarm.starts, swarm.after))
            bests = {number: _value(best, name, part) for number, best in used.items()}
            steps = [phi - x for phi, x in zip(after, starts, strict=True)]
            moved = [self._move(own, starts, after, steps, bests) for own in range(len(after))]
            if name.endswith(_VARIANCE):
                moved = [values.clamp_(min=0) for values in moved]
            yield name, part, moved

    def _move(
        self,
        own: int,
        starts: Sequence[Tensor],
        after: Sequence[Tensor],
        steps: Sequence[Tensor],
        bests: Mapping[int, Tensor],
    ) -> Tensor:
        """Return the next values of one particle; terms with a weight of 0 change no bit."""
        config = self._config
        as_printed = config.dynamic == 2 and config.mode == "paper"
        base = starts[own] if as_printed else after[own]
        to_leader = config.c2 * self._r
        terms = {
            "step": steps[own],
            "gradients": _weighted(self.kernel[own], steps),
            "positions": self._positions(own, starts, after),
            "best": (bests[self.leaders[own]] - base) * to_leader if to_leader else None,
        }
        to_own = config.own_best_weight * self._r
        if to_own:
            pull = (bests[own] - base) * to_own
            terms["best"] = pull if terms["best"] is None else terms["best"] + pull
        result = base
        for place, name in enumerate(TERMS):
            term = terms[name]
            if term is not None:
                self._squares[own, place] += float(term.dot(term))
                result = result if name == "step" else result + term
        return result

    def _positions(
        self, own: int, starts: Sequence[Tensor], after: Sequence[Tensor]
    ) -> Tensor | None:
        """Return the term of the neighbors' positions."""
        config, weights = self._config, self.kernel[own]
        if config.dynamic == 1:
            return None
        if config.mode == "paper":
            return _weighted(weights, starts)
        weights = weights * self._swarm.rates[own]
        if config.mode == "code":
            return _weighted(weights, after)
        return _weighted(weights, [phi - after[own] for phi in after])


def _weighted(weights: NDArray[np.float64], values: Sequence[Tensor]) -> Tensor | None:
    """Return a weighted sum; None where all weights are 0."""
    total = None
    for weight, each in zip(weights.tolist(), values, strict=True):
        if weight:
            total = each * weight if total is None else total.add_(each, alpha=weight)
    return total


def _values(positions: Sequence[Position], name: str, part: slice) -> list[Tensor]:
    return [_value(position, name, part) for position in positions]


def _value(position: Position, name: str, part: slice) -> Tensor:
    return position.read(name, part).to("cpu", torch.float64)
