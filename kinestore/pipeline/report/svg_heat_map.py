"""Layout of a heat map as SVG within a page: counts by row and column as shades.

Up to `MOST_NAMED` rows or columns are named, and up to 20 by 20 cells carry their number. With more
the picture grows no further, but a cell stays wide enough to be seen.
"""

import math
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kinestore.pipeline.plotting.run_charts import MOST_NAMED
from kinestore.pipeline.plotting.text import one_line

NUM_LEVELS = 9
"""Shades in the style sheet, besides none."""

_MOST_WRITTEN = 20
_SIZES = ((_MOST_WRITTEN, 36, 12), (60, 12, 9), (MOST_NAMED, 9, 8))
"""Up to so many rows or columns a cell has so many pixels, and a letter so many."""
_FULL = 900.0
"""Pixels of a side with more than `MOST_NAMED`."""
_SMALLEST = 3.0
"""Pixels of a cell that can be seen alone."""
_MARGIN = 22.0
_LETTERS = 24


@dataclass(frozen=True, kw_only=True)
class HeatCell:
    """A cell, with the text that is shown when the user points at it."""

    x: float
    y: float
    level: int
    title: str


@dataclass(frozen=True, kw_only=True)
class HeatText:
    """A text on the map, turned by 90 degrees or not."""

    x: float
    y: float
    text: str
    style: str
    turned: bool = False


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """A heat map in pixels.

    Attributes:
        label: What it shows.
        grid: Path of the lines between cells, where there is room for them, else around all.
        cell_width: Of a cell without the lines around it.
        cell_height: Of the same.
        cells: Cells where all rows and columns are named, else none.
        paths: Otherwise all cells of a level in one path, the darkest last.
        texts: Numbers, names and titles.
    """

    label: str
    width: float
    height: float
    grid: str
    cell_width: float
    cell_height: float
    cells: list[HeatCell]
    paths: list[tuple[int, str]]
    texts: list[HeatText]


def lay_out_heat_map(
    counts: Mapping[tuple[int, int], int],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    totals: Mapping[int, int],
    axes: tuple[str, str],
) -> HeatMap:
    """Lay out a heat map.

    Args:
        counts: By row and column, those that are not 0.
        rows: Their names.
        columns: Their names.
        totals: By row, the number that its counts are shares of.
        axes: What a row is, and a column, such as "true" and "predicted".
    """
    down, across = _Side.of(rows), _Side.of(columns)
    named = bool(down.names and across.names)
    levels = {
        place: math.ceil(NUM_LEVELS * math.sqrt(number / totals[place[0]]))  # lifts a single clip
        for place, number in sorted(counts.items())
    }
    texts = _names(down, across) + _titles(down, across, axes)
    if max(len(rows), len(columns)) <= _MOST_WRITTEN:
        texts += [_number(down, across, place, levels[place], counts[place]) for place in counts]
    return HeatMap(
        label=f"{axes[0]} by {axes[1]}",
        width=down.room + across.length + 1,
        height=down.length + across.room + 1,
        grid=_grid(down, across),
        cell_width=across.cell - 1,
        cell_height=down.cell - 1,
        cells=[
            HeatCell(
                x=down.room + across.cell * column + 0.5,
                y=down.cell * row + 0.5,
                level=level,
                title=f"{axes[0]} {one_line(rows[row], most=60)}, "
                f"{axes[1]} {one_line(columns[column], most=60)}: {counts[row, column]}",
            )
            for (row, column), level in levels.items()
            if named
        ],
        paths=[] if named else _crowded(down, across, levels),
        texts=texts,
    )


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
        """Choose the sizes; fewer rows or columns have larger cells."""
        number = len(names)
        if number > MOST_NAMED:
            return cls(names=[], number=number, cell=_FULL / number, letter=12)
        cell, letter = next(size for most, *size in _SIZES if number <= most)
        shown = [one_line(name, most=_LETTERS) for name in names]
        return cls(names=shown, number=number, cell=cell, letter=letter)

    @property
    def length(self) -> float:
        """Pixels of all cells."""
        return self.cell * self.number

    @property
    def room(self) -> float:
        """Pixels that the names and the title of the side take."""
        return _MARGIN + 4 + self.letter * max(map(_ems, self.names), default=0)

    @property
    def lines(self) -> list[float]:
        """Places of the lines of the grid, from the first cell's."""
        return [self.cell * n for n in range(0, self.number + 1, 1 if self.names else self.number)]


def _ems(text: str) -> float:
    """Estimate the width of a text, by the height of its letters."""
    return sum(1.1 if unicodedata.east_asian_width(letter) in "WF" else 0.58 for letter in text)


def _grid(down: _Side, across: _Side) -> str:
    rows = [f"M{down.room:.1f} {y:.1f}h{across.length:.1f}" for y in down.lines]
    columns = [f"M{down.room + x:.1f} 0v{down.length:.1f}" for x in across.lines]
    return "".join(rows + columns)


def _crowded(
    down: _Side, across: _Side, levels: Mapping[tuple[int, int], int]
) -> list[tuple[int, str]]:
    """Return a path for each shade, the darkest last; small cells lie over their neighbors."""
    wide, high = max(across.cell, _SMALLEST), max(down.cell, _SMALLEST)
    paths: dict[int, list[str]] = defaultdict(list)
    for (row, column), level in levels.items():
        x = down.room + across.cell * (column + 0.5) - wide / 2
        y = down.cell * (row + 0.5) - high / 2
        paths[level].append(f"M{x:.1f} {y:.1f}h{wide:.3g}v{high:.3g}h-{wide:.3g}z")
    return [(level, "".join(paths[level])) for level in sorted(paths)]


def _number(
    down: _Side, across: _Side, place: tuple[int, int], level: int, number: int
) -> HeatText:
    return HeatText(
        x=down.room + across.cell * (place[1] + 0.5),
        y=down.cell * (place[0] + 0.5) + 4,
        text=str(number),
        style=f"middle on{level}{' letter9' if number > 999 else ''}",
    )


def _names(down: _Side, across: _Side) -> list[HeatText]:
    """Place the names left of the rows and, turned, below the columns."""
    rows = [
        HeatText(
            x=down.room - 5,
            y=down.cell * (row + 0.5) + down.letter / 3,
            text=name,
            style=f"end letter{down.letter}",
        )
        for row, name in enumerate(down.names)
    ]
    return rows + [
        HeatText(
            x=down.room + across.cell * (column + 0.5) + across.letter / 3,
            y=down.length + 5,
            text=name,
            style=f"end letter{across.letter}",
            turned=True,
        )
        for column, name in enumerate(across.names)
    ]


def _titles(down: _Side, across: _Side, axes: tuple[str, str]) -> list[HeatText]:
    """Say what the rows and the columns are, and how many where they have no names."""
    rows, columns = (
        name if side.names else f"{name}, {side.number:,} in all"
        for name, side in zip(axes, (down, across), strict=True)
    )
    x, bottom = down.room + across.length / 2, down.length + across.room - 5
    return [
        HeatText(x=x, y=bottom, text=columns, style="middle"),
        HeatText(x=13, y=down.length / 2, text=rows, style="middle", turned=True),
    ]
