"""Counts by row and column as shades of a plane, as SVG within a page.

Up to `MOST_NAMED` rows or columns are named, and up to 20 by 20 cells carry their number. With more
the picture grows no further, but a cell stays wide enough to be seen.
"""

import math
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kinestore.pipeline.report.html import plain
from kinestore.pipeline.report.palette import NUM_LEVELS

MOST_NAMED = 150

_MOST_WRITTEN = 20
_SIZES = ((_MOST_WRITTEN, 36, 12), (60, 12, 9), (MOST_NAMED, 9, 8))
"""Up to how many a cell has how many pixels, and a letter."""
_FULL = 900.0
"""Pixels of a side with more than `MOST_NAMED`."""
_SMALLEST = 3.0
"""Pixels of a cell that can be seen alone."""
_MARGIN = 22.0
_LETTERS = 24


def draw_heat_map(
    counts: Mapping[tuple[int, int], int],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    whole: Mapping[int, int],
    what: tuple[str, str],
) -> str:
    """Draw a heat map.

    Args:
        counts: By row and column, those that are not 0.
        rows: Their names.
        columns: Their names.
        whole: By row, what its counts are shares of.
        what: What a row is, and a column.
    """
    down, across = _Side.of(rows), _Side.of(columns)
    plane = _Plane(down=down, across=across)
    levels = {place: _level(number / whole[place[0]]) for place, number in counts.items()}
    if down.named and across.named:
        cells = [
            plane.cell(*place, levels[place], f"{_told(what, rows, columns, place)}: {number}")
            for place, number in sorted(counts.items())
        ]
    else:
        cells = plane.crowded(levels)
    if max(len(rows), len(columns)) <= _MOST_WRITTEN:
        cells += [plane.written(*place, levels[place], number) for place, number in counts.items()]
    parts = [plane.grid(), *cells, *plane.row_names(), *plane.column_names(), *plane.titles(what)]
    return (
        f'<svg class="map" width="{plane.width:.0f}" role="img" aria-label="{what[0]} by {what[1]}"'
        f' viewBox="0 0 {plane.width:.0f} {plane.height:.0f}">{"".join(parts)}</svg>'
    )


def draw_key(first: str, last: str) -> str:
    """What the shades stand for, from next to nothing to the whole."""
    shades = "".join(
        f'<rect class="level{level}" x="{14 * (level - 1)}" width="14" height="12"/>'
        for level in range(1, NUM_LEVELS + 1)
    )
    drawn = f'<svg viewBox="0 0 {14 * NUM_LEVELS} 12" aria-hidden="true">{shades}</svg>'
    return f'<p class="shades">{first} {drawn} {last}, by square root</p>'


def _level(share: float) -> int:
    """From 1 to 9: the square root lifts a single clip among many off the ground."""
    return min(NUM_LEVELS, max(1, math.ceil(NUM_LEVELS * math.sqrt(share))))


def _told(
    what: tuple[str, str], rows: Sequence[str], columns: Sequence[str], place: tuple[int, int]
) -> str:
    row, column = plain(rows[place[0]], most=60), plain(columns[place[1]], most=60)
    return f"{what[0]} {row}, {what[1]} {column}"


@dataclass(frozen=True, kw_only=True)
class _Side:
    """The rows or the columns.

    Attributes:
        names: As they are shown; none where there are too many.
        number: How many there are.
        cell: Pixels of one.
        letter: Pixels of a letter's height: 12, 9 or 8.
    """

    names: list[str]
    number: int
    cell: float
    letter: int

    @classmethod
    def of(cls, names: Sequence[str]) -> "_Side":
        """Few have larger cells."""
        number = len(names)
        if number > MOST_NAMED:
            return cls(names=[], number=number, cell=_FULL / number, letter=12)
        cell, letter = next(size for most, *size in _SIZES if number <= most)
        shown = [plain(name, most=_LETTERS) for name in names]
        return cls(names=shown, number=number, cell=cell, letter=letter)

    @property
    def named(self) -> bool:
        """Whether there are names."""
        return bool(self.names)

    @property
    def length(self) -> float:
        """Of all cells, in pixels."""
        return self.cell * self.number

    @property
    def room(self) -> float:
        """Pixels that the names take, with what the side is called."""
        return _MARGIN + 4 + self.letter * max(map(_ems, self.names), default=0)


def _ems(text: str) -> float:
    """About how wide a text is, by the height of its letters."""
    return sum(1.1 if unicodedata.east_asian_width(letter) in "WF" else 0.58 for letter in text)


@dataclass(frozen=True, kw_only=True)
class _Plane:
    """Where everything lies."""

    down: _Side
    across: _Side

    @property
    def width(self) -> float:
        """Of the picture."""
        return self.down.room + self.across.length + 1

    @property
    def height(self) -> float:
        """Of the picture."""
        return self.down.length + self.across.room + 1

    def grid(self) -> str:
        """Lines between cells where there is room for them, else around all."""
        left, wide, high = self.down.room, self.across.length, self.down.length
        rows = range(0, self.down.number + 1, 1 if self.down.named else self.down.number)
        columns = range(0, self.across.number + 1, 1 if self.across.named else self.across.number)
        lines = [f"M{left:.1f} {self.down.cell * row:.1f}h{wide:.1f}" for row in rows]
        lines += [f"M{left + self.across.cell * place:.1f} 0v{high:.1f}" for place in columns]
        return f'<path class="grid" d="{"".join(lines)}"/>'

    def cell(self, row: int, column: int, level: int, title: str) -> str:
        """A cell that says what it is when it is pointed at."""
        x, y = self.down.room + self.across.cell * column, self.down.cell * row
        return (
            f'<rect class="level{level}" x="{x + 0.5:.1f}" y="{y + 0.5:.1f}" '
            f'width="{self.across.cell - 1:g}" height="{self.down.cell - 1:g}">'
            f"<title>{title}</title></rect>\n"
        )

    def crowded(self, levels: Mapping[tuple[int, int], int]) -> list[str]:
        """All cells in a path a shade, the darkest last; small ones over their neighbours."""
        wide, high = max(self.across.cell, _SMALLEST), max(self.down.cell, _SMALLEST)
        paths: dict[int, list[str]] = defaultdict(list)
        for (row, column), level in sorted(levels.items()):
            x = self.down.room + self.across.cell * (column + 0.5) - wide / 2
            y = self.down.cell * (row + 0.5) - high / 2
            paths[level].append(f"M{x:.1f} {y:.1f}h{wide:.3g}v{high:.3g}h-{wide:.3g}z")
        return [
            f'<path class="level{level}" d="{"".join(paths[level])}"/>' for level in sorted(paths)
        ]

    def written(self, row: int, column: int, level: int, number: int) -> str:
        """The number in a cell."""
        x = self.down.room + self.across.cell * (column + 0.5)
        y = self.down.cell * (row + 0.5) + 4
        small = " letter9" if number > 999 else ""
        return f'<text class="middle on{level}{small}" x="{x:.1f}" y="{y:.1f}">{number}</text>'

    def row_names(self) -> list[str]:
        """Left of the rows."""
        x, letter = self.down.room - 5, self.down.letter
        return [
            f'<text class="end letter{letter}" x="{x:.1f}" '
            f'y="{self.down.cell * (row + 0.5) + letter / 3:.1f}">{name}</text>'
            for row, name in enumerate(self.down.names)
        ]

    def column_names(self) -> list[str]:
        """Below the columns, turned."""
        left, top, letter = self.down.room, self.down.length + 5, self.across.letter
        return [
            f'<text class="end letter{letter}" transform="translate('
            f'{left + self.across.cell * (column + 0.5) + letter / 3:.1f} {top:.1f}) rotate(-90)">'
            f"{name}</text>"
            for column, name in enumerate(self.across.names)
        ]

    def titles(self, what: tuple[str, str]) -> list[str]:
        """What the rows and the columns are, and how many where they have no names."""
        rows, columns = (
            name if side.named else f"{name}, {side.number:,} in all"
            for name, side in zip(what, (self.down, self.across), strict=True)
        )
        x, y = self.down.room + self.across.length / 2, self.down.length / 2
        return [
            f'<text class="middle" x="{x:.1f}" y="{self.height - 6:.1f}">{columns}</text>',
            f'<text class="middle" transform="translate(13 {y:.1f}) rotate(-90)">{rows}</text>',
        ]
