"""The same job several times, with one seed after another, and the spread of its figures."""

import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from kinestore.pipeline.json_text import json_text
from kinestore.pipeline.runs.reader import is_run
from kinestore.pipeline.runs.summary import FRACTIONS, RunSummary
from kinestore.store import UsageError
from kinestore.store.io.addresses import local_path
from kinestore.store.io.atomic import write_text

REPEATS = "repeats.json"

_OWN = re.compile(r"repeat-(0|[1-9][0-9]{0,5})")


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A figure over repeated runs.

    Attributes:
        n: Number of runs.
        mean: Mean.
        std: Sample standard deviation, by n - 1.
        max: The largest value.
        values: The value of each run, in order.
    """

    n: int
    mean: float
    std: float
    max: float
    values: list[float]


@dataclass(frozen=True, kw_only=True)
class RepeatedRuns:
    """The result of a job that was repeated.

    Attributes:
        path: The folder, with a run folder for each repeat.
        seeds: Seed of each run.
        figures: Spread of each figure of the summaries.
        runs: Summary of each run.
    """

    path: Path
    seeds: list[int]
    figures: dict[str, Spread]
    runs: Sequence[RunSummary]

    def to_json(self) -> dict[str, object]:
        """Return what repeats.json holds."""
        return {
            "runs": [run.path.name for run in self.runs],
            "seeds": self.seeds,
            "figures": {name: asdict(spread) for name, spread in self.figures.items()},
        }


def repeat(
    job: Callable[[Path, int], RunSummary],
    *,
    out: str | Path,
    repeats: int,
    seed: int = 0,
    writes: bool = True,
) -> RepeatedRuns:
    """Run a job with the seeds `seed` to `seed + repeats - 1`, and write repeats.json.

    The seed decides first weights and batches, and the clips that are tested where they are drawn.
    A job that resumes reads the runs that are finished, so that one that was killed continues.

    Args:
        job: Trains into a run folder with a seed.
        out: Folder for repeat-0, repeat-1, ... and repeats.json, which is written last.
        repeats: 2 or more.
        seed: 0 or more.
        writes: Whether this process writes repeats.json.

    Raises:
        UsageError: If there are fewer than two, or the folder is a run or has runs of more repeats.
    """
    folder = local_path(out)
    if repeats < 2:
        raise UsageError(f"repeats={repeats}: must be 2 or more, or left out")
    _check_folder(folder, repeats)
    seeds = [seed + number for number in range(repeats)]
    runs = [job(folder / f"repeat-{number}", each) for number, each in enumerate(seeds)]
    found = RepeatedRuns(path=folder, seeds=seeds, figures=_figures(runs), runs=runs)
    if writes:
        write_text(folder / REPEATS, json_text(found.to_json(), indent=2) + "\n")
    return found


def spread_of(values: Sequence[float]) -> Spread:
    """Return the spread of two values or more."""
    return Spread(
        n=len(values),
        mean=statistics.fmean(values),
        std=statistics.stdev(values),
        max=max(values),
        values=list(values),
    )


def _figures(runs: Sequence[RunSummary]) -> dict[str, Spread]:
    """Return the spread of each figure that all runs have."""
    figures = {name: [getattr(run, name) for run in runs] for name in FRACTIONS}
    federated = [run.federation for run in runs if run.federation is not None]
    if federated:
        for name in ("mean_client_top1", "mean_client_top5"):
            figures[name] = [getattr(each, name) for each in federated]
    swarms = [run.swarm for run in runs if run.swarm is not None]
    for number in range(min((len(each.particles) for each in swarms), default=0)):
        for name in ("chosen", "last", "best_on_test"):
            own = [getattr(each.particles[number], name).mean for each in swarms]
            figures[f"particle_{number + 1}_{name}"] = own
    return {name: spread_of(values) for name, values in figures.items() if None not in values}


def _check_folder(folder: Path, repeats: int) -> None:
    """Refuse a folder that is a run, or has runs of more repeats."""
    if not folder.is_dir():
        return
    if is_run(folder):
        raise UsageError(f"out={folder}: is a run; name a new folder for the repeats")
    numbers = [int(own[1]) for path in folder.iterdir() if (own := _OWN.fullmatch(path.name))]
    if max(numbers, default=0) >= repeats:
        raise UsageError(
            f"out={folder}: has repeat-{max(numbers)}, and repeats={repeats} ends before it; name "
            "a new folder, or more repeats"
        )
