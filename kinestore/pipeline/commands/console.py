"""Progress bars on a terminal, and printing on standard output."""

import contextlib
from collections.abc import Iterator

from rich.console import Console, RenderableType
from rich.markup import escape
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
from rich.text import Text

from kinestore.progress import Progress


class _Rate(ProgressColumn):
    """Show the steps per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s")


@contextlib.contextmanager
def progress() -> Iterator[Progress]:
    """Show a bar for each stage on standard error, or nothing where that is not a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with RichProgress(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int, note: str = "") -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(escape(stage), total=total, note="")
            bars.update(tasks[stage], completed=done, total=total, note=escape(note))

        yield show


def say(message: RenderableType) -> None:
    """Print a table, or a text without markup, on standard output."""
    if isinstance(message, str):
        print(message)
    else:
        Console().print(message)
