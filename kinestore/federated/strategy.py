"""What every strategy is: pure functions over a frozen state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from kinestore.store import UsageError

Arrays = Mapping[str, Tensor]
"""Tensors by their name in the model's state dict."""


@dataclass(frozen=True, kw_only=True)
class ClientUpdate:
    """What one client sends after its round.

    Attributes:
        client: Its number, from 0.
        num_samples: Rows that it trained on, 1 or more.
        arrays: The tensors that it was sent, as it left them: parameters and buffers by name.
    """

    client: int
    num_samples: int
    arrays: Arrays

    def __post_init__(self) -> None:
        if self.num_samples < 1:
            raise UsageError(f"num_samples={self.num_samples}: must be 1 or more")


@dataclass(frozen=True, kw_only=True)
class ClientState:
    """What one client keeps to itself between its rounds.

    Attributes:
        private: Tensors of the model that never leave it; empty before its first round, and always
            where the whole model is shared.
        correction: FedDyn's h_i by parameter; empty before its first round and elsewhere.
    """

    private: Arrays = field(default_factory=dict)
    correction: Arrays = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ServerState:
    """What the server keeps between rounds.

    Attributes:
        arrays: What clients start their next round from: the shared part of the state dict.
        parameters: Names among them that are trained; the others are buffers.
        num_clients: All of them, of whom some take part in a round.
        per_round: How many take part, or do on average where each is drawn by itself.
        memory: What the strategy remembers besides, by purpose.
    """

    arrays: Arrays
    parameters: frozenset[str]
    num_clients: int
    per_round: int
    memory: Mapping[str, Arrays] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LocalRule:
    """What a client's loss has besides cross-entropy: pull/2 ||w - w_t||^2 - <h, w>.

    w are the shared parameters and w_t those that the server sent.

    Attributes:
        pull: 0 or more.
        corrects: Whether there is an h, the client's own: 0 at first, and h - pull (w - w_t) after
            a round that ended at w.
    """

    pull: float = 0.0
    corrects: bool = False


CROSS_ENTROPY = LocalRule()
"""Nothing added."""


class Strategy(Protocol):
    """How clients learn together; no function here has an effect."""

    @property
    def draws_each(self) -> bool:
        """Whether each client is drawn by itself for a round, so that their number varies."""

    def init(self, start: ServerState) -> ServerState:
        """The state before the first round, of one whose arrays are a whole state dict."""

    def rule(self, share: float) -> LocalRule:
        """What a client adds to its loss that has `share` times the average number of samples."""

    def apply(
        self, state: ServerState, updates: Sequence[ClientUpdate], *, seed: int
    ) -> ServerState:
        """The state after a round, in whatever order the updates came."""

    def others(self, state: ServerState) -> Mapping[str, Arrays]:
        """Models besides `state.arrays` that the method reports, by name."""
