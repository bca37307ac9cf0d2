"""Texts from files of anybody, on a terminal."""

import re

_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Control characters, escape sequences' first among them; marks that turn the direction of what
follows; halves of characters; tags, which nobody sees."""


def printable(text: object) -> str:
    """Return text in one line that a terminal shows and does not obey; the rest is escaped."""
    return _HIDDEN.sub(lambda hidden: hidden[0].encode("unicode_escape").decode(), str(text))
