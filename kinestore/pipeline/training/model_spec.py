"""Heads and strategies by name: `NAME` or `NAME:SETTING=VALUE,SETTING=VALUE`.

A list's values are joined by "-", as in `mlp:hidden=512-256`.
"""

import types
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union, get_args, get_origin

from torch import nn

from kinestore import federated, heads
from kinestore.federated import Algorithm
from kinestore.store import Features, UsageError

FROM_THE_CLIPS = ("in_features", "num_classes", "widths", "num_frames")
"""Settings of heads that the features decide."""


@dataclass(frozen=True, kw_only=True)
class HeadChoice:
    """A head and its settings.

    Attributes:
        name: One of `heads.names()`.
        settings: The settings that were given.
    """

    name: str
    settings: Mapping[str, Any]

    def create(self, rows: Features, *, seed: int) -> nn.Module:
        """Build it for these rows, with weights drawn from the seed alone.

        Raises:
            UsageError: If the head takes frames, or a setting is out of range.
        """
        if heads.takes_frames(self.name):
            others = ", ".join(name for name in heads.names() if not heads.takes_frames(name))
            raise UsageError(
                f"head={self.name!r}: takes frames, and these are features; take one of {others}"
            )
        of_the_clips: dict[str, Any] = {
            "in_features": rows.features.shape[-1],
            "num_classes": len(rows.classes),
            "widths": tuple(rows.widths),
            "num_frames": rows.features.shape[1],
        }
        declared = heads.settings_of(self.name)
        known = {key: value for key, value in of_the_clips.items() if key in declared}
        return heads.create(self.name, seed=seed, **known, **self.settings)


def read_head(text: str) -> HeadChoice:
    """Read a head, such as "mlp" or "temporal_rnn:cell=lstm,units=64"."""
    name, settings = read_choice(text, heads.settings_of, hidden=FROM_THE_CLIPS)
    return HeadChoice(name=name, settings=settings)


def read_strategy(text: str) -> Algorithm:
    """Read a strategy, such as "fedavg" or "fedprox:mu=0.1"."""
    name, settings = read_choice(text, federated.settings_of)
    return federated.create(name, **settings)


def read_choice(
    text: str,
    settings_of: Callable[[str], Mapping[str, Any]],
    *,
    hidden: Collection[str] = (),
) -> tuple[str, dict[str, Any]]:
    """Read a name, and each setting as the type that the builder declares.

    Args:
        text: Such as "mlp:hidden=512-256".
        settings_of: The types of a name's settings, as `heads.settings_of` returns them.
        hidden: Settings that the text may not give.

    Raises:
        UsageError: If the name or a setting is unknown, or a value is not of its type.
    """
    name, _, rest = text.partition(":")
    types_by_name = {key: kind for key, kind in settings_of(name).items() if key not in hidden}
    settings = {}
    for pair in rest.split(",") if rest else []:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"{text!r}: {pair!r} must be SETTING=VALUE")
        if key not in types_by_name:
            known = ", ".join(types_by_name) or "no settings"
            raise UsageError(f"{text!r}: {key!r} is no setting; {name} takes {known}")
        try:
            settings[key] = _read(value, types_by_name[key])
        except ValueError:
            raise UsageError(f"{text!r}: {key} cannot be {value!r}") from None
    return name, settings


def _read(text: str, kind: Any) -> Any:
    """A value of this type, written as text."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        if text == "none":
            return None
        (kind,) = (some for some in get_args(kind) if some is not type(None))
        return _read(text, kind)
    if origin is not None and issubclass(origin, Sequence):
        return tuple(_read(part, get_args(kind)[0]) for part in text.split("-") if part)
    if kind is bool:
        return ("false", "true").index(text.lower()) == 1
    return kind(text) if kind in (int, float) else text
