"""Options that several commands share, declared once as the fields of a dataclass."""

import inspect
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import Any, get_type_hints


def takes_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter of a command that is a `Group` by options, one for each field.

    The command still gets one instance. Groups are the last parameters of a command.
    """
    parameters = inspect.signature(command, eval_str=True).parameters
    groups = {name: each.annotation for name, each in parameters.items() if _is_group(each)}
    options: list[inspect.Parameter] = []
    for name, parameter in parameters.items():
        options += _options_of(groups[name]) if name in groups else [parameter]

    @wraps(command)
    def with_groups(**given: Any) -> None:
        for name, kind in groups.items():
            given[name] = kind(**{own.name: given.pop(own.name) for own in fields(kind)})
        command(**given)

    as_keywords = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in options]
    with_groups.__signature__ = inspect.Signature(as_keywords)  # type: ignore[attr-defined]
    with_groups.__annotations__ = {each.name: each.annotation for each in options}
    del with_groups.__dict__["__wrapped__"]
    return with_groups


class Group:
    """Options of a command; a subclass is a dataclass whose fields are annotated as options."""


def _is_group(parameter: inspect.Parameter) -> bool:
    return isinstance(parameter.annotation, type) and issubclass(parameter.annotation, Group)


def _options_of(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            own.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=own.default,
            annotation=hints[own.name],
        )
        for own in fields(group)
    ]
