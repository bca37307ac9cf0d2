"""Several labels of a clip: the column `labels` of a manifest, or a column of lists."""

import json
from collections.abc import Iterator

from kinestore.pipeline.notes import shown
from kinestore.pipeline.video.labels import Values
from kinestore.store import UsageError

LABELS = "labels"
"""Name of the column, and of the store's column with several labels as a JSON list."""

_SEPARATORS = "|;"


class LabelLists:
    """Reads the values of the column `labels`, and notes how.

    Values are a JSON list, or labels with `|` or `;` between them.

    Args:
        where: The manifest, for messages.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._values = Values("label")
        self._separators: set[str] = set()
        self._num_several = 0
        self._example = ""

    def read(self, text: str | None) -> tuple[str | None, str]:
        """Return the only label of a clip, or None; and several labels as a JSON list, or "".

        Raises:
            UsageError: If the column has both separators, or a list that is not JSON.
        """
        cleaned = [self._values.clean(one) for one in self._divide(text or "")]
        labels = list(dict.fromkeys(one for one in cleaned if one is not None))
        if len(labels) < 2:
            return next(iter(labels), None), ""
        self._num_several += 1
        self._example = self._example or " and ".join(map(shown, labels))
        return None, json.dumps(labels, ensure_ascii=False)

    def notes(self) -> Iterator[str]:
        """Yield a sentence on clips with several labels, and on what was changed."""
        yield from self._values.notes(self._where)
        if self._num_several:
            by = f", separated by {shown(min(self._separators))}" if self._separators else ""
            yield (
                f"{self._where}: videos with several labels{by}: {self._num_several}, such as "
                f"{self._example}"
            )

    def _divide(self, text: str) -> list[str]:
        if text.strip().startswith("[") and text.strip().endswith("]"):
            try:
                values = json.loads(text)
            except (ValueError, RecursionError):
                values = None
            if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
                raise UsageError(
                    f"{self._where}: the column 'labels' has {shown(text[:100])}, which is no JSON "
                    'list of texts such as ["run", "sit"]; or write labels with | between them'
                )
            return values
        self._separators |= {mark for mark in _SEPARATORS if mark in text}
        if len(self._separators) > 1:
            raise UsageError(
                f"{self._where}: the column 'labels' has '|' and ';' between labels, such as "
                f"{shown(text[:100])}; use one of them"
            )
        return text.split(min(self._separators)) if self._separators else [text]
