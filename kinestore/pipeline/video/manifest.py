"""Read a manifest: a table of videos with their labels, groups, splits and other columns."""

import csv
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from kinestore.pipeline.notes import shown
from kinestore.pipeline.video.labels import Values, folded, tidy
from kinestore.pipeline.video.manifest_labels import LABELS, LabelLists
from kinestore.pipeline.video.manifest_parquet import read_parquet
from kinestore.pipeline.video.manifest_segments import SEGMENT_COLUMNS, segment_of_row
from kinestore.pipeline.video.manifest_text import Table, read_delimited, read_lines
from kinestore.pipeline.video.suffixes import has_second_field, suffix_of
from kinestore.store import Source, StoreError, UsageError
from kinestore.store.io.addresses import open_storage
from kinestore.store.io.local_storage import LocalStorage
from kinestore.store.io.storage import Storage
from kinestore.store.schema import CLIPS

MANIFEST_SUFFIXES = (".csv", ".tsv", ".parquet", ".txt")
KNOWN_COLUMNS = ("video", "label", "group", "split")

_VIDEO_NAMES = frozenset({"path", "filename", "file", "filepath", "videopath", "videofile"})

MAX_FIELD = 1 << 16
"""Characters of a value."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Where a manifest's columns are.

    Attributes:
        known: Position of each of KNOWN_COLUMNS that is there.
        extra: Position of the user's own columns, by name.
    """

    known: dict[str, int]
    extra: dict[str, int]


def read_manifest(manifest: Storage) -> tuple[list[Source], list[str]]:
    """Return the videos of a manifest, in its order, and notes on how it was read.

    Raises:
        UsageError: If it cannot be read, contradicts itself, or could mislead.
    """
    address = manifest.address
    try:
        table = _open(manifest)
        columns, notes = _columns(table, address)
        sources, more = _sources(table, columns, manifest)
    except (OSError, ValueError, OverflowError, csv.Error, StoreError, pa.ArrowException) as error:
        if isinstance(error, UsageError):
            raise
        reason = " ".join(str(error).split())[:300]
        raise UsageError(f"{address}: cannot be read as a manifest ({reason})") from error
    return sources, [*table.notes, *notes, *more]


def _open(manifest: Storage) -> Table:
    suffix = suffix_of(manifest.address)
    if suffix == ".parquet":
        return read_parquet(manifest)
    if suffix == ".txt":
        return read_lines(manifest)
    usual = "\t" if suffix == ".tsv" else ","
    return read_delimited(manifest, usual=usual, is_header=_is_header)


def _is_header(names: Sequence[str]) -> bool:
    return "video" in _with_video([_meant(name) for name in names])


def _with_video(names: Sequence[str]) -> list[str]:
    """Return the names with "video" for the one other name of that column, where it is absent."""
    others = [name for name in names if folded(name) in _VIDEO_NAMES]
    if "video" in names or len(others) != 1:
        return list(names)
    return ["video" if name == others[0] else name for name in names]


def _meant(name: str) -> str:
    """The known column that a header's cell means, or its text without blanks."""
    plain, spaced = folded(name), tidy(name).casefold().replace(" ", "_")
    if spaced in SEGMENT_COLUMNS or plain == LABELS:
        return spaced if spaced in SEGMENT_COLUMNS else LABELS
    return plain if plain in KNOWN_COLUMNS else tidy(name)


def _columns(table: Table, address: str) -> tuple[Columns, list[str]]:
    names, notes = _with_video([_meant(name) for name in table.columns]), []
    if "video" not in names:
        listed = ", ".join(map(tidy, table.columns))[:300] or "none"
        raise UsageError(
            f"{address}: has no column 'video' (its columns are: {listed}); give that name, in a "
            "first line, to the one with the paths"
        )
    for written, name in zip(table.columns, names, strict=True):
        if written != name:
            notes.append(f"{address}: the column {shown(written)} is read as {shown(name)}")
    if unnamed := names.count(""):
        notes.append(f"{address}: columns without a name, which are left out: {unnamed}")
    named = {name: place for place, name in enumerate(names) if name}
    _check_names([name for name in names if name], address)
    known = {name: named.pop(name) for name in KNOWN_COLUMNS if name in named}
    if "label" in known and LABELS in named:
        raise UsageError(f"{address}: has the columns 'label' and 'labels'; leave one out")
    notes += _missed(known, list(named), address)
    return Columns(known=known, extra=named), notes


def _check_names(names: Sequence[str], address: str) -> None:
    seen: dict[str, str] = {}
    for name in names:
        if len(name) > MAX_FIELD:
            raise UsageError(
                f"{address}: the name of a column is longer than {MAX_FIELD} characters"
            )
        if other := seen.get(name.casefold()):
            twice = "twice" if other == name else f"and {other!r}, which SQL cannot tell apart"
            raise UsageError(f"{address}: has the column {name!r} {twice}; leave one out")
        seen[name.casefold()] = name
        if name.casefold() in CLIPS.names and name not in KNOWN_COLUMNS:
            raise UsageError(
                f"{address}: column {name!r}: the store keeps that name for itself; rename it"
            )


def _missed(known: dict[str, int], extra: Sequence[str], address: str) -> list[str]:
    """Notes on columns whose names are near a known one, or which may hold the labels."""
    notes = []
    lost = [name for name in KNOWN_COLUMNS if name not in known]
    if LABELS in extra:
        lost.remove("label")
    for name in extra:
        if near := difflib.get_close_matches(folded(name), lost, n=1, cutoff=0.75):
            notes.append(
                f"{address}: the column {shown(name)} is kept as your own; name it "
                f"{shown(near[0])} to have it read as that"
            )
    if "label" in lost and extra and not notes:
        listed = ", ".join(map(shown, extra[:10]))
        notes.append(f"{address}: has no column 'label', so no video has one; kept: {listed}")
    return notes


def _sources(table: Table, columns: Columns, manifest: Storage) -> tuple[list[Source], list[str]]:
    values = {name: Values(name) for name in columns.known if name != "video"}
    labels, place_of_labels = LabelLists(manifest.address), columns.extra.get(LABELS)
    found: dict[str, Source] = {}
    num_repeated = num_short = 0
    for number, row in table.rows:
        num_short += len(row) < len(table.columns)
        row += [None] * (len(table.columns) - len(row))
        _check_row(row, number, table, columns, manifest)
        known = {name: cleaner.clean(row[columns.known[name]]) for name, cleaner in values.items()}
        extra = {name: row[place] or "" for name, place in columns.extra.items()}
        if place_of_labels is not None:
            known["label"], extra[LABELS] = labels.read(row[place_of_labels])
        segment = segment_of_row(row, columns.extra, f"{manifest.address}: line {number}")
        source = Source(
            uri=_located(str(row[columns.known["video"]]), manifest) + str(segment or ""),
            extra=extra,
            **known,
        )
        if segment is not None and source.uri in found:
            raise UsageError(
                f"{manifest.address}: line {number} names the segment {source.uri} a second time; "
                "leave one out"
            )
        num_repeated += source.uri in found
        if found.setdefault(source.uri, source) != source:
            raise UsageError(
                f"{manifest.address}: names {source.uri} twice, with different columns; name the "
                "ends of segments start_s and end_s (seconds) or start_frame and end_frame"
            )
    where = manifest.address
    notes = [note for cleaner in values.values() for note in cleaner.notes(where)]
    notes += labels.notes()
    if joined := next((s.label for s in found.values() if "|" in (s.label or "")), None):
        notes.append(
            f"{where}: {shown(joined)} is read as one label; name the column 'labels' to have "
            "several of a video, with '|' between them"
        )
    if num_repeated:
        notes.append(f"{where}: rows that repeat a video, and are read once: {num_repeated}")
    if num_short:
        notes.append(
            f"{where}: lines with fewer fields than the header, the last ones empty: {num_short}"
        )
    return list(found.values()), notes


def _check_row(
    row: Sequence[str | None], number: int, table: Table, columns: Columns, manifest: Storage
) -> None:
    place = columns.known["video"]
    video = (row[place] or "").strip()
    if len(table.columns) == 1 and has_second_field(video):
        raise UsageError(
            f"{manifest.address}: line {number} is {video!r}, a video and a second field; give the "
            "folder of the videos with --splits and this file, or a .csv with the columns video "
            "and label"
        )
    if not video or video.lower() == "nan":
        named = dict(zip(table.columns, row, strict=True))
        raise UsageError(
            f"{manifest.address}: a row names no video: {str(named)[:300]}; remove line {number}"
        )
    for index, text in enumerate(row):
        if text is None:
            continue
        where = f"{manifest.address}: line {number}, column {table.columns[index]!r}"
        if len(text) > MAX_FIELD:
            raise UsageError(f"{where}: is longer than {MAX_FIELD} characters")
        if index != place and not _is_unicode(text):
            raise UsageError(f"{where}: is not UTF-8; save the manifest as UTF-8 text")


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any(0xD800 <= ord(c) <= 0xDFFF for c in text)


def _located(video: str, manifest: Storage) -> str:
    """Return a row's URI; it has an address, or a path, absolute or relative to the manifest."""
    try:
        named = open_storage(video)
        if named.local_root is None:
            return named.uri()
        if manifest.local_root is None and not named.local_root.is_absolute():
            return open_storage(f"{manifest.address.rpartition('/')[0]}/{video}").uri()
        base = manifest.local_root.parent if manifest.local_root is not None else Path()
        there = LocalStorage(base / named.local_root)
        if video != video.strip() and there.kind() is None:  # blanks that are no part of the name
            there = LocalStorage(base / str(named.local_root).strip())
        return there.uri()
    except UsageError as error:
        raise UsageError(f"{manifest.address}: {error}") from error
