"""Stages between the clients' updates and the strategy: clip, weight, aggregate, add noise.

They go with every strategy, in this order, each a pure function of what the clients sent:

1. Clip each client's step w_i - w_t. Source: Sun et al., "Can You Really Backdoor Federated
   Learning?", 2019.
2. Weight the clients by their numbers of samples, or all alike.
3. Aggregate: mean, median or trimmed mean of each coordinate.
4. Add normal noise to the sum of clipped steps and divide it by the expected number of clients.
   Source: McMahan et al., "Learning Differentially Private Recurrent Language Models", 2018,
   Algorithm 1 with the estimator f_f.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from kinestore.federated import aggregate as aggregates
from kinestore.federated.state import Arrays, ClientUpdate, ServerState
from kinestore.federated.system_random import system_normal
from kinestore.store import UsageError

WEIGHTINGS = ("samples", "equal")


@dataclass(frozen=True, kw_only=True)
class Stages:
    """Settings of the stages.

    Attributes:
        aggregate: "mean"; or "median" of each coordinate or "trimmed-mean", which a minority of
            broken or hostile clients cannot carry away and which count every client once.
        trim: Share of the clients that a trimmed mean drops at either end.
        weighting: Of parameters under the mean, "samples" or "equal"; None for the strategy's own.
            Buffers, such as the statistics of batch norm, are always weighted by samples.
        clip: Length that a client's step ||w_i - w_t|| over all shared parameters is clipped to;
            None for no limit.
        noise: Standard deviation of the noise on the sum of clipped steps, in units of `clip`: 0
            for none. Clients then count equally and each is drawn by itself. The noise comes from
            the system's generator and not from the seed: nobody can draw it again and take it away.
    """

    aggregate: str = "mean"
    trim: float = 0.2
    weighting: str | None = None
    clip: float | None = None
    noise: float = 0.0

    def __post_init__(self) -> None:
        aggregates.check_aggregate(self.aggregate, trim=self.trim)
        if self.weighting not in (None, *WEIGHTINGS):
            raise UsageError(
                f"weighting={self.weighting!r}: must be one of {', '.join(WEIGHTINGS)}"
            )
        if self.clip is not None and not 0 < self.clip < math.inf:
            raise UsageError(f"clip={self.clip}: must be above 0")
        if not 0 <= self.noise < math.inf:
            raise UsageError(f"noise={self.noise}: must be 0 or more")
        if self.noise and self.clip is None:
            raise UsageError(
                f"noise={self.noise}: give clip too, such as clip=1: it is what noise hides"
            )
        if self.noise and self.aggregate != "mean":
            raise UsageError(f"aggregate={self.aggregate!r}: must be 'mean' where there is noise")
        if self.weighting == "samples" and (self.noise or self.aggregate != "mean"):
            reason = "there is noise" if self.noise else f"aggregate={self.aggregate!r}"
            raise UsageError(f"weighting='samples': must be 'equal' where {reason}")

    def check(self, state: ServerState) -> None:
        """Raise UsageError if noise is to hide buffers, which clipping does not bound."""
        if self.noise and (buffers := sorted(set(state.arrays) - state.parameters)):
            raise UsageError(
                f"noise={self.noise}: {buffers[0]} is a buffer, which clipping does not bound; "
                "take a head without batch norm"
            )

    def clipped(self, updates: Sequence[ClientUpdate], state: ServerState) -> list[ClientUpdate]:
        """Return the updates with steps of at most `clip`."""
        if self.clip is None:
            return list(updates)
        names = sorted(state.parameters)
        return [
            replace(
                update,
                arrays={
                    **update.arrays,
                    **clip_step(update.arrays, state.arrays, names=names, norm=self.clip),
                },
            )
            for update in updates
        ]

    def joined(
        self, updates: Sequence[ClientUpdate], state: ServerState, *, weighting: str
    ) -> dict[str, Tensor]:
        """Return the aggregate of clipped updates, in float64; counters stay integers.

        Args:
            updates: In the order of client numbers; one or more, if there is no noise.
            state: The server's before the round.
            weighting: Used unless the stages have their own.
        """
        if self.noise and self.clip is not None:
            return _noisy(updates, state, deviation=self.noise * self.clip)
        samples = [update.num_samples for update in updates]
        equal = (self.weighting or weighting) == "equal"
        robust = aggregates.robust_aggregate(self.aggregate, trim=self.trim)
        result = {}
        for name in state.arrays:
            tensors = [update.arrays[name] for update in updates]
            if self.aggregate != "mean":
                result[name] = robust(tensors)
            else:
                weights = None if equal and name in state.parameters else samples
                result[name] = aggregates.mean(tensors, weights)
        return result


def clip_step(
    arrays: Arrays, start: Arrays, *, names: Sequence[str], norm: float
) -> dict[str, Tensor]:
    """Return the named arrays, moved back to `start` until within `norm` of it, in float64.

    Args:
        arrays: After a client's round.
        start: Before it.
        names: Parameters; the length runs over all of them together.
        norm: Above 0.
    """
    step = {name: arrays[name].double() - start[name].double() for name in names}
    length = math.sqrt(sum(float(change.square().sum()) for change in step.values()))
    if length <= norm:
        return {name: arrays[name] for name in names}
    return {
        name: (start[name].double() + change * (norm / length)).to(start[name].dtype)
        for name, change in step.items()
    }


def _noisy(
    updates: Sequence[ClientUpdate], state: ServerState, *, deviation: float
) -> dict[str, Tensor]:
    """Return w_t + (sum of steps + normal noise) / expected number of clients."""
    result = {}
    for name in sorted(state.arrays):
        start = state.arrays[name].double()
        total = deviation * system_normal(start.shape)
        for update in updates:
            total += update.arrays[name].double() - start
        result[name] = start + total / state.per_round
    return result
