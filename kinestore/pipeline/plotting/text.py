"""Text of a user's files on a picture: cleaned, measured, and in fonts that have its letters."""

import contextlib
import re
import unicodedata
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

DPI = 200  # of figures
_BASE = "DejaVu Sans"  # comes with matplotlib
_JOINERS = "\u200c\u200d"  # between letters, in several scripts
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode's categories of characters that control a line or are half a character."""


def clean(text: str) -> str:
    """Return text in one line, without characters that control the line instead of being seen.

    All white space becomes single spaces, but for those that do not break.
    """
    seen = "".join(
        letter
        for letter in text
        if letter.isspace() or letter in _JOINERS or unicodedata.category(letter) not in _UNSEEN
    )
    return re.sub(r"[^\S\u00a0]+", " ", seen).strip()


@contextlib.contextmanager
def drawing(texts: Iterable[str]) -> Iterator[None]:
    """Draw texts as they are, never as markup, in fonts that have their letters.

    Files get the same bytes each time.
    """
    rules: Any = {
        "font.family": families(map(clean, texts)),
        "text.parse_math": False,
        "svg.hashsalt": "kinestore",
        "pdf.fonttype": 42,
    }
    with mpl.rc_context(rules), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # a box is drawn
        yield


def families(texts: Iterable[str]) -> list[str]:
    """Choose fonts that draw texts, the first that has a letter before all others.

    Matplotlib's own font, and then, for letters that it lacks, as many of this machine's fonts as
    help, those that help most first. A letter that no font has is drawn as a box.
    """
    missing = {ord(letter) for text in texts for letter in text} - _letters(_own_font())
    if not missing:
        return [_BASE]
    known = {name: _letters(path) & missing for name, path in _installed().items()}
    chosen = [_BASE]
    for name in sorted(known, key=lambda name: (-len(known[name]), name)):
        if known[name] & missing:
            chosen.append(name)
            missing -= known[name]
    return chosen


def _own_font() -> str:
    return font_manager.findfont(FontProperties(family=_BASE))


def _installed() -> dict[str, str]:
    """Return files of this machine's upright fonts of normal weight, by family.

    Those that matplotlib brings are left out: they are for mathematics.
    """
    own = Path(mpl.get_data_path())
    return {
        font.name: font.fname
        for font in font_manager.fontManager.ttflist
        if (font.style, font.weight, font.stretch) == ("normal", 400, "normal")
        and own not in Path(font.fname).parents
    }


def _letters(path: str) -> set[int]:
    return set(font_manager.get_font(path).get_charmap())


class Ruler:
    """Measures text as matplotlib will draw it, by the fonts that are set when it is made."""

    def __init__(self) -> None:
        figure = Figure(dpi=DPI)  # letters are set on its pixels
        self._renderer: RendererBase = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
        self._dpi = figure.dpi

    def width_in(self, text: str, size: float) -> float:
        """Return the width of a line in inches, its letters `size` points large."""
        font = FontProperties(size=size)
        width, _, _ = self._renderer.get_text_width_height_descent(text, font, ismath=False)
        return float(width) / self._dpi

    def wrap(self, text: str, width_in: float, size: float) -> list[str]:
        """Break cleaned text into lines that fit: between words, or within one that is too wide."""
        lines = [""]
        for word in clean(text).split(" "):
            longer = f"{lines[-1]} {word}" if lines[-1] else word
            if self.width_in(longer, size) <= width_in:
                lines[-1] = longer
            else:
                pieces = self._chop(word, width_in, size)
                lines = [*lines, *pieces] if lines[-1] else pieces
        return lines

    def fit(self, text: str, width_in: float, size: float, *, num_lines: int) -> list[str]:
        """Do the same, but end a text that needs more lines in an ellipsis."""
        lines = self.wrap(text, width_in, size)
        if len(lines) <= num_lines:
            return lines
        last = lines[num_lines - 1]
        while last and self.width_in(f"{last}…", size) > width_in:
            last = last[:-1]
        return [*lines[: num_lines - 1], f"{last}…"]

    def _chop(self, word: str, width_in: float, size: float) -> list[str]:
        pieces = [""]
        for letter in word:
            if pieces[-1] and self.width_in(pieces[-1] + letter, size) > width_in:
                pieces.append("")
            pieces[-1] += letter
        return pieces


_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_DIRECTIONS = re.compile(r"[\u202a-\u202e\u2066-\u2069]")
"""Marks that turn the direction of the text after them, also beyond their own words."""


def one_line(text: object, *, most: int = 1000) -> str:
    """Return text in one line of at most so many characters; HTML is not escaped."""
    line = _CONTROLS.sub(" ", _DIRECTIONS.sub("", str(text))).strip() or "(blank)"
    return f"{line[: most - 1]}…" if len(line) > most else line
