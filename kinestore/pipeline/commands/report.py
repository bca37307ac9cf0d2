"""The command `kinestore report`."""

from pathlib import Path
from typing import Annotated

import typer

from kinestore.pipeline.commands.console import progress, say
from kinestore.store.io.addresses import local_path


def report_command(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", parser=local_path, help="Folder of a finished run, such as runs/first."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="FILE", parser=local_path, help="File to write, such as report.html."),
    ],
    store: Annotated[
        str | None,
        typer.Option(
            metavar="STORE",
            help="Store to read thumbnails and captions of misclassified clips from. "
            "[default: none are shown]",
        ),
    ] = None,
) -> None:
    """Write an HTML report of a run: one file, which needs no network."""
    from kinestore.pipeline.report import report

    with progress() as show:
        result = report(run, out=out, store=store, progress=show)
    say(f"Report written to {result.path}")
