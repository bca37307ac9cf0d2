"""Learning together: many clients, one model, and no row that leaves its client.

A strategy is a public module of this package with a function `build`: adding one is adding its
file.
"""

from typing import Any

from federated._base import ClientUpdate, State, Strategy
from heads import Registry

__all__ = ["ClientUpdate", "State", "Strategy", "create", "names"]

_registry = Registry(package="federated", kind="strategy")


def names() -> list[str]:
    """Every strategy there is, sorted."""
    return _registry.names()


def create(name: str, **settings: Any) -> Strategy[Any]:
    """Build a strategy.

    Args:
        name: One of `names()`.
        settings: What the strategy's own `build` takes.

    Raises:
        UsageError: If the strategy is unknown, or a setting is unknown, missing or out of range.
    """
    strategy: Strategy[Any] = _registry.create(name, settings)
    return strategy
