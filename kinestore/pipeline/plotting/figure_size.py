"""The size of a figure by the size of its panels."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure


def fit_figure(
    figure: Figure,
    axes: Axes,
    *,
    panel_in: tuple[float, float],
    grid: tuple[int, int] = (1, 1),
    room_in: tuple[float, float] = (5, 5),
) -> None:
    """Make a figure with a constrained layout as large as its panels and what is around them need.

    Args:
        figure: With all its texts: in inches they are the same in a figure of any size.
        axes: One of the panels, which are all equal.
        panel_in: Width and height that a panel should have, in inches.
        grid: Columns and rows of panels.
        room_in: Width and height that all else takes at most, in inches.
    """
    (columns, rows), (width, height) = grid, panel_in
    figure.set_size_inches(columns * width + room_in[0], rows * height + room_in[1])
    figure.draw_without_rendering()
    parent = axes.get_figure(root=False) or figure
    box = axes.get_position(original=True).transformed(parent.transSubfigure)
    wide, high = figure.get_size_inches()
    wide += columns * (width - box.width / figure.dpi)
    high += rows * (height - box.height / figure.dpi)
    figure.set_size_inches(wide, high)
