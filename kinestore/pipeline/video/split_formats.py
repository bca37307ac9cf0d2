"""Official files of training and test clips: UCF101, HMDB51, Kinetics, Something-Something.

A file's format is known by its content; whether it lists training or test clips, where its lines do
not say it, by its name.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kinestore.pipeline.video.labels import tidy
from kinestore.pipeline.video.split_words import split_meaning
from kinestore.store import UsageError
from kinestore.store.io.addresses import open_storage

MAX_SPLIT_FILE_BYTES = 256 << 20

_FORMATS = (
    "UCF101's trainlist01.txt, testlist01.txt and classInd.txt, HMDB51's CLASS_test_split1.txt, "
    "Kinetics' csv or json, and Something-Something's json or csv (id;label)"
)


@dataclass(frozen=True, kw_only=True)
class ListedClip:
    """A clip as a file lists it.

    Attributes:
        names: Names that its file may have, without suffix, the most exact first.
        folder: Folder that it lies in, if the file says it.
        split: "train", "val" or "test"; None for a clip that this division does not use.
        label: Its class, or None.
    """

    names: tuple[str, ...]
    folder: str | None = None
    split: str | None
    label: str | None


@dataclass(frozen=True, kw_only=True)
class SplitFile:
    """Content of one file.

    Attributes:
        address: The file.
        number: Number of the division, as 1 of trainlist01.txt; None where there is one alone.
        clips: In the file's order.
        classes: Class names that it lists; by their number, where the file is classInd.txt.
    """

    address: str
    number: int | None
    clips: list[ListedClip]
    classes: Mapping[str, str]


def read_split_file(path: str) -> SplitFile:
    """Read a file; its format follows from its content.

    Raises:
        UsageError: If it cannot be read or is of another format.
    """
    storage = open_storage(path)
    address = storage.address
    try:
        if storage.kind() != "file":
            raise UsageError(f"splits {address}: no such file")
        if storage.size() > MAX_SPLIT_FILE_BYTES:
            raise UsageError(f"splits {address}: is larger than {MAX_SPLIT_FILE_BYTES >> 20} MiB")
        with storage.open() as handle:
            text = handle.read(MAX_SPLIT_FILE_BYTES + 1).decode("utf-8-sig")
        name = address.rpartition("/")[2]
        return _read(address, name, text)
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        if isinstance(error, UsageError):
            raise
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"splits {address}: cannot be read ({reason})") from error


def _read(address: str, name: str, text: str) -> SplitFile:
    number = re.search(r"(?:list|split)_?0*([1-9][0-9]{0,2})(?=\D|$)", name, re.IGNORECASE)
    classes: Mapping[str, str] = {}
    start = text.lstrip()[:1]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    header = [cell.strip().lower() for cell in lines[0].split(",")] if lines else []
    clips: list[ListedClip] = []
    if start in ("[", "{"):
        clips, classes = _from_json(address, name, json.loads(text))
    elif "youtube_id" in header and "split" in header:
        clips = list(_kinetics(address, text.lstrip()))
    elif lines and all(re.fullmatch(r"(video_)?id;label|[0-9]+(;.*)?", one) for one in lines):
        clips = list(_answers(address, name, lines))
    elif lines and all(re.fullmatch(r"[0-9]+\s+\S+", line) for line in lines):
        classes = dict(line.split(None, 1) for line in lines)
    elif lines and all(re.fullmatch(r"\S+/\S+\.\w+(\s+[0-9]+)?", line) for line in lines):
        clips = list(_ucf101(address, name, lines))
    elif lines and all(re.fullmatch(r"[^/\s]+\.\w+\s+[012]", line) for line in lines):
        clips = list(_hmdb51(name, lines))
    else:
        raise UsageError(f"splits {address}: is none of the known formats: {_FORMATS}")
    return SplitFile(
        address=address, number=int(number[1]) if number else None, clips=clips, classes=classes
    )


def _ucf101(address: str, name: str, lines: list[str]) -> Iterator[ListedClip]:
    split = _split_of_name(address, name)
    for line in lines:
        folder, _, file = line.split()[0].rpartition("/")
        label = tidy(folder.rpartition("/")[2])
        yield ListedClip(names=(_stem(file),), folder=label, split=split, label=label)


def _hmdb51(name: str, lines: list[str]) -> Iterator[ListedClip]:
    label = re.fullmatch(r"(.+)_test_split[0-9]+\.txt", name, re.IGNORECASE)
    for line in lines:
        file, mark = line.split()
        yield ListedClip(
            names=(_stem(file),),
            folder=label and label[1],
            split=(None, "train", "test")[int(mark)],
            label=label and label[1],
        )


def _kinetics(address: str, text: str) -> Iterator[ListedClip]:
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    rows.fieldnames = [name.strip().lower() for name in rows.fieldnames or []]
    for row in rows:
        identity, mark = (row["youtube_id"] or "").strip(), (row["split"] or "").strip()
        where = f"splits {address}: line {rows.line_num}"
        if not identity:
            raise UsageError(f"{where} names no youtube_id")
        times = [(row.get(name) or "").strip() for name in ("time_start", "time_end")]
        yield ListedClip(
            names=_kinetics_names(where, identity, times if all(times) else None),
            split=_mark(f"{where}: split", mark),
            label=tidy(row.get("label") or "") or None,
        )


def _kinetics_names(where: str, identity: str, times: object) -> tuple[str, ...]:
    """Return the names of a clip's file: with start and end in seconds, if they are known."""
    if not isinstance(times, list) or len(times) != 2:
        return (identity,)
    try:
        start, end = (int(float(one)) for one in times)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"{where}: {identity}: from {times[0]!r} to {times[1]!r} s") from None
    return f"{identity}_{start:06d}_{end:06d}", identity


def _mark(what: str, word: str) -> str:
    """Return "train", "val" or "test", as a word of a list means."""
    meaning = split_meaning(word)
    if meaning not in ("train", "val", "test"):
        raise UsageError(f"{what} {word!r}: must be train, val or test")
    return meaning


def _from_json(address: str, name: str, value: Any) -> tuple[list[ListedClip], Mapping[str, str]]:
    if isinstance(value, dict) and value and all(_is_number(one) for one in value.values()):
        return [], {str(number): label for label, number in value.items()}
    if isinstance(value, list) and all(isinstance(one, dict) and "id" in one for one in value):
        return list(_something(address, name, value)), {}
    described = isinstance(value, dict) and all(
        isinstance(one, dict) and "subset" in one for one in value.values()
    )
    if described and value:
        return [_kinetics_json(address, key, one) for key, one in value.items()], {}
    raise UsageError(f"splits {address}: is none of the known formats: {_FORMATS}")


def _is_number(value: object) -> bool:
    return type(value) is int or (isinstance(value, str) and value.isascii() and value.isdigit())


def _something(address: str, name: str, rows: list[Mapping[str, Any]]) -> Iterator[ListedClip]:
    split = _split_of_name(address, name)
    for row in rows:
        template = row.get("template") or row.get("label")
        yield ListedClip(names=(str(row["id"]),), split=split, label=_plain(template))


def _answers(address: str, name: str, lines: list[str]) -> Iterator[ListedClip]:
    """Read `id;label`, as of test-answers.csv, or the identities alone."""
    split = _split_of_name(address, name)
    for cells in csv.reader(lines, delimiter=";", strict=True):
        if cells[0].isdecimal():  # else the header
            yield ListedClip(names=(cells[0],), split=split, label=_plain(";".join(cells[1:])))


def _plain(template: object) -> str | None:
    """Return the class of a template such as "Holding [something]"; None for none."""
    plain = re.sub(r"[\[\]]", "", template) if isinstance(template, str) else ""
    return tidy(plain) or None


def _kinetics_json(address: str, identity: str, row: Mapping[str, Any]) -> ListedClip:
    where, entry = f"splits {address}", row.get("annotations")
    entry = entry if isinstance(entry, dict) else {}
    label = entry.get("label")
    return ListedClip(
        names=_kinetics_names(where, identity, entry.get("segment")),
        split=_mark(f"{where}: subset", str(row["subset"])),
        label=(tidy(label) if isinstance(label, str) else "") or None,
    )


def _split_of_name(address: str, name: str) -> str:
    """Return the part that a file's name says, in any case."""
    words = re.findall("train|valid|val(?![a-z])|test", name.lower())
    found = {split_meaning(word) for word in words}
    mark = found.pop() if len(found) == 1 else None
    if mark is None:
        raise UsageError(
            f"splits {address}: its name must say train, validation or test, since its lines do not"
        )
    return mark


def _stem(file: str) -> str:
    return file.rpartition(".")[0] or file
