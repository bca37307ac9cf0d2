"""Federated averaging.

Source: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data",
2017, Algorithm 1: w <- sum_i (n_i / sum n) w_i over the clients of the round. Done differently:
buffers of floats are averaged too and counters take the largest value (the paper's networks have
neither), and sums run in float64 in the order of client numbers, so that no bit depends on who
answered first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kinestore.federated.shared_part import SharedPart
from kinestore.federated.stages import Stages
from kinestore.federated.state import Arrays, ClientUpdate, ProximalTerm, ServerState


@dataclass(frozen=True, kw_only=True)
class FedAvg:
    """The clients' aggregate is the next model.

    Attributes:
        term: Added to every client's loss.
        shared_part: The part of the model that is averaged.
    """

    term: ProximalTerm = field(default_factory=ProximalTerm)
    shared_part: SharedPart = field(default_factory=SharedPart)

    @property
    def weighting(self) -> str:
        """Weights of the clients: their numbers of samples."""
        return "samples"

    def check(self, stages: Stages) -> None:
        """Accept every stage."""

    def init(self, start: ServerState) -> ServerState:
        """Return the state with the shared part of the model."""
        return self.shared_part.select(start)

    def proximal_term(self, share: float) -> ProximalTerm:
        """Return the same term for every client."""
        return self.term

    def apply(
        self, state: ServerState, joined: Arrays, updates: Sequence[ClientUpdate]
    ) -> ServerState:
        """Return the state with the aggregate as its model."""
        return state.with_model(joined)

    def extra_models(self, state: ServerState) -> Mapping[str, Arrays]:
        """Return none."""
        return {}


def build() -> FedAvg:
    """Build federated averaging."""
    return FedAvg()
