"""The option `--recipe`: a paper's settings for options that were not given."""

from collections.abc import Callable, Mapping
from functools import wraps

import click
from click.core import ParameterSource

from kinestore.pipeline.notes import tell


def takes_recipe(job: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a command fill its options from a recipe, and say so; options that are given win.

    Args:
        job: "train" or "federate".
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def with_recipe(**given: object) -> None:
            name = given["recipe"]
            command(**(given if name is None else _filled(str(name), job, given)))

        return with_recipe

    return decorate


def _filled(name: str, job: str, given: dict[str, object]) -> dict[str, object]:
    """Return the options with those of the recipe, and "recipe" with what was given beside it."""
    from kinestore.pipeline.recipes.papers import find_recipe

    context, recipe = click.get_current_context(), find_recipe(name)
    printed = _as_options({"head": recipe.head, **recipe.training_of(job)}, job)
    if job == "federate":
        printed |= _as_options(recipe.federation, job)
    own = {o for o in printed if context.get_parameter_source(o) == ParameterSource.COMMANDLINE}
    taken = {option: value for option, value in printed.items() if option not in own}
    beside = ", ".join(f"{option}={given[option]}" for option in sorted(own))
    listed = ", ".join(f"{option}={value}" for option, value in taken.items())
    notes = [f"recipe {name} ({recipe.source}) sets {listed}"]
    if recipe.chosen:
        notes.append(f"recipe {name}: {recipe.chosen}")
    if own:
        was = ", ".join(f"{option}={printed[option]}" for option in sorted(own))
        notes.append(f"recipe {name}: given instead of {was}: {beside}")
    tell(notes)
    return {**given, **taken, "recipe": f"{name}, but {beside}" if own else name}


def _as_options(settings: Mapping[str, object], job: str) -> dict[str, object]:
    """Return settings under the names and in the form of options."""
    options = dict(settings)
    if "clip_gradients" in options:
        norm = options["clip_gradients"]
        options["clip_gradients"] = "none" if norm is None else str(norm)
    if "num_clients" in options:
        options["clients"] = options.pop("num_clients")
    if job == "federate" and "epochs" in options:
        options["local_epochs"] = options.pop("epochs")
    return options
