"""What every strategy is: a pure `init` and `apply` over a frozen state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from torch import Tensor

from store import UsageError


@dataclass(frozen=True, kw_only=True)
class ClientUpdate:
    """What one client sends after its round.

    Attributes:
        client: Its number, from 0.
        num_samples: Rows that it trained on, 1 or more.
        arrays: Its state dict: parameters and buffers by name.
    """

    client: int
    num_samples: int
    arrays: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        if self.num_samples < 1:
            raise UsageError(f"num_samples={self.num_samples}: must be 1 or more")


class State(Protocol):
    """What a server keeps between rounds; frozen, so a round yields a new one."""

    @property
    def arrays(self) -> Mapping[str, Tensor]:
        """The state dict that clients start their next round from."""


S = TypeVar("S", bound=State)


class Strategy(Protocol[S]):
    """How a server turns its clients' updates into the next model; neither function has effects."""

    def init(self, arrays: Mapping[str, Tensor]) -> S:
        """The state before the first round, of a model with this state dict."""

    def apply(self, state: S, updates: Sequence[ClientUpdate]) -> S:
        """The state after a round; with no update, the state as it was."""
