"""Federated averaging of a part of the model, while each client keeps the rest as its own.

Source: Personalized federated learning with spatio-temporal differential features, Sec. 3.3: the
representation is private and the head public, as LG-FedAvg has it (Liang et al., "Think Locally,
Act Globally", 2020). Naming the head private instead gives FedPer (Arivazhagan et al., "Federated
Learning with Personalization Layers", 2019).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from kinestore.federated.strategies.fedavg import FedAvg
from kinestore.federated.strategy import ServerState
from kinestore.store import UsageError


@dataclass(frozen=True, kw_only=True)
class Personal(FedAvg):
    """An average of the shared parts; see `build` for the attributes."""

    private: tuple[str, ...]
    public: tuple[str, ...]

    def init(self, start: ServerState) -> ServerState:
        """Keep the public part alone: nothing else is ever sent.

        Raises:
            UsageError: If a name is not in the model, or one of the two parts is empty.
        """
        named, side = (self.private, "private") if self.private else (self.public, "public")
        parts = ", ".join(_parts(start.arrays))
        for prefix in named:
            if not any(_starts(name, prefix) for name in start.arrays):
                raise UsageError(f"{side}={prefix!r}: the head has {parts}")
        chosen = {name for name in start.arrays if any(_starts(name, prefix) for prefix in named)}
        shared = set(start.arrays) - chosen if self.private else chosen
        parameters = start.parameters & shared
        if not parameters or parameters == start.parameters:
            raise UsageError(
                f"{side}={'-'.join(named)!r}: makes the whole head "
                f"{'public' if parameters else 'private'}; name some of {parts}"
            )
        arrays = {name: array for name, array in start.arrays.items() if name in shared}
        return replace(start, arrays=arrays, parameters=parameters)


def _starts(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def _parts(names: Collection[str]) -> list[str]:
    """The modules that hold tensors, in order; of a deep model the outermost alone."""
    parts = list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))
    return parts if len(parts) <= 12 else list(dict.fromkeys(name.split(".")[0] for name in names))


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
