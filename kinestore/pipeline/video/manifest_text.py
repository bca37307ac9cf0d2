"""Read the rows of text manifests (.txt, .csv, .tsv), within bounds."""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TextIO

from kinestore.store import UsageError
from kinestore.store.io.storage import Storage

MAX_LINE = 1 << 20
"""Characters of a line."""

DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "vertical bars"}

_MARKS = {
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
"""Byte order marks of encodings other than UTF-8, longest first."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A manifest's rows as text, read as they are iterated over.

    Attributes:
        columns: Names of the columns, as they are written.
        rows: Number of the line or row, and a value for each column, or fewer.
        notes: What was read in another way than the manifest's suffix says.
    """

    columns: list[str]
    rows: Iterator[tuple[int, list[str | None]]]
    notes: list[str]


def read_lines(manifest: Storage) -> Table:
    """Read a list of paths, one on each line; empty lines are skipped."""
    lines = enumerate(_lines(manifest), start=1)
    rows = ((number, line.rstrip("\r\n")) for number, line in lines)
    return Table(columns=["video"], rows=((n, [x]) for n, x in rows if x.strip()), notes=[])


def read_delimited(
    manifest: Storage, *, usual: str, is_header: Callable[[list[str]], bool]
) -> Table:
    """Read a table with a header; its delimiter is the one that gives a header.

    Args:
        manifest: The file.
        usual: Delimiter that the suffix of the file promises.
        is_header: Returns whether a list of names is a manifest's header.
    """
    lines = _lines(manifest)
    first = next((line for line in lines if line.strip("\r\n")), "")
    named = first.strip()
    if len(named) == 5 and named.lower().startswith("sep="):  # a spreadsheet's first line
        first = next(lines, "")
    delimiter = _delimiter(first, usual, is_header)
    spaced = f"{delimiter} " in first
    reader = csv.reader(
        chain([first], lines), delimiter=delimiter, strict=True, skipinitialspace=spaced
    )
    columns = next(reader, [])
    notes = []
    if spaced:
        notes.append(f"{manifest.address}: spaces after the delimiter are no part of its fields")
    if delimiter != usual:
        notes.append(f"{manifest.address}: its fields are separated by {DELIMITERS[delimiter]}")
    rows = ((reader.line_num, list[str | None](row)) for row in reader if row)
    return Table(columns=columns, rows=_whole(rows, len(columns), manifest.address), notes=notes)


def _lines(manifest: Storage) -> Iterator[str]:
    """Yield the lines with their ends; bytes that are not UTF-8 become lone surrogates."""
    with manifest.open() as file:
        start = file.read(4)
        encoding = next((code for mark, code in _MARKS.items() if start.startswith(mark)), None)
        file.seek(0)
        text = io.TextIOWrapper(
            file,
            encoding=encoding or "utf-8-sig",
            errors="strict" if encoding else "surrogateescape",
            newline="",
        )
        yield from _bounded(text, manifest.address)


def _bounded(text: TextIO, address: str) -> Iterator[str]:
    number = 0
    while line := text.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise UsageError(f"{address}: line {number} is longer than {MAX_LINE} characters")
        if "\0" in line:
            raise UsageError(
                f"{address}: line {number} has a zero byte; save the manifest as UTF-8 text"
            )
        yield line


def _delimiter(header: str, usual: str, is_header: Callable[[list[str]], bool]) -> str:
    for delimiter in (usual, *DELIMITERS):
        try:
            names = next(csv.reader([header], delimiter=delimiter, strict=True), [])
        except csv.Error:
            continue
        if is_header(names):
            return delimiter
    return usual


def _whole(
    rows: Iterator[tuple[int, list[str | None]]], num_columns: int, address: str
) -> Iterator[tuple[int, list[str | None]]]:
    for number, row in rows:
        if len(row) > num_columns:
            more = f"more fields than the header's {num_columns}"
            raise UsageError(f"{address}: line {number} has {more}")
        yield number, row
