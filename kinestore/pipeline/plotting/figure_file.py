"""Writing a figure to a file."""

import io
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from kinestore.store.io.atomic import written_whole


def save_figure(figure: Figure, path: Path, **settings: Any) -> None:
    """Write a figure whole, or not at all, in the format of its suffix; its folder is made.

    Args:
        figure: The figure.
        path: File to write.
        **settings: Further arguments of `Figure.savefig`.
    """
    drawn = io.BytesIO()  # matplotlib's PDFs end in other errors than the disk's
    figure.savefig(drawn, format=path.suffix[1:].lower(), **settings)
    with written_whole(path) as unfinished:
        unfinished.write_bytes(drawn.getbuffer())
