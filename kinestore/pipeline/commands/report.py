"""The commands `kinestore report` and `kinestore compare`."""

from pathlib import Path
from typing import Annotated

import typer

from kinestore.pipeline.commands.console import progress, say, say_json
from kinestore.pipeline.commands.options import JsonOption, RemoteVideosOption
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
    remote_videos: RemoteVideosOption = False,
) -> None:
    """Write an HTML report of a run: one file, which needs no network."""
    from kinestore.pipeline.report import report
    from kinestore.store import Store

    opened = None if store is None else Store(store, remote_videos=remote_videos)
    with progress() as show:
        result = report(run, out=out, store=opened, progress=show)
    say(f"Report written to {result.path}{result.unfetched}")


def compare_command(
    first: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            parser=local_path,
            help="Folder of a finished run, such as runs/baseline.",
        ),
    ],
    second: Annotated[
        Path,
        typer.Argument(
            metavar="OTHER",
            parser=local_path,
            help="Folder of another run on the same clips, such as runs/new.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=local_path,
            help="Page to write, such as compared.html. [default: none is written]",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two runs clip by clip: McNemar's test, and the classes that gain and lose."""
    from kinestore.pipeline.report import compare

    result = compare(first, second, out=out)
    if as_json:
        say_json(result.to_json())
        return
    paired = result.paired
    say(
        f"top-1 {paired.first_top1:.3f} and {paired.second_top1:.3f} on {paired.num_clips} test "
        f"clips of both; {paired.gained} gained, {paired.lost} lost, "
        f"p = {paired.p_value:.3g} (McNemar's exact test)"
    )
    if paired.num_only_first or paired.num_only_second:
        say(
            f"Left out: {paired.num_only_first} clips that {first} alone tested, "
            f"{paired.num_only_second} that {second} alone tested."
        )
    if out is not None:
        say(f"Comparison written to {out}")
