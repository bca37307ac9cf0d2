"""The curves of a run, read from metrics.csv."""

import csv
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kinestore.pipeline.runs.reader import MAX_FILE_BYTES, missing_file, unusable

_LARGEST = 1e30
"""Larger losses are not drawn."""

Row = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Line:
    """A metric over the steps that have one, over all folds.

    Attributes:
        steps: Increasing, 1 or more.
        mean: Over the folds that have the step.
        low: The lowest of them.
        high: The highest of them.
    """

    steps: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]


@dataclass(frozen=True, kw_only=True)
class CurvePanel:
    """One chart.

    Attributes:
        title: Its title.
        x_label: "epoch" or "round".
        lines: By name.
        num_folds: Number of folds that a mean is over.
        is_fraction: Whether values are from 0 to 1.
    """

    title: str
    x_label: str
    lines: dict[str, Line]
    num_folds: int
    is_fraction: bool


def read_curves(run: Path, *, job: str) -> list[CurvePanel]:
    """Read the losses and accuracies of a finished run.

    Raises:
        UsageError: If metrics.csv is absent or cannot be used.
    """
    try:
        rows = list(_rows(run / "metrics.csv"))
        by_job = {"train": _of_train, "federate": _of_federate, "swarm": _of_swarm}
        return by_job[job](rows)
    except FileNotFoundError:
        raise missing_file(run, "metrics.csv") from None
    except (OSError, csv.Error, ValueError, KeyError, TypeError) as error:
        raise unusable(run, f"metrics.csv: {error}") from None


def _rows(path: Path) -> Iterator[Row]:
    if path.exists() and not path.is_file():
        raise ValueError("not a regular file")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"more than {MAX_FILE_BYTES} bytes")
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            if None in row or None in row.values():  # more, or fewer, values than names
                raise ValueError(f"row {number} has not as many values as the first row")
            yield row


def _of_train(rows: list[Row]) -> list[CurvePanel]:
    losses = {"training": "train_loss", "validation": "validation_loss"}
    accuracies = {"training": "train_accuracy", "validation": "validation_accuracy"}
    accuracies["test"] = "test_accuracy"
    return [
        _panel("Cross-entropy", rows, losses, step="epoch", is_fraction=False),
        _panel("Accuracy", rows, accuracies, step="epoch", is_fraction=True),
    ]


def _of_federate(rows: list[Row]) -> list[CurvePanel]:
    """Leave out the fold of all rows, which has no test clips."""
    scored = [{**row, **_others(row["others"])} for row in rows if row["accuracy"]]
    others = sorted(
        {name for row in scored for name in row} - {name for row in rows for name in row}
    )
    accuracies = {"model": "accuracy"} | {name.removeprefix("other "): name for name in others}
    title = "Cross-entropy in the clients, last local epoch"
    losses, accuracy_title = {"clients": "train_loss"}, "Accuracy on test clips"
    if any(row.get("validation_loss") for row in rows):
        title, accuracy_title = "Cross-entropy", "Accuracy"
        losses["validation"], accuracies["validation"] = "validation_loss", "validation_accuracy"
    return [
        _panel(title, scored, losses, step="round", is_fraction=False),
        _panel(accuracy_title, scored, accuracies, step="round", is_fraction=True),
    ]


def _of_swarm(rows: list[Row]) -> list[CurvePanel]:
    """Draw a line for each particle; the fold of all rows has no test clips."""
    numbers = sorted({int(row["particle"]) for row in rows})
    panels = []
    for part in ("train", "validation", "test"):
        own = [
            {**row, f"particle {row['particle']}": row[f"{part}_accuracy"]}
            for row in rows
            if row[f"{part}_accuracy"]
        ]
        lines = {f"particle {number}": f"particle {number}" for number in numbers}
        title = f"Accuracy on {_CLIPS_OF[part]} clips"
        panels.append(_panel(title, own, lines, step="epoch", is_fraction=True))
    return panels


_CLIPS_OF = {"train": "training", "validation": "validation", "test": "test"}


def _others(text: str) -> Row:
    """Parse accuracies of extra models from "name=value;name=value"."""
    items = [item.rpartition("=") for item in text.split(";") if item]
    return {f"other {name}": value for name, _, value in items}


def _panel(
    title: str, rows: list[Row], columns: dict[str, str], *, step: str, is_fraction: bool
) -> CurvePanel:
    """Make a chart of those of the columns that have a value."""
    lines = {name: _line(rows, column, step) for name, column in columns.items()}
    return CurvePanel(
        title=title,
        x_label=step,
        lines={name: line for name, line in lines.items() if line.steps},
        num_folds=len({row["fold"] for row in rows}),
        is_fraction=is_fraction,
    )


def _line(rows: list[Row], column: str, step: str) -> Line:
    values: dict[int, list[float]] = defaultdict(list)
    for row in rows:
        value = float(row.get(column) or "nan")
        if math.isfinite(value) and abs(value) < _LARGEST:
            values[int(row[step])].append(value)
    steps = sorted(values)

    def over_folds(reduce: Callable[[list[float]], float]) -> list[float]:
        return [reduce(values[number]) for number in steps]

    return Line(
        steps=steps,
        mean=over_folds(lambda some: math.fsum(some) / len(some)),
        low=over_folds(min),
        high=over_folds(max),
    )
