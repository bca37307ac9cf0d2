"""The command `report`."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from kinestore.pipeline.commands.console import progress, say
from kinestore.store.io.paths import local_path


def report_command(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", parser=local_path, help="A finished run folder.")
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE", parser=local_path, help="The .html file to write.")
    ],
    store: Annotated[
        str | None,
        typer.Option(
            metavar="STORE",
            help="Store to read thumbnails and captions of misclassified clips from.",
        ),
    ] = None,
) -> None:
    """Write a report of a run as one HTML page, which opens without a network."""
    from kinestore.pipeline.report import report

    with progress() as tell:
        written = report(run, out=out, store=store, on_progress=partial(tell, "thumbnails"))
    say(f"Report written to {written}")
