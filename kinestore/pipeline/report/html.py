"""Words of a user's files as text of a page, and numbers as people read them."""

import html
from collections.abc import Iterable, Sequence

from kinestore.pipeline.plotting.text import one_line

NOTHING = "\N{EN DASH}"
"""Stands where a figure is not defined."""


def plain(text: object, *, most: int = 1000) -> str:
    """Escaped, in one line and no longer than so many characters, for an attribute or a picture."""
    return html.escape(one_line(text, most=most))


def named(text: object, *, most: int = 60) -> str:
    """A user's words, each piece with a direction of its own; what is cut is in the title."""
    whole, cut = plain(text), plain(text, most=most)
    title = "" if cut == whole else f' title="{whole}"'
    return f'<bdi dir="auto"{title}>{cut}</bdi>'


def fraction(value: float | None) -> str:
    """With three digits, or a dash where there is none or NaN."""
    return NOTHING if value is None or value != value else f"{value:.3f}"


def count(value: int | None) -> str:
    """With commas between thousands, or a dash."""
    return NOTHING if value is None else f"{value:,}"


def size(num_bytes: int) -> str:
    """In B, kB, MB and so on, powers of 1000."""
    amount, units = float(num_bytes), iter(("B", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while amount >= 1000 and (larger := next(units, None)):
        amount, unit = amount / 1000, larger
    return f"{num_bytes} B" if unit == "B" else f"{amount:.1f} {unit}"


def clips(number: int) -> str:
    """As in "1 clip" or "1,200 clips"."""
    return f"{count(number)} clip{'' if number == 1 else 's'}"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str = "") -> str:
    """A table whose cells are HTML.

    Args:
        columns: Headings; those of numbers begin with "#", which is not shown.
        rows: A cell for each column.
        caption: HTML above it.
    """
    kinds = [' class="number"' if name.startswith("#") else "" for name in columns]
    names = [name.removeprefix("#") for name in columns]
    head = "".join(
        f'<th scope="col"{kind}>{name}</th>' for name, kind in zip(names, kinds, strict=True)
    )
    body = "\n".join(
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(row, kinds, strict=True))
        for row in rows
    )
    told = f"<caption>{caption}</caption>" if caption else ""
    return f"<table>{told}<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"


def pairs(values: Iterable[tuple[str, str]]) -> str:
    """Names and what they stand for, both HTML."""
    rows = "\n".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in values)
    return f"<dl>\n{rows}\n</dl>"


def scrolled(content: str, *, label: str, kind: str = "") -> str:
    """Content that may be larger than the page, in a box that scrolls by itself.

    Args:
        content: HTML.
        label: What it is.
        kind: "sortable" for a table that the page's script lets people sort, "drawn" for a picture.
    """
    name = f"scrolled {kind}".strip()
    return f'<div class="{name}" role="region" tabindex="0" aria-label="{label}">{content}</div>'
