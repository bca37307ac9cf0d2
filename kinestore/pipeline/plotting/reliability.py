"""Reliability diagram: accuracy by confidence.

Shape legend: B bins.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kinestore.pipeline.plotting.figure_file import save_figure


def draw_reliability(
    path: Path,
    *,
    edges: NDArray[np.float64],
    accuracy: NDArray[np.float64],
    counts: NDArray[np.int64],
    error: float,
) -> None:
    """Draw the accuracy of each bin of confidence, and the bins' sizes below, into a PNG file.

    Args:
        path: File to write.
        edges: Ends of the bins, from 0 to 1, shape (B + 1,).
        accuracy: Accuracy in each bin, shape (B,); NaN where it has no clip.
        counts: Clips in each bin, shape (B,).
        error: Expected calibration error.
    """
    figure = Figure(figsize=(4.2, 4.8), dpi=150, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    middles, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    upper.bar(middles, np.nan_to_num(accuracy), width=width, color="#0072B2", edgecolor="white")
    upper.plot([0, 1], [0, 1], "--", color="0.4", linewidth=1.2)
    upper.set(ylim=(0, 1.02), ylabel="accuracy")
    upper.set_title(f"Expected calibration error {error:.3f}", fontsize=10, loc="left")
    lower.bar(middles, counts, width=width, color="#999999", edgecolor="white")
    lower.set(xlim=(0, 1), xlabel="confidence", ylabel="clips")
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)
