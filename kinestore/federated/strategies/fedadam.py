"""Federated averaging whose server takes the clients' mean step as a gradient, with Adam.

Source: Reddi et al., "Adaptive Federated Optimization", 2021, Algorithm 2: with D the mean of
w_i - w_t, m <- beta1 m + (1 - beta1) D, v <- beta2 v + (1 - beta2) D^2 and
w_{t+1} = w_t + lr m / (sqrt(v) + tau), without a correction of the first rounds; m is 0 and v is
tau^2 at first. Our reading: clients are weighted by their numbers of samples, as in federated
averaging, and buffers are averaged, as there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kinestore.federated.stages import Stages
from kinestore.federated.state import Arrays, ClientUpdate, ProximalTerm, ServerState
from kinestore.store import UsageError


@dataclass(frozen=True, kw_only=True)
class AdaptiveServer:
    """The server's optimizer moves the model along the clients' mean step.

    The state's memory holds "m" and "v" of the parameters, in float64.

    Attributes:
        yogi: Whether v <- v - (1 - beta2) D^2 sign(v - D^2), as Yogi has it.
        learning_rate: See `build`.
        beta1: See `build`.
        beta2: See `build`.
        tau: See `build`.
    """

    yogi: bool
    learning_rate: float
    beta1: float
    beta2: float
    tau: float

    def __post_init__(self) -> None:
        for name in ("learning_rate", "tau"):
            if not 0 < getattr(self, name) < math.inf:
                raise UsageError(f"{name}={getattr(self, name)}: must be above 0")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name}={getattr(self, name)}: must be from 0 to below 1")

    @property
    def weighting(self) -> str:
        """Weights of the clients: their numbers of samples."""
        return "samples"

    def check(self, stages: Stages) -> None:
        """Accept every stage."""

    def init(self, start: ServerState) -> ServerState:
        """Return the state with all of the model, and the first moments."""
        zeros = {
            name: torch.zeros_like(start.arrays[name], dtype=torch.float64)
            for name in sorted(start.parameters)
        }
        squares = {name: array + self.tau**2 for name, array in zeros.items()}
        return replace(start, memory={"m": zeros, "v": squares})

    def proximal_term(self, share: float) -> ProximalTerm:
        """Return none."""
        return ProximalTerm()

    def apply(
        self, state: ServerState, joined: Arrays, updates: Sequence[ClientUpdate]
    ) -> ServerState:
        """Return the state after a step of the server's optimizer."""
        means, squares, moved = dict[str, Tensor](), dict[str, Tensor](), dict[str, Tensor]()
        for name in sorted(state.parameters):
            before = state.arrays[name].double()
            step = joined[name] - before
            means[name] = self.beta1 * state.memory["m"][name] + (1 - self.beta1) * step
            squares[name] = self._second(state.memory["v"][name], step.square())
            scale = squares[name].sqrt() + self.tau
            moved[name] = before + self.learning_rate * means[name] / scale
        memory = {"m": means, "v": squares}
        return replace(state.with_model({**joined, **moved}), memory=memory)

    def extra_models(self, state: ServerState) -> Mapping[str, Arrays]:
        """Return none."""
        return {}

    def _second(self, v: Tensor, square: Tensor) -> Tensor:
        if self.yogi:
            return v - (1 - self.beta2) * square * torch.sign(v - square)
        return self.beta2 * v + (1 - self.beta2) * square


def build(
    *, learning_rate: float = 0.01, beta1: float = 0.9, beta2: float = 0.99, tau: float = 1e-3
) -> AdaptiveServer:
    """Build FedAdam.

    Args:
        learning_rate: Of the server, above 0: the paper tries powers of ten, from 0.001 to 10.
        beta1: Decay of the mean step, from 0 to below 1.
        beta2: Decay of the squared steps, from 0 to below 1.
        tau: Degree of adaptivity, above 0: small values adapt more.
    """
    return AdaptiveServer(
        yogi=False, learning_rate=learning_rate, beta1=beta1, beta2=beta2, tau=tau
    )
