"""Strategies, and the algorithm that one makes together with stages: pure functions of states."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from kinestore.federated.stages import Stages
from kinestore.federated.state import Arrays, ClientUpdate, ProximalTerm, ServerState


class Strategy(Protocol):
    """A method of learning over clients; no function here has an effect."""

    @property
    def weighting(self) -> str:
        """Weights of the clients in the method's mean: "samples" or "equal"."""

    def check(self, stages: Stages) -> None:
        """Raise UsageError if the method is not sound with one of the stages."""

    def init(self, start: ServerState) -> ServerState:
        """Return the state before the first round, from one whose arrays are a whole state dict."""

    def proximal_term(self, share: float) -> ProximalTerm:
        """Return the term of a client with `share` times the average number of samples."""

    def apply(
        self, state: ServerState, joined: Arrays, updates: Sequence[ClientUpdate]
    ) -> ServerState:
        """Return the state after a round.

        Args:
            state: Before it.
            joined: The updates' aggregate, float64.
            updates: Clipped, in the order of client numbers.
        """

    def extra_models(self, state: ServerState) -> Mapping[str, Arrays]:
        """Return models besides `state.arrays` that the method reports, by name."""


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """A strategy with the stages that lead to it.

    Attributes:
        strategy: The method.
        stages: Clipping, weighting, aggregate and noise.
    """

    strategy: Strategy
    stages: Stages = field(default_factory=Stages)

    def __post_init__(self) -> None:
        self.strategy.check(self.stages)

    def init(self, start: ServerState) -> ServerState:
        """Return the state before the first round, from one whose arrays are a whole state dict."""
        state = self.strategy.init(start)
        self.stages.check(state)
        return state

    def apply(self, state: ServerState, updates: Sequence[ClientUpdate]) -> ServerState:
        """Return the state after a round, in whatever order the updates came."""
        if not updates and not self.stages.noise:
            return state
        ordered = sorted(updates, key=lambda update: update.client)
        clipped = self.stages.clipped(ordered, state)
        joined = self.stages.joined(clipped, state, weighting=self.strategy.weighting)
        return self.strategy.apply(state, joined, clipped)
