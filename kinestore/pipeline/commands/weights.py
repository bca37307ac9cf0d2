"""The commands `kinestore weights`."""

from dataclasses import asdict
from typing import Annotated

import typer

from kinestore.pipeline.commands.console import progress, say, say_json
from kinestore.pipeline.commands.options import JsonOption
from kinestore.pipeline.commands.tables import weights_table

weights_app = typer.Typer(
    no_args_is_help=True, help="List, download and check the weights of extractors."
)
NamesArgument = Annotated[
    list[str], typer.Argument(metavar="NAME...", help="Extractors, such as slow videomae.")
]


@weights_app.command("list")
def weights_list_command(as_json: JsonOption = False) -> None:
    """List each extractor's weights: their source, and whether they are on this machine."""
    from kinestore.extractors.weights.inventory import list_weights

    found = list_weights()
    if as_json:
        say_json([asdict(file) for file in found])
    else:
        say(weights_table(found))


@weights_app.command("fetch")
def weights_fetch_command(names: NamesArgument) -> None:
    """Download the missing weights."""
    from kinestore.extractors.weights.inventory import fetch_weights

    for file in fetch_weights(names):
        say(f"{file.extractor}: {file.path}")


@weights_app.command("verify")
def weights_verify_command(as_json: JsonOption = False) -> None:
    """Hash the weights on this machine, and compare with the published hash where there is one."""
    from kinestore.extractors.weights.inventory import verify_weights

    with progress() as show:
        checked = verify_weights(progress=show)
    if as_json:
        say_json([asdict(file) for file in checked])
    else:
        say(weights_table(checked))
    if any(file.state == "damaged" for file in checked):
        raise typer.Exit(1)
