"""Federated learning with dynamic regularisation: clients that remember how they differ.

Source: Acar et al., "Federated Learning Based on Dynamic Regularization", 2021, Algorithm 1:
a client adds alpha/2 ||w - w_t||^2 - <h_i, w> to its loss and h_i <- h_i - alpha (w_i - w_t); the
server h <- h - alpha/N sum_{i in S} (w_i - w_t) and w_{t+1} = mean_S(w_i) - h/alpha. Our reading:
this concerns parameters; buffers are averaged by numbers of samples, as federated averaging does.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from kinestore.federated import aggregate
from kinestore.federated.strategy import Arrays, ClientUpdate, LocalRule, ServerState
from kinestore.store import UsageError

VARIANTS = ("paper", "released")


@dataclass(frozen=True, kw_only=True)
class FedDyn:
    """See `build` for the attributes.

    The state's memory holds "drift", the sum over rounds of (w_i - w_t) / N in float64, which is
    -h/alpha: kept so, it serves both variants. The released one also has "active", the mean of the
    round's clients, and under "last/I" the last model of each client I that took part.
    """

    alpha: float
    variant: str

    @property
    def draws_each(self) -> bool:
        """A fixed number of clients takes part."""
        return False

    def init(self, start: ServerState) -> ServerState:
        """All of the model is shared, and no client differs yet."""
        drift = {
            name: torch.zeros_like(start.arrays[name], dtype=torch.float64)
            for name in sorted(start.parameters)
        }
        memory = {"drift": drift}
        if self.variant == "released":
            memory |= {"active": dict(start.arrays), "start": dict(start.arrays)}
        return replace(start, memory=memory)

    def rule(self, share: float) -> LocalRule:
        """The released code takes alpha over the client's share of an average client's samples."""
        scale = share if self.variant == "released" else 1.0
        return LocalRule(pull=self.alpha / scale, corrects=True)

    def apply(
        self, state: ServerState, updates: Sequence[ClientUpdate], *, seed: int
    ) -> ServerState:
        """The unweighted mean of the clients, moved by all that clients ever drifted."""
        if not updates:
            return state
        ordered = sorted(updates, key=lambda update: update.client)
        samples = [update.num_samples for update in ordered]
        arrays, active, drift = {}, {}, {}
        for name, start in state.arrays.items():
            tensors = [update.arrays[name] for update in ordered]
            if name not in state.parameters:
                arrays[name] = active[name] = aggregate.mean(tensors, samples)
                continue
            middle = torch.stack([tensor.double() for tensor in tensors]).mean(0)
            share = len(tensors) / state.num_clients
            drift[name] = state.memory["drift"][name] + share * (middle - start.double())
            active[name] = middle.to(start.dtype)
            arrays[name] = (middle + drift[name]).to(start.dtype)
        memory = {**state.memory, "drift": drift}
        if self.variant == "released":
            memory["active"] = active
            memory |= {f"last/{update.client}": update.arrays for update in ordered}
        return replace(state, arrays=arrays, memory=memory)

    def others(self, state: ServerState) -> Mapping[str, Arrays]:
        """Of the released code: the mean of the round's clients, and the mean of all clients.

        A client that never took part counts with the first model, as there.
        """
        if self.variant == "paper":
            return {}
        last = [arrays for name, arrays in state.memory.items() if name.startswith("last/")]
        models = [*last, state.memory["start"]]
        counts = [1] * len(last) + [state.num_clients - len(last)]
        if not counts[-1]:
            models, counts = last, counts[:-1]
        everyone = {
            name: aggregate.mean([model[name] for model in models], counts) for name in state.arrays
        }
        return {"active": state.memory["active"], "all": everyone}


def build(*, alpha: float = 0.01, variant: str = "paper") -> FedDyn:
    """FedDyn.

    Args:
        alpha: Above 0. The paper tries .001, .01 and .1.
        variant: "paper" for Algorithm 1; "released" for the authors' code, which scales a client's
            alpha by the average number of samples over the client's, and reports three models: the
            server's, the mean of the round's clients and the mean of all clients' last models.
            That keeps every client's last model in the server.
    """
    if not 0 < alpha < math.inf:
        raise UsageError(f"alpha={alpha}: must be above 0")
    if variant not in VARIANTS:
        raise UsageError(f"variant={variant!r}: must be one of {', '.join(VARIANTS)}")
    return FedDyn(alpha=alpha, variant=variant)
