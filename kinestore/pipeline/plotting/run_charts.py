"""Charts of a run, drawn without a display and without matplotlib's global state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from kinestore.pipeline.plotting.figure_file import save_figure
from kinestore.pipeline.plotting.figure_size import fit_figure
from kinestore.pipeline.plotting.text import clean, drawing, one_line

_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
"""Okabe and Ito, "Color Universal Design", 2008: safe for color-blind readers."""

MOST_NAMED = 150
"""Up to so many classes or clients a picture grows with them."""

_MARKS = ("-", "--", "-.", ":")


@dataclass(frozen=True, kw_only=True, eq=False)
class LinePanel:
    """One chart of a figure.

    Attributes:
        title: Its title, with the unit.
        lines: Each line's values by its name, float64, shape (num_folds, num_steps), NaN where a
            fold has none: the mean over the folds that have one is drawn, with their range behind.
        is_fraction: Whether to draw from 0 to 1.
    """

    title: str
    lines: Mapping[str, NDArray[np.float64]]
    is_fraction: bool = False


def draw_curves(path: Path, panels: Sequence[LinePanel], *, x_label: str) -> None:
    """Draw the panels side by side over steps 1, 2, ... into a PNG file."""
    figure = Figure(figsize=(5.2 * len(panels), 3.8), dpi=150, layout="constrained")
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, panel in zip(all_axes, panels, strict=True):
        _draw_panel(axes, panel)
        axes.set_xlabel(x_label)
    save_figure(figure, path)


def _draw_panel(axes: Axes, panel: LinePanel) -> None:
    for number, (name, values) in enumerate(panel.lines.items()):
        steps = np.arange(1, values.shape[1] + 1)
        color = _COLORS[number % len(_COLORS)]
        mark = _MARKS[(number + number // len(_COLORS)) % len(_MARKS)]
        marker = "o" if len(steps) == 1 else ""  # a line through one point is invisible
        known = np.ma.masked_invalid(values)
        axes.plot(steps, known.mean(0), mark, marker=marker, color=color, label=name, lw=1.8)
        if len(values) > 1:
            axes.fill_between(
                steps, known.min(0), known.max(0), color=color, alpha=0.15, linewidth=0
            )
    num_folds = max(len(values) for values in panel.lines.values())
    title = panel.title if num_folds == 1 else f"{panel.title}: mean and range of {num_folds} folds"
    axes.set_title(title, fontsize=10, loc="left")
    if panel.is_fraction:
        axes.set_ylim(-0.02, 1.02)
    else:
        axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="0.9", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    if len(panel.lines) > 1:
        axes.legend(frameon=False, fontsize=9)


def draw_confusion(path: Path, confusion: NDArray[np.int64], *, classes: Sequence[str]) -> None:
    """Draw a confusion matrix into a PNG file, each row in shares of its class.

    The figure grows with the classes, so that 101 names stay legible, up to MOST_NAMED; beyond
    that its size stays and no class is named. Counts are written into the cells of up to 20.

    Args:
        path: File to write.
        confusion: Counts, int64, shape (K, K): rows are labels, columns predictions.
        classes: K names.
    """
    num_classes = len(classes)
    named = num_classes <= MOST_NAMED
    cell_in = 0.55 if num_classes <= 20 else 0.2
    side_in = max(4.0, cell_in * num_classes) if named else 16.0
    shown = [short_name(name) for name in classes] if named else []
    with drawing(shown):
        figure = Figure(dpi=150, layout="constrained")
        axes = figure.subplots()
        shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
        # The square root lifts a single mistake among many clips off the white.
        # Where a cell is less than a pixel, "nearest" would leave cells out.
        how = "nearest" if named else "antialiased"
        image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1), interpolation=how)
        if named:
            _name_cells(axes, shown)
        axes.tick_params(which="both", length=0)
        axes.set_xlabel("predicted" if named else f"predicted, {num_classes} classes")
        axes.set_ylabel("true")
        axes.set_title(f"{int(confusion.sum())} test clips", fontsize=10, loc="left")
        if num_classes <= 20:
            _write_counts(axes, confusion, shares)
        figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.6, pad=0.02)
        if named:
            fit_figure(figure, axes, panel_in=(side_in, side_in))
        else:
            figure.set_size_inches(side_in + 1.6, side_in + 0.8)
        save_figure(figure, path)


def _name_cells(axes: Axes, names: Sequence[str]) -> None:
    """Name rows and columns, with thin lines between them."""
    size = 9 if len(names) <= 20 else 7
    ticks = np.arange(len(names))
    axes.set_xticks(ticks, names, rotation=90, fontsize=size)
    axes.set_yticks(ticks, names, fontsize=size)
    axes.set_xticks(ticks[1:] - 0.5, minor=True)
    axes.set_yticks(ticks[1:] - 0.5, minor=True)
    axes.grid(which="minor", color="0.92", linewidth=0.5)


def short_name(name: str) -> str:
    """Shorten to 40 characters: a label can be a sentence, and a picture cannot be that wide."""
    return one_line(clean(name), most=40)


def _write_counts(axes: Axes, confusion: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
    for row, column in np.argwhere(confusion):
        color = "white" if shares[row, column] > 0.35 else "black"
        axes.text(
            column, row, str(confusion[row, column]), ha="center", va="center", color=color, size=9
        )


def draw_clients(path: Path, fractions: Sequence[float | None]) -> None:
    """Draw each client's accuracy on its own clips, and their plain mean, into a PNG file.

    A client without a clip to score has no bar.
    """
    values = np.array([np.nan if one is None else one for one in fractions], dtype=np.float64)
    wide_in = max(4.0, 0.25 * min(len(values), MOST_NAMED)) + 1.2
    figure = Figure(figsize=(wide_in, 3.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    axes.bar(np.arange(len(values)), np.nan_to_num(values), color=_COLORS[0], width=0.8)
    scored = values[~np.isnan(values)]
    title = f"{len(scored)} of {len(values)} clients scored on their own clips"
    if len(scored):
        axes.axhline(scored.mean(), color=_COLORS[1], linestyle="--", linewidth=1.2)
        title += f"; mean {scored.mean():.3f}"
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("client")
    axes.set_ylabel("top-1")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)
