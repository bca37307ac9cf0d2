"""The weights that extractors load."""

import json
from dataclasses import asdict
from functools import partial
from typing import Annotated

import typer

from kinestore.pipeline.commands.console import progress, say
from kinestore.pipeline.commands.options import JsonOption
from kinestore.pipeline.commands.tables import weights_table

weights_app = typer.Typer(no_args_is_help=True, help="The weights that extractors load.")
NamesArgument = Annotated[list[str], typer.Argument(metavar="NAME...", help="Extractors.")]


@weights_app.command("list")
def weights_list_command(as_json: JsonOption = False) -> None:
    """List each extractor's weights: where they come from, and whether they are here."""
    from kinestore.extractors.weights.inventory import list_weights

    found = list_weights()
    say(json.dumps([asdict(kept) for kept in found]) if as_json else weights_table(found))


@weights_app.command("fetch")
def weights_fetch_command(names: NamesArgument) -> None:
    """Download what is not here yet."""
    from kinestore.extractors.weights.inventory import fetch_weights

    for kept in fetch_weights(names):
        say(f"{kept.extractor}: {kept.path}")


@weights_app.command("verify")
def weights_verify_command(as_json: JsonOption = False) -> None:
    """Hash the weights that are here, and compare where the publisher tells a hash."""
    from kinestore.extractors.weights.inventory import verify_weights

    with progress() as tell:
        checked = verify_weights(on_progress=partial(tell, "hashing weights"))
    say(json.dumps([asdict(kept) for kept in checked]) if as_json else weights_table(checked))
    if any(kept.state == "damaged" for kept in checked):
        raise typer.Exit(1)
