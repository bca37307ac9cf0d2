"""A picture of a video's keyframes, with the index and time of each."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kinestore.pipeline.plotting.figure_file import save_figure
from kinestore.pipeline.replaceable import check_replaceable
from kinestore.pipeline.video.decoded_video import DecodedVideo
from kinestore.store import UsageError
from kinestore.store.io.addresses import local_path

COLUMNS = 4
SHEET_SUFFIXES = (".png", ".pdf", ".svg")


def contact_sheet(
    path: str | Path,
    *,
    out: str | Path,
    num_keyframes: int = 8,
    space: str = "luma",
    seed: int = 0,
) -> list[int]:
    """Choose a video's keyframes by k-means and draw them.

    Args:
        path: The video.
        out: File to write: .png, .pdf or .svg; its folder is made if absent.
        num_keyframes: Frames to choose.
        space: Feature space in which frames are clustered, one of `extractors.SPACES`.
        seed: Joined with the clip's identity, so that a clip's choice depends on nothing else.

    Returns:
        The indices of the chosen frames, non-decreasing.

    Raises:
        VideoError: If the video cannot be read.
        UsageError: If `out` has another suffix or num_keyframes is below 1.
    """
    if local_path(out).suffix.lower() not in SHEET_SUFFIXES:
        raise UsageError(f"out={out}: the suffix must be one of {', '.join(SHEET_SUFFIXES)}")
    check_replaceable(local_path(out), inputs=(path,))
    video = DecodedVideo(local_path(path))
    chosen = video.keyframes(num_keyframes=num_keyframes, space=space, seed=seed)
    pictures = video.rgb(chosen)
    rows = -(-len(chosen) // COLUMNS)
    height, width = pictures.shape[1:3]
    columns = min(COLUMNS, len(chosen))
    figure = Figure(figsize=(3 * columns, rows * (3 * height / width + 0.35)), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (index, picture) in enumerate(zip(chosen, pictures, strict=True), start=1):
        axes = figure.add_subplot(rows, columns, place)
        axes.imshow(picture)
        axes.set_title(f"frame {index} · {video.pts_s[index]:.2f} s", fontsize=9)
        axes.set_axis_off()
    save_figure(figure, local_path(out), dpi=120)
    return [int(index) for index in chosen]
