"""The chart of a client partition: clips by client and class."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from kinestore.pipeline.plotting.figure_file import save_figure
from kinestore.pipeline.plotting.figure_size import fit_figure
from kinestore.pipeline.plotting.run_charts import MOST_NAMED, short_name
from kinestore.pipeline.plotting.text import drawing

_CELL_IN = 0.27
"""Side of a cell in inches: three digits of 6 points fit."""

_MOST_NUMBERS = 4_000
"""Cells up to which their numbers are written."""


def draw_partition(path: Path, counts: NDArray[np.int64], *, classes: Sequence[str]) -> None:
    """Draw the clips by client (row) and class (column) into a PNG, SVG or PDF file.

    The shade is a cell's share of all clips that clients have, and its number the clips. At the
    right is each client's number of clips and of classes. Of many classes, clients or cells, names
    or numbers are left out.

    Args:
        path: File to write.
        counts: Clips by client and class, int64, shape (C, K).
        classes: K names.
    """
    num_clients, num_classes = counts.shape
    named = num_classes <= MOST_NAMED
    panel_in = (
        max(4.0, _CELL_IN * min(num_classes, MOST_NAMED)),
        max(2.0, _CELL_IN * min(num_clients, MOST_NAMED)),
    )
    shares = 100 * counts / max(1, counts.sum())
    shown = [short_name(name) for name in classes] if named else []
    with drawing(shown):
        figure = Figure(dpi=150, layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(shares, cmap="Blues", aspect="auto", interpolation="nearest", vmin=0)
        if named:
            axes.set_xticks(np.arange(num_classes), shown, rotation=90, fontsize=7)
        else:
            axes.set_xlabel(f"{num_classes} classes")
        axes.set_ylabel("client")
        axes.tick_params(length=0)
        if num_clients <= MOST_NAMED:
            _describe_clients(axes, counts)
        else:
            axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        if counts.size <= _MOST_NUMBERS:
            _write_numbers(axes, counts)
        title = f"{int(counts.sum())} clips with {num_clients} clients"
        axes.set_title(title, fontsize=10, loc="left")
        figure.colorbar(image, ax=axes, label="% of these clips", shrink=0.6, pad=0.02)
        fit_figure(figure, axes, panel_in=panel_in)
        save_figure(figure, path)


def _describe_clients(axes: Axes, counts: NDArray[np.int64]) -> None:
    """Number the clients at the left, and write their clips and classes at the right."""
    numbers = np.arange(len(counts))
    axes.set_yticks(numbers, [str(number) for number in numbers], fontsize=7)
    right = axes.secondary_yaxis("right")
    sizes, held = counts.sum(1), (counts > 0).sum(1)
    texts = [f"{size} clips, {of} classes" for size, of in zip(sizes, held, strict=True)]
    right.set_yticks(numbers, texts, fontsize=7)
    right.tick_params(length=0)


def _write_numbers(axes: Axes, counts: NDArray[np.int64]) -> None:
    most = counts.max(initial=0)
    for row, column in np.argwhere(counts):
        count = counts[row, column]
        color = "white" if count > 0.6 * most else "black"
        size = 6 if count < 1000 else 4
        text = axes.text(
            column, row, str(count), ha="center", va="center", color=color, fontsize=size
        )
        text.set_in_layout(False)  # measuring each would take most of the time
