"""Printing on the terminal: progress bars, sentences, tables and JSON.

Names, labels and messages come from files of anybody. They pass through `printable` here, and are
never read as markup.
"""

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.table import Table
from rich.text import Text

from kinestore.pipeline.json_text import json_text
from kinestore.pipeline.printable import printable
from kinestore.progress import LinesOfProgress, Progress

_UNBOUNDED = 1 << 20
"""Columns of what is no terminal: nothing is wrapped there."""


class _Rate(ProgressColumn):
    """Show the steps per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s")


@contextlib.contextmanager
def progress() -> Iterator[Progress]:
    """Show a bar for each stage on standard error, or a line a minute where it is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        with LinesOfProgress(complain) as lines:
            yield lines
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with RichProgress(*columns, console=console) as bars:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int, note: str = "") -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(printable(stage), total=total, note="")
            bars.update(tasks[stage], completed=done, total=total, note=printable(note))

        yield show


def say(message: RenderableType) -> None:
    """Print a sentence, or a table of `text_table`, on standard output.

    A terminal that is too narrow for a table gets its cells wrapped; nothing is ever cut.
    """
    if isinstance(message, str):
        print(printable(message))
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=_UNBOUNDED)
    console.print(message)


def say_json(value: object) -> None:
    """Print a value as JSON, in one line; see `json_text`."""
    print(json_text(value).replace("\x7f", "\\u007f"))


def complain(sentence: str) -> None:
    """Print a sentence on standard error: why a command failed, or how far it is."""
    print(f"kinestore: {printable(sentence)}", file=sys.stderr)


def text_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    title: object = "",
    caption: object = "",
    right: Sequence[str] = (),
) -> RenderableType:
    """Return a table of texts, with a line above and one below it.

    Args:
        columns: Their headings; none is shown where all are empty.
        rows: Cells, as many as columns.
        title: Line above.
        caption: Line below.
        right: Headings of the columns whose cells are aligned to the right.
    """
    table = Table(show_header=any(columns))
    for name in columns:
        align: Mapping[str, object] = {"justify": "right"} if name in right else {}
        table.add_column(Text(printable(name)), overflow="fold", **align)  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    lines = [(title, "italic"), (caption, "dim italic")]
    above, below = ([Text(printable(text), style)] if text else [] for text, style in lines)
    return Group(*above, table, *below)
