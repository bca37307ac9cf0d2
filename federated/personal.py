"""Federated averaging of a part of the model, while each client keeps the rest as its own.

Source: Personalized federated learning with spatio-temporal differential features, Sec. 3.3: the
representation is private and the head public, as LG-FedAvg has it (Liang et al., "Think Locally,
Act Globally", 2020). Naming the head private instead gives FedPer (Arivazhagan et al., "Federated
Learning with Personalization Layers", 2019).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from federated._base import CROSS_ENTROPY, Arrays, ClientUpdate, LocalRule, ServerState
from federated.fedavg import FedAvg
from store import UsageError


@dataclass(frozen=True, kw_only=True)
class Personal:
    """See `build` for the attributes."""

    private: tuple[str, ...]
    public: tuple[str, ...]

    @property
    def draws_each(self) -> bool:
        """A fixed number of clients takes part."""
        return False

    def init(self, start: ServerState) -> ServerState:
        """Keep the public part alone: nothing else is ever sent.

        Raises:
            UsageError: If a name is not in the model, or one of the two parts is empty.
        """
        named = self.private or self.public
        for prefix in named:
            if not any(_starts(name, prefix) for name in start.arrays):
                raise UsageError(
                    f"{'private' if self.private else 'public'}={prefix!r}: the head has "
                    f"{', '.join(_parts(start.arrays))}"
                )
        shared = {name: array for name, array in start.arrays.items() if self._is_public(name)}
        if not start.parameters.intersection(shared) or not start.parameters.difference(shared):
            side = "private" if not start.parameters.intersection(shared) else "public"
            raise UsageError(
                f"{'private' if self.private else 'public'}={'-'.join(named)!r}: makes the whole "
                f"head {side}; name some of {', '.join(_parts(start.arrays))}"
            )
        return replace(start, arrays=shared, parameters=start.parameters.intersection(shared))

    def _is_public(self, name: str) -> bool:
        if self.private:
            return not any(_starts(name, prefix) for prefix in self.private)
        return any(_starts(name, prefix) for prefix in self.public)

    def rule(self, share: float) -> LocalRule:
        """Cross-entropy alone."""
        return CROSS_ENTROPY

    def apply(
        self, state: ServerState, updates: Sequence[ClientUpdate], *, seed: int
    ) -> ServerState:
        """Average the public part, or keep it where there is no update."""
        return FedAvg().apply(state, updates, seed=seed)

    def others(self, state: ServerState) -> Mapping[str, Arrays]:
        """None: each client has a model of its own instead."""
        return {}


def _starts(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def _parts(names: Collection[str]) -> list[str]:
    """The modules that hold tensors, in order."""
    return list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))


def build(*, private: Sequence[str] = (), public: Sequence[str] = ()) -> Personal:
    """A model of which clients share a part.

    Args:
        private: Modules or tensors that stay with the client, such as "0" for an MLP's first
            layer; all others are public.
        public: Or else: those that are shared; all others are private. Give one of the two.
    """
    if bool(private) == bool(public):
        raise UsageError(
            f"private={'-'.join(private)!r}, public={'-'.join(public)!r}: give one of them, by "
            "names of the head's modules"
        )
    return Personal(private=tuple(private), public=tuple(public))
