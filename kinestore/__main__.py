"""The root of the command line.

Commands import what they need when they run, so that `kinestore --help` is quick.
"""

import sys

from kinestore.pipeline.signals import STOPPED, answer_interrupts, end_now

if __name__ == "__main__" or sys.argv[0].endswith("kinestore"):
    answer_interrupts()  # the other imports take most of a second

import importlib.metadata
import io
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from kinestore.pipeline.commands.catalog import (
    extractors_command,
    heads_command,
    strategies_command,
)
from kinestore.pipeline.commands.console import complain, say
from kinestore.pipeline.commands.demo import demo_command
from kinestore.pipeline.commands.describe import describe_command
from kinestore.pipeline.commands.extract import extract_command
from kinestore.pipeline.commands.federate import federate_command
from kinestore.pipeline.commands.federation import federation_app
from kinestore.pipeline.commands.models import evaluate_command, predict_command
from kinestore.pipeline.commands.partition import partition_command
from kinestore.pipeline.commands.report import compare_command, report_command
from kinestore.pipeline.commands.store import (
    export_command,
    failures_command,
    snapshot_command,
    sql_command,
    status_command,
    verify_command,
)
from kinestore.pipeline.commands.swarm import lr_scan_command, swarm_command
from kinestore.pipeline.commands.train import train_command
from kinestore.pipeline.commands.visualize import explain_command, keyframes_command, umap_command
from kinestore.pipeline.commands.weights import weights_app
from kinestore.pipeline.printable import printable
from kinestore.pipeline.system_errors import describe_error
from kinestore.store.errors import KinestoreError, UsageError

INTERRUPTED = 130
"""Exit status that Typer gives Ctrl-C, without a word."""

app = typer.Typer(
    name="kinestore",
    help="A feature store for video action recognition.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",  # which leaves "[default: ...]" in help texts as it is
)


def _print_version(requested: bool) -> None:
    if requested:
        say(f"kinestore {importlib.metadata.version('kinestore')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """A feature store for video action recognition."""


_COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo_command,
    "extract": extract_command,
    "status": status_command,
    "failures": failures_command,
    "sql": sql_command,
    "verify": verify_command,
    "snapshot": snapshot_command,
    "export": export_command,
    "keyframes": keyframes_command,
    "train": train_command,
    "federate": federate_command,
    "partition": partition_command,
    "swarm": swarm_command,
    "lr-scan": lr_scan_command,
    "evaluate": evaluate_command,
    "predict": predict_command,
    "report": report_command,
    "compare": compare_command,
    "explain": explain_command,
    "umap": umap_command,
    "describe": describe_command,
    "heads": heads_command,
    "strategies": strategies_command,
    "extractors": extractors_command,
}
"""Commands, in the order of `kinestore --help`."""

for _name, _command in _COMMANDS.items():
    app.command(_name)(_command)
app.add_typer(federation_app, name="federation")
app.add_typer(weights_app, name="weights")


def _check_folder() -> None:
    """Refuse to start in a folder that was deleted: libraries end in errors that name nothing."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UsageError("the folder that you are in was deleted; `cd` to another") from None


def main() -> None:
    """Run the command line; a mistake of the user gives one sentence and no traceback."""
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # Dask's connections that Ctrl-C cut
    for stream in (sys.stdout, sys.stderr):  # a terminal may lack letters of a name
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    answer_interrupts()
    os.environ["MPLBACKEND"] = "agg"  # no command opens a window, whatever a notebook has set
    try:
        _check_folder()
        app()
    except KeyboardInterrupt:
        end_now(STOPPED)
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            end_now(STOPPED)
        raise
    except (KinestoreError, OSError) as error:
        sentence = describe_error(error) if isinstance(error, OSError) else str(error)
        if isinstance(error.__context__, KeyboardInterrupt):
            end_now(f"kinestore: {printable(sentence)}")
        complain(sentence)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done: let Python end in peace


if __name__ == "__main__":
    main()
