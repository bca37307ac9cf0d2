"""Show the result of an SQL query as a table, or as values of JSON."""

import csv
import io
from collections import Counter
from decimal import Decimal
from typing import Any

import pyarrow as pa
from rich.console import RenderableType

from kinestore.pipeline.commands.console import text_table
from kinestore.pipeline.json_text import json_text
from kinestore.pipeline.spreadsheet import text_cell

MAX_ROWS = 100
MAX_CHARACTERS = 60


def answer_table(answer: pa.Table) -> RenderableType:
    """Return a table of the first MAX_ROWS rows; lists are cut to MAX_CHARACTERS, texts never."""
    more = len(answer) - MAX_ROWS
    caption = f"{more} more rows; --json prints all" if more > 0 else ""
    rows = [tuple(map(_short, row)) for row in _rows(answer.slice(0, MAX_ROWS))]
    return text_table(answer.column_names, rows, caption=caption)


def answer_rows(answer: pa.Table) -> list[dict[str, Any]]:
    """Return all rows as values of JSON; of columns with one name, the later get numbers."""
    names = _unique(answer.column_names)
    return [dict(zip(names, map(_plain, row), strict=True)) for row in _rows(answer)]


def answer_csv(answer: pa.Table) -> str:
    """Return all rows as comma-separated values; lists are JSON, and no text is a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(text_cell, _unique(answer.column_names)))
    for row in _rows(answer):
        writer.writerow(map(_cell, map(_plain, row)))
    return out.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, list | dict):
        return json_text(value)
    return text_cell(value) if isinstance(value, str) else value


def _unique(names: list[str]) -> list[str]:
    seen: Counter[str] = Counter()
    unique: list[str] = []
    for name in names:
        other = name
        while other in unique or (other != name and other in names):
            seen[name] += 1
            other = f"{name}_{seen[name]}"
        unique.append(other)
    return unique


def _rows(answer: pa.Table) -> list[tuple[Any, ...]]:
    if not answer.num_columns:
        return []
    columns = [column.to_pylist(maps_as_pydicts="strict") for column in answer.columns]
    return list(zip(*columns, strict=True))


def _short(value: Any) -> str:
    text = "" if value is None else str(_plain(value))
    if not isinstance(value, list | dict) or len(text) <= MAX_CHARACTERS:
        return text
    return f"{text[: MAX_CHARACTERS - 1]}…"


def _plain(value: Any) -> Any:
    """Convert decimals, which sums of integers have, and write what JSON does not have as text."""
    if isinstance(value, Decimal):
        number = int(value) if value == value.to_integral_value() else float(value)
        return number if Decimal(repr(number)) == value else str(value)
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return list(map(_plain, value))
    return value if isinstance(value, bool | int | float | str | None) else str(value)
