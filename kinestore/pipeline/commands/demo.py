"""The command `kinestore demo`."""

from pathlib import Path
from typing import Annotated

import typer

from kinestore.pipeline.commands.console import progress, say
from kinestore.pipeline.commands.tables import demo_table
from kinestore.store.io.addresses import local_path


def demo_command(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="[DIR]", parser=local_path, help="Folder for all outputs; made if absent."
        ),
    ] = Path("kinestore-demo"),
) -> None:
    """Run the full pipeline on generated clips, on the CPU and with no download."""
    from kinestore.pipeline.recipes.demo import demo

    with progress() as show:
        steps = demo(folder, progress=show)
    say(demo_table(folder, steps))
    say(f"Open {folder / 'umap.html'} in a browser.")
