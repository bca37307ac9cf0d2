"""Pages that tell of a run."""

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
        Path, typer.Option(metavar="FILE", parser=local_path, help="An .html file to write.")
    ],
    store: Annotated[
        str | None,
        typer.Option(metavar="STORE", help="For pictures and captions of clips named wrongly."),
    ] = None,
) -> None:
    """Write one page that tells all of a run; it opens without a network."""
    from kinestore.pipeline.report import report

    with progress() as tell:
        written = report(run, out=out, store=store, on_progress=partial(tell, "thumbnails"))
    say(f"{run} told in {written}")
