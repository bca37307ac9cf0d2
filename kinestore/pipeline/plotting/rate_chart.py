"""Chart of a learning-rate scan."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from kinestore.pipeline.plotting.figure_file import save_figure


def draw_rates(
    path: Path,
    *,
    rates: Sequence[float],
    accuracies: Sequence[float],
    peak: float,
    drawn: tuple[float, float],
) -> None:
    """Draw the training accuracy over the learning rate into a PNG file.

    Args:
        path: The file.
        rates: Learning rate of each epoch, above 0.
        accuracies: Accuracy of each, from 0 to 1.
        peak: Rate of the highest accuracy.
        drawn: Range that is shaded.
    """
    figure = Figure(figsize=(5.2, 3.8), dpi=150, layout="constrained")
    axes = figure.subplots()
    axes.axvspan(*drawn, color="#009E73", alpha=0.12, label="range to draw from")
    axes.axvline(peak, color="#D55E00", linestyle="--", label=f"peak, {peak:.2g}")
    axes.plot(rates, accuracies, "o-", color="#0072B2", markersize=4, lw=1.8)
    axes.set_xscale("log")
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("learning rate")
    axes.set_title("Accuracy on training clips", fontsize=10, loc="left")
    axes.grid(color="0.9", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    save_figure(figure, path)
