"""The commands that list what there is: `kinestore heads`, `strategies` and `extractors`."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

from kinestore.pipeline.commands.console import say, say_json, text_table
from kinestore.pipeline.commands.describe import cost_table
from kinestore.pipeline.commands.options import JsonOption

if TYPE_CHECKING:
    from kinestore.pipeline.describe.catalog import CatalogEntry


def heads_command(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="Show the settings of one, such as mlp. [default: list all]"
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the heads and networks; of one, its settings, defaults and size."""
    _show("head", name, as_json=as_json)


def strategies_command(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="Show the settings of one, such as fedprox. [default: list all]"
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the strategies of federated learning; of one, its settings and defaults."""
    _show("strategy", name, as_json=as_json)


def extractors_command(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="Show the settings of one, such as r3d. [default: list all]"
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the extractors; of one, its settings, defaults and size."""
    _show("extractor", name, as_json=as_json)


def _show(kind: str, name: str | None, *, as_json: bool) -> None:
    from kinestore.pipeline.describe.catalog import catalog, catalog_entry

    if name is None:
        found = catalog(kind)
        if as_json:
            say_json([one.to_json() for one in found])
        else:
            say(catalog_table(found))
        return
    entry = catalog_entry(kind, name, with_cost=True)
    if as_json:
        say_json(entry.to_json())
        return
    say(entry_table(entry))
    if entry.cost is not None:
        say(cost_table(entry.cost))


def catalog_table(found: "list[CatalogEntry]") -> RenderableType:
    """Return a table with one row for each name, and its settings with their defaults."""
    rows = []
    for one in found:
        settings = ", ".join(f"{s.name}={s.default}" if s.default else s.name for s in one.settings)
        rows.append((one.name, one.takes, one.summary, settings))
    return text_table(("name", "takes", "what it is", "settings"), rows)


def entry_table(entry: "CatalogEntry") -> RenderableType:
    """Return a table with one row for each setting."""
    rows = [(one.name, one.default or "(must be given)", one.meaning) for one in entry.settings]
    return text_table(
        ("setting", "default", "meaning"),
        rows,
        title=f"{entry.name}: {entry.summary}",
        caption=f"write {entry.name}:SETTING=VALUE,SETTING=VALUE",
    )
