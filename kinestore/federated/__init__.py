"""Federated learning: many clients train one model, and no row leaves its client.

A strategy is a public module of `kinestore.federated.strategies` with a function `build`: adding
one is adding its file. Stages (clipping, weighting, aggregate, noise) go with every strategy.
"""

from typing import Any, get_type_hints

from kinestore.federated.stages import Stages
from kinestore.federated.state import (
    Arrays,
    ClientState,
    ClientUpdate,
    ProximalTerm,
    ServerState,
)
from kinestore.federated.strategy import Algorithm, Strategy
from kinestore.heads.support.registry import Registry
from kinestore.store import UsageError

__all__ = [
    "Algorithm",
    "Arrays",
    "ClientState",
    "ClientUpdate",
    "ProximalTerm",
    "ServerState",
    "Stages",
    "Strategy",
    "create",
    "names",
    "settings_of",
]

_registry = Registry(package="kinestore.federated.strategies", kind="strategy")


def names() -> list[str]:
    """Return the names of all strategies, sorted."""
    return _registry.names()


def create(name: str, **settings: Any) -> Algorithm:
    """Build a strategy with its stages.

    Args:
        name: One of `names()`.
        settings: Arguments of the strategy's own `build` and fields of `Stages`, such as clip=1.0.

    Raises:
        UsageError: If the strategy is unknown, or a setting is unknown, missing, out of range or
            does not go with the strategy.
    """
    known, of_stages = settings_of(name), get_type_hints(Stages)
    for key, value in settings.items():
        if key not in known:
            raise UsageError(f"{key}={value!r}: strategy {name!r} takes {', '.join(known)}")
    own = {key: value for key, value in settings.items() if key not in of_stages}
    rest = {key: value for key, value in settings.items() if key in of_stages}
    return Algorithm(strategy=_registry.create(name, own), stages=Stages(**rest))


def settings_of(name: str) -> dict[str, Any]:
    """Return the types of a strategy's settings by name: its own, then those of the stages."""
    return {**_registry.settings_of(name), **get_type_hints(Stages)}
