"""Labels, groups and splits as they are meant: without stray spaces, in one Unicode form."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from kinestore.pipeline.notes import shown

_BLANK = "\u200b\u200c\u200d\u2060\ufeff"
"""Characters without width, which editors and web pages leave at the ends of a text."""

_MISSING = frozenset({"nan", "<na>", "nat"})
"""What pandas writes for a value that is not there, in lower case; no class is called that."""

_PERHAPS_MISSING = frozenset({"none", "null", "n/a", "na", "#n/a", "-", "?"})


class Values:
    """Cleans the values of one column, and notes what it changed.

    Args:
        column: Name of the column, such as "label".
    """

    def __init__(self, column: str) -> None:
        self._column = column
        self._counts: Counter[str] = Counter()
        self._changed: dict[str, str] = {}
        self._missing: Counter[str] = Counter()
        self._num_empty = 0

    def clean(self, text: str | None) -> str | None:
        """Return a value in the form NFC without blanks at its ends; None if there is none."""
        meant = tidy(text or "")
        if meant.lower() in _MISSING:
            self._missing[meant] += 1
            return None
        if not meant:
            self._num_empty += 1
            return None
        if meant != text and text is not None:
            self._changed[text] = meant
        self._counts[meant] += 1
        return meant

    def notes(self, where: str) -> Iterator[str]:
        """Yield a sentence about each kind of change, and about values that are hardly meant."""
        column = self._column
        if self._changed:
            before, after = next(iter(self._changed.items()))
            yield (
                f"{where}: {column}s that are read without blanks at their ends and in one Unicode "
                f"form (NFC): {len(self._changed)}, such as {shown(before)} as {shown(after)}"
            )
        if self._missing:
            listed = ", ".join(map(shown, sorted(self._missing)))
            total = self._missing.total()
            yield f"{where}: videos whose {column} {listed} is read as none: {total}"
        if doubtful := [value for value in self._counts if value.lower() in _PERHAPS_MISSING]:
            listed = ", ".join(map(shown, doubtful))
            yield (
                f"{where}: {listed} is read as a {column} of {self._counts[doubtful[0]]} videos; "
                "leave the field empty where there is none"
            )
        if self._counts and self._num_empty + self._missing.total():
            without = self._num_empty + self._missing.total()
            yield f"{where}: videos without a {column}, where others have one: {without}"
        for alike in _alike(self._counts, _as_number):
            listed = ", ".join(map(shown, alike))
            yield f"{where}: the {column}s {listed} are one number, and all stand; write it one way"
        for alike in _alike(self._counts, folded):
            listed = " and ".join(map(shown, alike))
            yield f"{where}: the {column}s {listed} differ only in case or spacing, and both stand"


def tidy(text: str) -> str:
    """Return a text in the Unicode form NFC, without blanks at its ends.

    Bytes that are not UTF-8, as in a folder's name, become %XX.
    """
    if not text.isascii():
        text = "".join(f"%{ord(c) - 0xDC00:02X}" if 0xDC80 <= ord(c) <= 0xDCFF else c for c in text)
        text = unicodedata.normalize("NFC", text)
    before = None
    while before != text:
        before, text = text, text.strip().strip(_BLANK)
    return text


def folded(text: str) -> str:
    """Return what two spellings of one name share: no case, width, spaces, '_' and '-'."""
    plain = unicodedata.normalize("NFKC", tidy(text)).casefold()
    return "".join(c for c in plain if not c.isspace() and c not in "_-")


def _as_number(value: str) -> str | None:
    """Return what spellings of one whole number such as 7, 07 and 7.0 share, else None."""
    number = re.fullmatch(r"([0-9]+)(?:\.0*)?", value)
    return number and number[1].lstrip("0")


def _alike(values: Iterable[str], shared: Callable[[str], str | None]) -> list[list[str]]:
    spellings: dict[str | None, list[str]] = {}
    for value in sorted(values):
        spellings.setdefault(shared(value), []).append(value)
    spellings.pop(None, None)
    return [same for same in spellings.values() if len(same) > 1]
