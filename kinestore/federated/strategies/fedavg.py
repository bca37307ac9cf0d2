"""Federated averaging, also with robust aggregates, clipped updates and central privacy.

Source: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data",
2017, Algorithm 1: w <- sum_i (n_i / sum n) w_i over the clients of the round. Done differently:
buffers of floats are averaged too and counters take the largest value (the paper's networks have
neither), and sums run in float64 in the order of client numbers, so that no bit depends on who
answered first.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kinestore.federated import aggregate as aggregates
from kinestore.federated.strategy import CROSS_ENTROPY, Arrays, ClientUpdate, LocalRule, ServerState
from kinestore.store import UsageError


@dataclass(frozen=True, kw_only=True)
class FedAvg:
    """An average of the clients' models; see `build` for the attributes."""

    aggregate: str = "mean"
    trim: float = 0.2
    clip: float | None = None
    noise: float = 0.0
    local: LocalRule = CROSS_ENTROPY

    @property
    def draws_each(self) -> bool:
        """The accountant of the noise wants clients that are drawn one by one."""
        return self.noise > 0

    def init(self, start: ServerState) -> ServerState:
        """All of the model is shared."""
        if self.noise and (buffers := sorted(set(start.arrays) - start.parameters)):
            raise UsageError(
                f"noise={self.noise}: {buffers[0]} is a buffer, which clipping does not bound; "
                "take a head without batch norm"
            )
        return start

    def rule(self, share: float) -> LocalRule:
        """The same for every client."""
        return self.local

    def apply(
        self, state: ServerState, updates: Sequence[ClientUpdate], *, seed: int
    ) -> ServerState:
        """Average, or keep the model where there is no update."""
        ordered = sorted(updates, key=lambda update: update.client)
        if self.clip is not None:
            ordered = [_clipped(update, state, norm=self.clip) for update in ordered]
        if self.noise and self.clip is not None:
            return replace(state, arrays=_noisy(state, ordered, self.noise * self.clip, seed=seed))
        if not ordered:
            return state
        samples = [update.num_samples for update in ordered]
        join = aggregates.create(self.aggregate, trim=self.trim)
        return replace(
            state,
            arrays={
                name: join([update.arrays[name] for update in ordered], samples)
                for name in state.arrays
            },
        )

    def others(self, state: ServerState) -> Mapping[str, Arrays]:
        """None."""
        return {}


def _clipped(update: ClientUpdate, state: ServerState, *, norm: float) -> ClientUpdate:
    """The update brought back to w_t until its parameters are within `norm` of it, in float64."""
    moved = {
        name: update.arrays[name].double() - state.arrays[name].double()
        for name in state.parameters
    }
    length = math.sqrt(sum(float(step.square().sum()) for step in moved.values()))
    if length <= norm:
        return update
    nearer = {
        name: (state.arrays[name].double() + step * (norm / length)).to(state.arrays[name].dtype)
        for name, step in moved.items()
    }
    return replace(update, arrays={**update.arrays, **nearer})


def _noisy(
    state: ServerState, updates: Sequence[ClientUpdate], deviation: float, *, seed: int
) -> dict[str, Tensor]:
    """w_t + (sum of steps + normal noise) / expected number of clients, all clients equal."""
    generator = torch.Generator().manual_seed(seed)
    result = {}
    for name in sorted(state.arrays):
        start = state.arrays[name].double()
        total = deviation * torch.randn(start.shape, generator=generator, dtype=torch.float64)
        for update in updates:
            total += update.arrays[name].double() - start
        result[name] = (start + total / state.per_round).to(state.arrays[name].dtype)
    return {name: result[name] for name in state.arrays}


def build(
    *,
    aggregate: str = "mean",
    trim: float = 0.2,
    clip: float | None = None,
    noise: float = 0.0,
) -> FedAvg:
    """Federated averaging.

    Args:
        aggregate: "mean" weighted by numbers of samples; "median" of each coordinate or
            "trimmed-mean", which a minority of broken or hostile clients cannot carry away.
        trim: Share of the clients that a trimmed mean cuts from either end.
        clip: Length that a client's step ||w_i - w_t|| over all parameters is cut to; None for no
            limit. Source: Sun et al., "Can You Really Backdoor Federated Learning?", 2019.
        noise: Standard deviation of the normal noise on the sum of clipped steps, in units of
            `clip`: 0 for none. Clients then count equally, each is drawn by itself, and the sum
            is divided by how many are expected. Source: McMahan et al., "Learning Differentially
            Private Recurrent Language Models", 2018, Algorithm 1 with the estimator f_f. It comes
            from the run's seed: a seed that an adversary knows protects nothing.
    """
    if clip is not None and not 0 < clip < math.inf:
        raise UsageError(f"clip={clip}: must be above 0")
    if not 0 <= noise < math.inf:
        raise UsageError(f"noise={noise}: must be 0 or more")
    if noise and clip is None:
        raise UsageError(f"noise={noise}: give clip too, such as clip=1: it is what noise hides")
    if noise and aggregate != "mean":
        raise UsageError(f"aggregate={aggregate!r}: must be 'mean' where there is noise")
    aggregates.create(aggregate, trim=trim)  # refuses what it does not know
    return FedAvg(aggregate=aggregate, trim=trim, clip=clip, noise=noise)
