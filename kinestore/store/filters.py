"""Which clips and views are asked for: filters over columns, all of which must hold; names."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kinestore.store.errors import UsageError

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


def choose(name: str, names: Iterable[str], *, of: Path, what: tuple[str, str]) -> str:
    """The one of all `<short>@<fingerprint>` that has a short name, or begins with a longer one.

    Args:
        name: The short name, or the whole one, or its beginning with the "@".
        names: All that there are.
        of: The store, for the error.
        what: What was asked for, and what they are, for the error.

    Raises:
        UsageError: If there is none, or more than one.
    """
    names = list(names)
    exact = [known for known in names if known.rpartition("@")[0] == name]
    found = exact or [known for known in names if "@" in name and known.startswith(name)]
    if len(found) == 1:
        return found[0]
    asked, are = what
    if found:
        several = ", ".join(found)
        raise UsageError(f"{asked} {name!r}: names several {are}s, choose one of {several}")
    listed = ", ".join(names) or f"no {are} at all"
    raise UsageError(f"{asked} {name!r}: not in {of}, which has {listed}")


def _few(known: set[str]) -> str:
    more = len(known) - _NAMED_IN_AN_ERROR
    few = ", ".join(sorted(known)[:_NAMED_IN_AN_ERROR]) or "none"
    return f"{few} and {more} more" if more > 0 else few
