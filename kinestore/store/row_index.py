"""What the parts of one folder hold already, so that nothing is added twice."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from kinestore.store.part_folder import PartFolder
from kinestore.store.parts import part_names, part_number


class KnownRows:
    """Keys and values of a folder's rows; each part is read once, for parts never change.

    Args:
        folder: Where the parts are.
        schema: Theirs.
        columns: What `row` needs; None for all.
        rows: From a part to the key of each row and what is noted of it.

    Attributes:
        folder: The same.
        next_number: A part number above all that were seen.
    """

    def __init__(
        self,
        folder: PartFolder,
        schema: pa.Schema,
        columns: list[str] | None,
        rows: Callable[[pa.Table], Iterable[tuple[str, int]]],
    ) -> None:
        self.folder = folder
        self._schema = schema
        self._columns = columns
        self._rows = rows
        self._seen: set[str] = set()
        self._newest: dict[str, tuple[int, int]] = {}  # key: part number, what is noted
        self.next_number = 0

    def without(self, table: pa.Table) -> pa.Table:
        """The rows of a new part that say something new."""
        noted = self.look_up()
        new = [key not in noted or noted[key][1] != note for key, note in self._rows(table)]
        return table if all(new) else table.filter(pa.array(new, pa.bool_()))

    def look_up(self) -> Mapping[str, tuple[int, int]]:
        """By key, the part of the newest row and what is noted of it."""
        there = part_names(self.folder.path)
        if not self._seen <= there:  # a repair has dropped parts
            self._seen, self._newest, self.next_number = set(), {}, 0
        new = [self.folder.path / name for name in there - self._seen]
        tables = self.folder.read_parts(new, self._schema, self._columns)
        for path, table in zip(new, tables, strict=True):
            self.note(path, table)
        return self._newest

    def note(self, path: Path, table: pa.Table) -> None:
        """Count in a part that was read or written just now."""
        number = part_number(path)
        for key, note in self._rows(table):
            if self._newest.get(key, (0, 0))[0] <= number:
                self._newest[key] = number, note
        self._seen.add(path.name)
        self.next_number = max(self.next_number, number + 1)


def rows_of_view(table: pa.Table) -> Iterator[tuple[str, int]]:
    """The clip of each row: what it is embedded to follows from the view's specification."""
    return ((clip, 0) for clip in table.column("clip_id").to_pylist())


def rows_of_clips(table: pa.Table) -> Iterator[tuple[str, int]]:
    """The source of each row, and a hash of all that the row says of it."""
    for row in table.to_pylist():
        yield row["uri"], hash(frozenset(row.items() - {(name, None) for name in row}))
