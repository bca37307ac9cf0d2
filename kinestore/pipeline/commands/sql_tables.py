"""Show the result of an SQL query as a table or as JSON."""

import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
from rich.markup import escape
from rich.table import Table

MAX_ROWS = 100
MAX_CHARACTERS = 60


def answer_table(answer: pa.Table) -> Table:
    """Return a table of the first MAX_ROWS rows, values cut to MAX_CHARACTERS."""
    more = len(answer) - MAX_ROWS
    caption = f"{more} more rows; --json prints all" if more > 0 else None
    table = Table(*map(escape, answer.column_names), caption=caption)
    for row in _rows(answer.slice(0, MAX_ROWS)):
        table.add_row(*(escape(_short(value)) for value in row))
    return table


def answer_json(answer: pa.Table) -> str:
    """Return all rows as a list of JSON objects; of columns with one name, the last is used."""
    named = [dict(zip(answer.column_names, row, strict=True)) for row in _rows(answer)]
    return json.dumps(named, default=_as_json)


def _rows(answer: pa.Table) -> list[tuple[Any, ...]]:
    if not answer.num_columns:
        return []
    return list(zip(*(column.to_pylist() for column in answer.columns), strict=True))


def _short(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS - 1]}…"


def _as_json(value: Any) -> int | float | str:
    """Convert decimals, which sums of integers have, and write other values as text."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return str(value)
