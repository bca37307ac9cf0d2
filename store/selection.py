"""Which clips are asked for: filters over the columns of clips, all of which must hold."""

from collections.abc import Mapping, Sequence
from typing import Any

from store.errors import UsageError

Filter = Sequence[str] | str | None
"""The values allowed, or the one; None allows all."""

_NAMED_IN_AN_ERROR = 10


def select_rows(
    rows: Mapping[str, Mapping[str, Any]], filters: Mapping[str, Filter], *, wanted: str
) -> dict[str, Mapping[str, Any]]:
    """Keep the rows in which every filtered column has one of the values allowed.

    Args:
        rows: By clip_id, rows with at least the filtered columns.
        filters: By column.
        wanted: What the clips must have, for the error.

    Raises:
        UsageError: If a filter allows nothing, or a value that no row has.
    """
    kept = dict(rows)
    for column, allowed in filters.items():
        if allowed is None:
            continue
        values = {allowed} if isinstance(allowed, str) else set(allowed)
        if not values:
            raise UsageError(f"{column}: name at least one, or leave the filter out")
        known = {row[column] for row in rows.values()} - {None}
        if unknown := sorted(map(str, values - known)):
            raise UsageError(
                f"no clip of {column} {unknown[0]!r} has all of {wanted}; the store knows "
                f"{_few(known)}"
            )
        kept = {clip: row for clip, row in kept.items() if row[column] in values}
    return kept


def describe(filters: Mapping[str, Filter]) -> str:
    """The filters that are set, as in " of split 'train' and of label 'run', 'sit'"."""
    told = []
    for column, allowed in filters.items():
        if allowed is not None:
            values = [allowed] if isinstance(allowed, str) else sorted(map(str, set(allowed)))
            told.append(f" of {column} {', '.join(map(repr, values[:_NAMED_IN_AN_ERROR]))}")
    return " and".join(told)


def _few(known: set[str]) -> str:
    more = len(known) - _NAMED_IN_AN_ERROR
    few = ", ".join(sorted(known)[:_NAMED_IN_AN_ERROR]) or "none"
    return f"{few} and {more} more" if more > 0 else few
