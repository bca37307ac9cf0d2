"""Running a training job once, or with several seeds, and printing what came of it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import RenderableType

from kinestore.pipeline.commands.console import say, say_json, text_table
from kinestore.pipeline.commands.swarm_table import swarm_table
from kinestore.pipeline.commands.tables import run_table
from kinestore.pipeline.commands.training_options import is_first_process
from kinestore.store import UsageError

if TYPE_CHECKING:
    from kinestore.pipeline.runs.summary import RunSummary
    from kinestore.pipeline.training.repeats import RepeatedRuns


def run_and_say(
    job: Callable[[Path, int], "RunSummary"],
    *,
    out: Path,
    seed: int,
    repeats: int | None,
    as_json: bool,
    replaces: bool,
) -> None:
    """Run a job, and print its result in the first process.

    Args:
        job: Trains into a run folder with a seed.
        out: The run folder, or the folder of several.
        seed: 0 or more, of the first run.
        repeats: Number of runs; None for one, into `out` itself.
        as_json: Whether to print JSON.
        replaces: Whether a finished run may be replaced, or continued.

    Raises:
        UsageError: If a finished run is there that must not be replaced.
    """
    if not replaces:
        _check_unfinished(out, repeats)
    if repeats is None:
        result = job(out, seed)
        summary = result.to_json()
        shown = [run_table(summary, out)]
        if result.swarm is not None:
            shown.append(swarm_table(result.swarm))
    else:
        from kinestore.pipeline.training.repeats import repeat

        found = repeat(job, out=out, repeats=repeats, seed=seed, writes=is_first_process())
        summary, shown = found.to_json(), [repeats_table(found)]
    if is_first_process():
        if as_json:
            say_json(summary)
        else:
            for table in shown:
                say(table)


def _check_unfinished(out: Path, repeats: int | None) -> None:
    from kinestore.pipeline.runs.reader import is_run

    for path in [out] if repeats is None else [out / f"repeat-{n}" for n in range(repeats)]:
        if (path / "summary.json").exists() and is_run(path):
            raise UsageError(
                f"out={path}: is a finished run; give --overwrite to replace it, --resume to read "
                "or continue it, or name another folder"
            )


def repeats_table(found: "RepeatedRuns") -> RenderableType:
    """Return a table with mean, sample standard deviation and maximum of each figure."""
    rows = [
        (name, *(f"{value:.3f}" for value in (spread.mean, spread.std, spread.max)))
        for name, spread in found.figures.items()
    ]
    title = f"{len(found.seeds)} runs in {found.path}, seeds {found.seeds[0]} to {found.seeds[-1]}"
    columns = ("", "mean", "standard deviation (n - 1)", "maximum")
    return text_table(columns, rows, title=title, right=columns[1:])
