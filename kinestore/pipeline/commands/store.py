"""What a store holds, and what can be done with it."""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from kinestore.pipeline.commands.console import (
    failures_table,
    progress,
    say,
    status_table,
    verify_table,
)
from kinestore.pipeline.commands.options import FeaturesOption, JsonOption, StoreArgument
from kinestore.store.io.paths import local_path


def status_command(store: StoreArgument, as_json: JsonOption = False) -> None:
    """Say what a store holds."""
    from kinestore.store.status import status

    found = status(store)
    say(json.dumps(found) if as_json else status_table(found))


def failures_command(store: StoreArgument, as_json: JsonOption = False) -> None:
    """List the inputs that could not be done, and why."""
    from kinestore.store import Store

    failures = Store(store).failures()
    if as_json:
        say(json.dumps([asdict(failure) for failure in failures]))
    else:
        say(failures_table(failures))


def sql_command(
    store: StoreArgument,
    query: Annotated[str, typer.Argument(metavar="SELECT", help="SHOW TABLES lists them.")],
    as_json: JsonOption = False,
) -> None:
    """Ask a store in SQL: its clips, views, captions and failures are tables."""
    from kinestore.pipeline.commands.sql_tables import answer_json, answer_table
    from kinestore.store import Store

    answer = Store(store).sql(query)
    say(answer_json(answer) if as_json else answer_table(answer))


def verify_command(
    store: StoreArgument,
    repair: Annotated[bool, typer.Option("--repair", help="Drop what is broken.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check every part of a store; the same extract fills in what a repair dropped."""
    from kinestore.store.verify import verify

    with progress() as tell:
        report = verify(store, repair=repair, on_progress=partial(tell, "checking parts"))
    say(json.dumps(asdict(report)) if as_json else verify_table(report, store))
    if not report.sound:
        raise typer.Exit(1)


def snapshot_command(
    store: StoreArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits, '.', '_', '-'.")],
) -> None:
    """Pin the parts that a store has now: Store(STORE, snapshot=NAME) reads exactly those."""
    from kinestore.store import Store

    with progress() as tell:
        taken = Store(store).take_snapshot(name, on_progress=partial(tell, "hashing parts"))
    say(f"Snapshot {name} pins {len(taken.parts)} parts.")


def export_command(
    store: StoreArgument,
    features: FeaturesOption,
    to: Annotated[
        Path, typer.Option(metavar="FILE", parser=local_path, help="A .parquet, .h5 or .npz file.")
    ],
    clips: Annotated[
        Path | None,
        typer.Option(metavar="FILE", parser=local_path, help="Only those of a .csv's clip_id."),
    ] = None,
) -> None:
    """Write joined features to one file for other programs."""
    from kinestore.pipeline.commands.clip_list import read_clip_list
    from kinestore.store import Store
    from kinestore.store.export import export

    chosen = None if clips is None else read_clip_list(clips)
    loaded = Store(store).load(features.split(","), clips=chosen)
    path = export(loaded, out=to)
    say(f"{len(loaded.clip_ids)} clips exported to {path}; {len(loaded.missing)} lack a feature.")
