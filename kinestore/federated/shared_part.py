"""The part of a model that clients share, where each keeps the rest to itself."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from kinestore.federated.state import ServerState
from kinestore.store import UsageError


@dataclass(frozen=True, kw_only=True)
class SharedPart:
    """Modules or tensors by name; the whole model where none is named.

    Attributes:
        private: Those that stay with the client; all others are shared.
        public: Or else those that are shared.
        private_batch_norm: Or else keep the tensors of batch norm private.
    """

    private: tuple[str, ...] = ()
    public: tuple[str, ...] = ()
    private_batch_norm: bool = False

    def select(self, start: ServerState) -> ServerState:
        """Return the state with the shared part alone: nothing else is ever sent.

        Raises:
            UsageError: If a name is not in the model, or one of the two parts is empty.
        """
        if self.private_batch_norm:
            return SharedPart(private=_batch_norms(start.arrays)).select(start)
        if not self.private and not self.public:
            return start
        named, side = (self.private, "private") if self.private else (self.public, "public")
        parts = ", ".join(_modules(start.arrays))
        for prefix in named:
            if not any(_is_within(name, prefix) for name in start.arrays):
                raise UsageError(f"{side}={prefix!r}: the head has {parts} to train")
        chosen = {name for name in start.arrays if any(_is_within(name, each) for each in named)}
        shared = set(start.arrays) - chosen if self.private else chosen
        parameters = start.parameters & shared
        if not parameters or parameters == start.parameters:
            raise UsageError(
                f"{side}={'-'.join(named)!r}: makes the whole head "
                f"{'public' if parameters else 'private'}; name some of {parts}"
            )
        arrays = {name: array for name, array in start.arrays.items() if name in shared}
        return replace(start, arrays=arrays, parameters=parameters)


def _batch_norms(names: Collection[str]) -> tuple[str, ...]:
    """Return the modules with running statistics."""
    found = tuple(name.rpartition(".")[0] for name in names if name.endswith(".running_mean"))
    if not found:
        raise UsageError(
            "strategy 'fedbn': what clients train has no batch norm; take fedavg, or "
            "personal:private=MODULES"
        )
    return found


def _is_within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def _modules(names: Collection[str]) -> list[str]:
    """Return the modules that hold tensors, in order; of a deep model the outermost alone."""
    parts = list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))
    return parts if len(parts) <= 12 else list(dict.fromkeys(name.split(".")[0] for name in names))
