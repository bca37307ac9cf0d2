"""Rows that the parts of one folder hold already, so that nothing is added twice."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import pyarrow as pa

from kinestore.store.part_folder import PartFolder
from kinestore.store.parts import commit_part, part_names, part_number


class RowIndex:
    """Keys and values of a folder's rows; each part is read once, since parts never change.

    Args:
        folder: The folder with the parts.
        schema: Their schema.
        columns: Columns that `rows` needs; None for all.
        rows: Gives each row's key and a value that changes with the rest of the row.
    """

    def __init__(
        self,
        folder: PartFolder,
        schema: pa.Schema,
        columns: list[str] | None,
        rows: Callable[[pa.Table], Iterable[tuple[str, int]]],
    ) -> None:
        self._folder = folder
        self._schema = schema
        self._columns = columns
        self._rows = rows
        self._seen: set[str] = set()
        self._newest: dict[str, tuple[int, int]] = {}  # key: part number, value
        self._next_number = 0

    def look_up(self) -> Mapping[str, tuple[int, int]]:
        """Return, by key, the part number and the value of the newest row."""
        there = part_names(self._folder.storage, self._folder.name)
        if not self._seen <= there:  # a repair has dropped parts
            self._seen, self._newest, self._next_number = set(), {}, 0
        new = list(there - self._seen)
        tables = self._folder.read_parts(new, self._schema, self._columns)
        for name, table in zip(new, tables, strict=True):
            self._add(name, table)
        return self._newest

    def commit(self, table: pa.Table, *, number: int | None) -> int:
        """Commit the rows of a table that say something new, and return how many those are.

        Args:
            table: Rows of the folder's schema.
            number: The part's; None takes one above all others.
        """
        newest = self.look_up()
        is_new = [key not in newest or newest[key][1] != value for key, value in self._rows(table)]
        new = table if all(is_new) else table.filter(pa.array(is_new, pa.bool_()))
        if len(new):
            place = self._next_number if number is None else number
            name = commit_part(self._folder.storage, self._folder.name, new, number=place)
            self._add(name, new)
        return len(new)

    def _add(self, name: str, table: pa.Table) -> None:
        number = part_number(self._folder.storage, name)
        for key, value in self._rows(table):
            if self._newest.get(key, (0, 0))[0] <= number:
                self._newest[key] = number, value
        self._seen.add(name)
        self._next_number = max(self._next_number, number + 1)


def rows_of_view(table: pa.Table) -> Iterator[tuple[str, int]]:
    """Yield the clip of each row: its embedding follows from the view's specification."""
    return ((clip, 0) for clip in table.column("clip_id").to_pylist())


def rows_of_clips(table: pa.Table) -> Iterator[tuple[str, int]]:
    """Yield the source of each row, and a hash of the whole row."""
    for row in table.to_pylist():
        yield row["uri"], hash(frozenset(row.items() - {(name, None) for name in row}))
