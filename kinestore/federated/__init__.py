"""Learning together: many clients, one model, and no row that leaves its client.

A strategy is a public module of this package with a function `build`: adding one is adding its
file.
"""

from typing import Any

from kinestore.federated.strategy import (
    Arrays,
    ClientState,
    ClientUpdate,
    LocalRule,
    ServerState,
    Strategy,
)
from kinestore.heads import Registry

__all__ = [
    "Arrays",
    "ClientState",
    "ClientUpdate",
    "LocalRule",
    "ServerState",
    "Strategy",
    "create",
    "names",
    "settings_of",
]

_registry = Registry(package="kinestore.federated.strategies", kind="strategy")


def names() -> list[str]:
    """Every strategy there is, sorted."""
    return _registry.names()


def create(name: str, **settings: Any) -> Strategy:
    """Build a strategy.

    Args:
        name: One of `names()`.
        settings: What the strategy's own `build` takes.

    Raises:
        UsageError: If the strategy is unknown, or a setting is unknown, missing or out of range.
    """
    strategy: Strategy = _registry.create(name, settings)
    return strategy


def settings_of(name: str) -> dict[str, Any]:
    """The types of the settings that a strategy's `build` takes, by name."""
    return _registry.settings_of(name)
