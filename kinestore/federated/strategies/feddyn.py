"""Federated learning with dynamic regularization: clients that remember how they differ.

Source: Acar et al., "Federated Learning Based on Dynamic Regularization", 2021, Algorithm 1:
a client adds alpha/2 ||w - w_t||^2 - <h_i, w> to its loss and h_i <- h_i - alpha (w_i - w_t); the
server h <- h - alpha/N sum_{i in S} (w_i - w_t) and w_{t+1} = mean_S(w_i) - h/alpha. Our reading:
this concerns parameters; buffers are averaged by numbers of samples, as federated averaging does.

The server's h must stay the mean of the clients' h_i, or the model comes to rest where the sum of
the clients' gradients is not zero. A clipped step keeps that, since client and server both count
the step as it was clipped. Robust aggregates and weights do not, and noise would add up in h over
the rounds: they are refused.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from kinestore.federated import aggregate
from kinestore.federated.stages import Stages
from kinestore.federated.state import Arrays, ClientUpdate, ProximalTerm, ServerState
from kinestore.store import UsageError

VARIANTS = ("paper", "released")


@dataclass(frozen=True, kw_only=True)
class FedDyn:
    """The mean of the clients, moved by how far all clients ever drifted.

    The state's memory holds "drift", the sum over rounds of (w_i - w_t) / N in float64, which is
    -h/alpha: kept so, it serves both variants. The released one also has "active", the mean of the
    round's clients, and under "last/I" the last model of each client I that took part.

    Attributes:
        alpha: See `build`.
        variant: See `build`.
    """

    alpha: float
    variant: str

    @property
    def weighting(self) -> str:
        """Weights of the clients: all alike."""
        return "equal"

    def check(self, stages: Stages) -> None:
        """Refuse stages after which server and clients would remember different steps."""
        kept = "whose server must remember the plain mean of what its clients remember"
        if stages.noise:
            raise UsageError(
                f"noise={stages.noise}: cannot go with feddyn, {kept}; the noise of all rounds "
                "would add up there. Take fedavg, fedprox or personal"
            )
        if stages.aggregate != "mean":
            raise UsageError(
                f"aggregate={stages.aggregate!r}: cannot go with feddyn, {kept}; take fedavg, "
                "fedprox or personal"
            )
        if stages.weighting == "samples":
            raise UsageError(f"weighting='samples': cannot go with feddyn, {kept}")

    def init(self, start: ServerState) -> ServerState:
        """Return the state with all of the model, and no drift yet."""
        drift = {
            name: torch.zeros_like(start.arrays[name], dtype=torch.float64)
            for name in sorted(start.parameters)
        }
        memory = {"drift": drift}
        if self.variant == "released":
            memory |= {"active": dict(start.arrays), "start": dict(start.arrays)}
        return replace(start, memory=memory)

    def proximal_term(self, share: float) -> ProximalTerm:
        """Return alpha; the released code takes it over the client's share of samples."""
        scale = share if self.variant == "released" else 1.0
        return ProximalTerm(coefficient=self.alpha / scale, dynamic=True)

    def apply(
        self, state: ServerState, joined: Arrays, updates: Sequence[ClientUpdate]
    ) -> ServerState:
        """Return the mean of the clients, moved by all that clients ever drifted."""
        share = len(updates) / state.num_clients
        drift = {
            name: state.memory["drift"][name] + share * (joined[name] - array.double())
            for name, array in state.arrays.items()
            if name in state.parameters
        }
        memory = {**state.memory, "drift": drift}
        if self.variant == "released":
            memory["active"] = state.with_model(joined).arrays
            memory |= {f"last/{update.client}": update.arrays for update in updates}
        moved = {name: joined[name] + drift[name] for name in drift}
        return replace(state.with_model({**joined, **moved}), memory=memory)

    def extra_models(self, state: ServerState) -> Mapping[str, Arrays]:
        """Return the released code's mean of the round's clients, and its mean of all clients.

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
        return {"active": state.memory["active"], "all": state.with_model(everyone).arrays}


def build(*, alpha: float = 0.01, variant: str = "paper") -> FedDyn:
    """Build FedDyn.

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
