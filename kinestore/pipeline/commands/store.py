"""The commands that read, check and export a store."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from kinestore.pipeline.commands.console import progress, say, say_json
from kinestore.pipeline.commands.options import FeaturesOption, JsonOption, StoreArgument
from kinestore.pipeline.commands.tables import (
    failure_log_table,
    status_table,
    verify_table,
)
from kinestore.store.errors import UsageError
from kinestore.store.io.addresses import local_path


def status_command(store: StoreArgument, as_json: JsonOption = False) -> None:
    """Show the number of clips, embeddings and frames in a store."""
    from kinestore.store.status import status

    found = status(store).to_json()
    if as_json:
        say_json(found)
    else:
        say(status_table(found))


def failures_command(store: StoreArgument, as_json: JsonOption = False) -> None:
    """List the inputs that failed, and the reasons."""
    from kinestore.store import Store

    failures = Store(store).failures()
    if as_json:
        say_json([asdict(failure) for failure in failures])
    else:
        say(failure_log_table(failures))


def sql_command(
    store: StoreArgument,
    query: Annotated[
        str,
        typer.Argument(
            metavar="SELECT",
            help="One SELECT, such as 'SELECT label, count(*) FROM clips GROUP BY label'; "
            "'SHOW TABLES' lists the tables.",
        ),
    ],
    as_json: JsonOption = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print all rows as comma-separated values, with a header.")
    ] = False,
) -> None:
    """Query a store with SQL: its clips, views, captions and failures are tables."""
    from kinestore.pipeline.commands.sql_tables import answer_csv, answer_rows, answer_table
    from kinestore.store import Store

    if as_csv and as_json:
        raise UsageError("--csv and --json: give one of them")
    answer = Store(store).sql(query, as_text=True)
    if as_csv:
        sys.stdout.write(answer_csv(answer))
    elif as_json:
        say_json(answer_rows(answer))
    else:
        say(answer_table(answer))


def verify_command(
    store: StoreArgument,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Remove broken files; the same extract command computes them again."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check the hash and content of every file of a store."""
    from kinestore.pipeline.verification.verify import verify

    with progress() as show:
        report = verify(store, repair=repair, progress=show)
    if as_json:
        say_json(report.to_json())
    else:
        say(verify_table(report, store))
    if not report.sound:
        raise typer.Exit(1)


def snapshot_command(
    store: StoreArgument,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Name of the snapshot, such as paper-v1: letters, digits, '.', '_' and '-'.",
        ),
    ],
) -> None:
    """Record the present files of a store, for Store(STORE, snapshot=NAME) to read later."""
    from kinestore.store import Store

    with progress() as show:
        taken = Store(store).take_snapshot(name, progress=show)
    say(f"Snapshot {name} records {len(taken.parts)} parts.")


def export_command(
    store: StoreArgument,
    features: FeaturesOption,
    to: Annotated[
        Path,
        typer.Option(
            metavar="FILE", parser=local_path, help="File to write: .parquet, .h5 or .npz."
        ),
    ],
    clips: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=local_path,
            help="A .csv file whose column clip_id lists the clips to export. [default: all]",
        ),
    ] = None,
) -> None:
    """Write stored features to one file for other programs."""
    from kinestore.pipeline.commands.clip_list import read_clip_list
    from kinestore.pipeline.export import check_export_file, export
    from kinestore.store import Store

    check_export_file(to)
    chosen = None if clips is None else read_clip_list(clips)
    loaded = Store(store).load(features.split(","), clips=chosen)
    done = export(loaded, out=to)
    left_out = f"{done.num_missing} left out (feature missing)"
    say(f"{done.num_clips} clips exported to {done.path}; {left_out}.")
