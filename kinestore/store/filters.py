"""Filters over columns of clips, combined with AND, and lookup of views by name."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kinestore.store.errors import UsageError

Filter = Sequence[str] | str | None
"""The allowed values, or the only one; None allows all."""

_MAX_LISTED = 10


def select_rows(
    rows: Mapping[str, Mapping[str, Any]], filters: Mapping[str, Filter], *, wanted: str
) -> dict[str, Mapping[str, Any]]:
    """Keep the rows in which every filtered column has an allowed value.

    Args:
        rows: Rows with at least the filtered columns, by clip_id.
        filters: Allowed values, by column.
        wanted: Features that the clips must have, for the error.

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


def describe_filters(filters: Mapping[str, Filter]) -> str:
    """Describe the filters, as in " of split 'train' and of label 'run', 'sit'"."""
    texts = []
    for column, allowed in filters.items():
        if allowed is not None:
            values = [allowed] if isinstance(allowed, str) else sorted(map(str, set(allowed)))
            texts.append(f" of {column} {', '.join(map(repr, values[:_MAX_LISTED]))}")
    return " and".join(texts)


def find_by_name(name: str, names: Iterable[str], *, store: str, what: tuple[str, str]) -> str:
    """Return the only `<short>@<fingerprint>` with that short name, or that beginning.

    Args:
        name: The short name, or the full one, or its beginning with the "@".
        names: All full names.
        store: The store's address, for the error.
        what: Nouns for the name and for the full names, for the error.

    Raises:
        UsageError: If there is none, or more than one.
    """
    names = list(names)
    exact = [known for known in names if known.rpartition("@")[0] == name]
    found = exact or [known for known in names if "@" in name and known.startswith(name)]
    if len(found) == 1:
        return found[0]
    noun, full = what
    if found:
        several = ", ".join(found)
        raise UsageError(f"{noun} {name!r}: names several {full}s, choose one of {several}")
    listed = ", ".join(names) or f"no {full} at all"
    raise UsageError(f"{noun} {name!r}: not in {store}, which has {listed}")


def _few(known: set[str]) -> str:
    more = len(known) - _MAX_LISTED
    few = ", ".join(sorted(known)[:_MAX_LISTED]) or "none"
    return f"{few} and {more} more" if more > 0 else few
