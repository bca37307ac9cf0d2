"""The file name is the registry: a package's public modules that define `build`."""

import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, get_type_hints

from kinestore.store import UsageError


@dataclass(frozen=True, kw_only=True)
class Registry:
    """Modules of one package whose `build` is called by name.

    Attributes:
        package: Import name of the package, such as "kinestore.heads".
        kind: What its entries are called in messages, such as "head".
    """

    package: str
    kind: str

    def names(self) -> list[str]:
        """Every public module with a `build`, sorted."""
        path = import_module(self.package).__path__
        modules = [m for m in pkgutil.iter_modules(path) if not m.ispkg]
        public = [m.name for m in modules if not m.name.startswith("_")]
        return sorted(name for name in public if self._find(name) is not None)

    def create(self, name: str, settings: Mapping[str, Any]) -> Any:
        """Call the named `build` with exactly the settings that it declares."""
        build = self._find(name) if name in self.names() else None
        if build is None:
            raise self._unknown(name)
        self._check_settings(name, inspect.signature(build), settings)
        return build(**settings)

    def settings_of(self, name: str) -> dict[str, Any]:
        """The types of the settings that the named `build` takes, by name."""
        build = self._find(name) if name in self.names() else None
        if build is None:
            raise self._unknown(name)
        hints = get_type_hints(build)
        return {key: kind for key, kind in hints.items() if key != "return"}

    def _unknown(self, name: str) -> UsageError:
        return UsageError(f"{self.kind}={name!r}: must be one of {', '.join(self.names())}")

    def _find(self, name: str) -> Callable[..., Any] | None:
        build: Callable[..., Any] | None = getattr(
            import_module(f"{self.package}.{name}"), "build", None
        )
        return build

    def _check_settings(
        self, name: str, signature: inspect.Signature, settings: Mapping[str, Any]
    ) -> None:
        declared = signature.parameters
        takes = f"{self.kind} {name!r} takes {', '.join(declared) or 'no settings'}"
        for key, value in settings.items():
            if key not in declared:
                raise UsageError(f"{key}={value!r}: {takes}")
        for key, parameter in declared.items():
            if parameter.default is parameter.empty and key not in settings:
                raise UsageError(f"{key} is missing: {takes}")
