"""What a person sees of the answer to a question in SQL."""

import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
from rich.markup import escape
from rich.table import Table

MOST_ROWS = 100
MOST_LETTERS = 60


def answer_table(answer: pa.Table) -> Table:
    """The first MOST_ROWS rows, values no longer than MOST_LETTERS."""
    more = len(answer) - MOST_ROWS
    caption = f"{more} more rows; --json prints all" if more > 0 else None
    table = Table(*map(escape, answer.column_names), caption=caption)
    for row in _rows(answer.slice(0, MOST_ROWS)):
        table.add_row(*(escape(_short(value)) for value in row))
    return table


def answer_json(answer: pa.Table) -> str:
    """All rows as a list of objects; of columns of one name, the last stands."""
    named = [dict(zip(answer.column_names, row, strict=True)) for row in _rows(answer)]
    return json.dumps(named, default=_as_json)


def _rows(answer: pa.Table) -> list[tuple[Any, ...]]:
    if not answer.num_columns:
        return []
    return list(zip(*(column.to_pylist() for column in answer.columns), strict=True))


def _short(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}…"


def _as_json(value: Any) -> int | float | str:
    """Sums of whole numbers come as decimals."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return str(value)
