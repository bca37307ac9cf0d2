"""Frames under their heat maps: side by side as a PNG, one after the other as a GIF.

Shape legend: F frames, H and W pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from statistics import median

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from kinestore.pipeline.explain.upsample import Peak
from kinestore.pipeline.plotting.text import one_line
from kinestore.store.io.atomic import written_whole

OPACITY = 0.65
"""Opacity of the heat where it is highest; where there is none, the frame shows as it is."""

SHEET = 960
"""Pixels across a sheet of several columns, and about three times the side of an animation."""

GAP, LINE = 8, 22
"""Pixels between pictures, and of a line of text."""

PACE_MS = (100, 500)
"""Shortest and longest time that an animation shows a frame."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OverlayFrames:
    """Frames, their heat maps and texts to draw.

    Attributes:
        title: First line.
        subtitle: Second line.
        pictures: uint8, shape (F, H, W, 3).
        maps: From 0 to 1, shape (F, H, W).
        numbers: Numbers of the frames in the video, length F.
        times_s: Presentation times in seconds, length F; they do not decrease.
        peak: Place to mark with a ring.
    """

    title: str
    subtitle: str
    pictures: NDArray[np.uint8]
    maps: NDArray[np.float32]
    numbers: list[int]
    times_s: list[float]
    peak: Peak | None


def draw_overlay(path: Path, shown: OverlayFrames) -> None:
    """Write a file by its ending, one of OVERLAY_SUFFIXES; the same input gives the same bytes."""
    with written_whole(path) as unfinished:
        _WRITERS[path.suffix.lower()](unfinished, shown)


def overlay(picture: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return a picture (H, W, 3) under heat (H, W) from 0 to 1, more opaque where it is hotter."""
    levels = np.rint(255 * heat).astype(np.uint8)
    colors = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1]
    share = OPACITY * heat[..., None]
    return np.rint((1 - share) * picture + share * colors).astype(np.uint8)


def _write_sheet(path: Path, shown: OverlayFrames) -> None:
    count = len(shown.pictures)
    columns = min(count, 4 if count <= 16 else 8)
    tiles = _tiles(shown, side=SHEET // max(columns, 3))
    wide, high = tiles[0].size
    rows = -(-count // columns)
    sheet = _page(
        columns * wide + (columns + 1) * GAP, 2 * LINE + GAP + rows * (high + GAP), shown=shown
    )
    for place, tile in enumerate(tiles):
        row, column = divmod(place, columns)
        sheet.paste(tile, (GAP + column * (wide + GAP), 2 * LINE + GAP + row * (high + GAP)))
    sheet.save(path, "PNG")


def _write_animation(path: Path, shown: OverlayFrames) -> None:
    pages = []
    for tile in _tiles(shown, side=SHEET // 3):
        page = _page(tile.width + 2 * GAP, tile.height + 2 * LINE + 2 * GAP, shown=shown)
        page.paste(tile, (GAP, 2 * LINE + GAP))
        pages.append(page.quantize(palette=page.quantize()))  # so dots smooth its 256 colors
    first, *others = pages
    first.save(
        path, "GIF", save_all=True, append_images=others, duration=pace_ms(shown.times_s), loop=0
    )


_WRITERS: dict[str, Callable[[Path, OverlayFrames], None]] = {
    ".png": _write_sheet,
    ".gif": _write_animation,
}
OVERLAY_SUFFIXES = tuple(_WRITERS)


def pace_ms(times_s: list[float]) -> int:
    """Return the time that each frame is shown: the median of their distances, within `PACE_MS`."""
    least, most = PACE_MS
    gaps = [1000 * (later - earlier) for earlier, later in pairwise(times_s)]
    return round(min(max(median(gaps or [most]), least), most) / 10) * 10  # GIF counts hundredths


def _tiles(shown: OverlayFrames, *, side: int) -> list[Image.Image]:
    """Return each frame with its heat, its number and time below, in about so many pixels."""
    tiles = []
    for place, (picture, heat) in enumerate(zip(shown.pictures, shown.maps, strict=True)):
        scale = side / max(picture.shape[:2])
        height, width = (max(1, round(scale * pixels)) for pixels in picture.shape[:2])
        hot = cv2.resize(overlay(picture, heat), (width, height), interpolation=cv2.INTER_LINEAR)
        tile = Image.new("RGB", (width, height + LINE), "white")
        tile.paste(Image.fromarray(hot), (0, 0))
        pen = ImageDraw.Draw(tile)
        text = f"frame {shown.numbers[place]} · {shown.times_s[place]:.2f} s"
        if shown.peak is not None and shown.peak.frame == place:
            text += " · peak"
            _ring(pen, shown.peak, scale=scale)
        pen.text((0, height + 3), _fitting(text, width, size=12), "black", _font(12))
        tiles.append(tile)
    return tiles


def _ring(pen: ImageDraw.ImageDraw, peak: Peak, *, scale: float) -> None:
    x, y = (peak.x + 0.5) * scale, (peak.y + 0.5) * scale
    for radius, color in ((9, "black"), (8, "white"), (7, "white"), (6, "black")):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=color)


def _page(width: int, height: int, *, shown: OverlayFrames) -> Image.Image:
    """Return a white page with the two lines at its top."""
    page = Image.new("RGB", (width, height), "white")
    pen, room = ImageDraw.Draw(page), width - 2 * GAP
    pen.text((GAP, GAP / 2), _fitting(shown.title, room, size=15), "black", _font(15))
    pen.text((GAP, LINE + GAP / 2), _fitting(shown.subtitle, room, size=12), "#555555", _font(12))
    return page


def _fitting(text: str, width: int, *, size: int) -> str:
    """Return text in one line, shortened if it would be wider than so many pixels."""
    line = one_line(text, most=200)
    while len(line) > 1 and _font(size).getlength(line) > width:
        line = f"{line.removesuffix('…')[:-1]}…"
    return line


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, the font of the charts."""
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), size)
