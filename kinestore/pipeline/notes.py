"""Notes to the user: what a job read, left out or took in another way than it was written."""

import logging
from collections.abc import Iterable

from kinestore.pipeline.printable import printable

_LOG = logging.getLogger("kinestore")


def tell(notes: Iterable[str]) -> None:
    """Log each note as a warning; where logging is not set up, Python prints it to stderr."""
    for note in notes:
        _LOG.warning("%s", f"kinestore: {printable(note)}")


def shown(text: str) -> str:
    """Return a text in quotes, with escapes for all that a terminal would not print."""
    return repr(text)
