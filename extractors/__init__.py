"""Frozen networks and descriptors that turn a clip into an embedding.

The file name is the registry: a public module of this package lists the names that it makes in
`NAMES` and makes them in `create(name, *, weights, device)`.
"""

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

from extractors._base import ClipFrames, Extractor
from store import UsageError

__all__ = ["ClipFrames", "Extractor", "create", "names"]


def _modules() -> dict[str, ModuleType]:
    """The module behind each name."""
    stems = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    modules = [importlib.import_module(f"extractors.{stem}") for stem in stems]
    return {name: module for module in modules for name in module.NAMES}


def names() -> list[str]:
    """The names that `create` knows."""
    return sorted(_modules())


def create(name: str, *, weights: str | Path | None = None, device: str = "auto") -> Extractor:
    """Make an extractor, its weights loaded and frozen.

    Args:
        name: One of `names()`.
        weights: A file of weights in the place of the default ones.
        device: "cpu", "cuda", or "auto" for CUDA where there is a GPU.

    Raises:
        UsageError: If the name, the weights or the device do not fit.
    """
    modules = _modules()
    if name not in modules:
        raise UsageError(f"extractor {name!r}: must be one of {', '.join(sorted(modules))}")
    extractor: Extractor = modules[name].create(name, weights=weights, device=device)
    return extractor
