"""Frozen states of server and clients, and what they send each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from kinestore.store import UsageError

Arrays = Mapping[str, Tensor]
"""Tensors by their name in the model's state dict."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ClientUpdate:
    """One client's model after its round, as it is sent to the server.

    Attributes:
        client: Number of the client, from 0.
        num_samples: Rows that it trained on, 1 or more.
        arrays: The tensors that it was sent, after training: parameters and buffers by name.
    """

    client: int
    num_samples: int
    arrays: Arrays

    def __post_init__(self) -> None:
        if self.num_samples < 1:
            raise UsageError(f"num_samples={self.num_samples}: must be 1 or more")


@dataclass(frozen=True, kw_only=True, eq=False)
class ClientState:
    """Tensors that one client keeps to itself between its rounds.

    Attributes:
        private: Tensors of the model that never leave it; empty before its first round, and always
            where the whole model is shared.
        correction: h_i of a dynamic proximal term, by parameter; empty before its first round and
            where the term is not dynamic.
    """

    private: Arrays = field(default_factory=dict)
    correction: Arrays = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class ServerState:
    """The server's model and memory between rounds.

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

    def with_model(self, arrays: Arrays) -> "ServerState":
        """Return the state with these arrays in the dtypes of the model."""
        return replace(
            self, arrays={name: arrays[name].to(old.dtype) for name, old in self.arrays.items()}
        )


@dataclass(frozen=True, kw_only=True)
class ProximalTerm:
    """Addition to a client's loss: coefficient/2 ||w - w_t||^2 - <h, w>.

    w are the shared parameters and w_t those that the server sent.

    Attributes:
        coefficient: 0 or more; 0 adds nothing.
        dynamic: Whether there is an h, the client's own: 0 at first, and
            h - coefficient (w - w_t) after a round that ended at w.
    """

    coefficient: float = 0.0
    dynamic: bool = False
