"""Runs whose every prediction is known, and what a page says of them."""

import json
import shutil
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinestore.pipeline.runs.predictions import Predictions, write_predictions

HOSTILE = [
    "",
    "a,\"b\",'c'",
    "<b>bold</b>&amp;",
    "<script>document.title = 'taken'</script>",
    "<img src=http://example.invalid/x.png onerror=alert(1)>",
    "--> ]]>",
    '"><svg onload=alert(1)>',
    "x" * 300,
    "long words " * 30,
    "\u8df3\u8dc3 \u8d70\u308b \uac77\uae30",
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629",
    "\U0001f3c3\u200d\u2640\ufe0f run",
    "\u202eturned\u2069",
    "two\nlines\tand a tab",
    "bell\x07 and nul\x00",
]
"""Names of classes that would do harm if they were read as anything but text."""

_DRAWN = {
    "runs.writer": ("draw_curves", "draw_confusion"),
    "training.federated.federate": ("draw_partition", "draw_clients"),
}


def without_pictures() -> Iterator[None]:
    """For a fixture to yield from: drawing takes longer than a small run, and has own tests."""
    with pytest.MonkeyPatch.context() as patch:
        for module, names in _DRAWN.items():
            for name in names:
                patch.setattr(f"kinestore.pipeline.{module}.{name}", lambda *args, **settings: None)
        yield


Said = tuple[str, str, float]
"""Class, prediction and confidence of a clip."""


def retold(run: Path, out: Path, said: Sequence[Said], *, classes: Sequence[str]) -> Path:
    """A copy of a run with other predictions: clips 0, 1, 2, ... of one fold."""
    shutil.copytree(run, out)
    labels, predicted, confidence = (list(column) for column in zip(*said, strict=True))
    told = Predictions(
        clip_ids=[f"{row:032x}" for row in range(len(said))],
        labels=labels,
        predicted=predicted,
        confidence=np.array(confidence, np.float32),
        folds=["test"] * len(said),
        clients=[None] * len(said),
    )
    write_predictions(out, told)
    right = float(np.mean([label == other for label, other, _ in said]))
    change(out / "summary.json", top1=right, classes=list(classes), num_test=len(said))
    return out


def change(path: Path, **values: Any) -> None:
    """Put other values into a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **values}), "utf-8")


class Page(HTMLParser):
    """A page as a reader meets it.

    Attributes:
        tables: The rows of each scrolled table, heading first, by its label; text alone.
        facts: What is told of each name.
        tags: Every tag, in order.
        text: All that is shown.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.facts: dict[str, str] = {}
        self.tags: list[str] = []
        self.titles: list[str] = []
        self._label, self._names, self._open = "", [""], [""]
        self._shown: list[str] = []
        self.feed(path.read_text("utf-8"))

    @property
    def text(self) -> str:
        return " ".join(" ".join(self._shown).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self._open.append(tag)
        self.titles += [told for name, told in attrs if name == "title" and told is not None]
        if given.get("role") == "region":
            self._label = given["aria-label"] or ""
        if tag == "table":
            self.tables[self._label] = []
        elif tag == "tr":
            self.tables[self._label].append([])
        elif tag in ("td", "th"):
            self.tables[self._label][-1].append("")
        elif tag == "dt":
            self._names.append("")
        elif tag == "dd":
            self.facts[self._names[-1]] = ""

    def handle_endtag(self, tag: str) -> None:
        while self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if {"style", "script"} & set(self._open):
            return
        self._shown.append(data)
        if {"td", "th"} & set(self._open):
            self.tables[self._label][-1][-1] += data
        elif "dt" in self._open:
            self._names[-1] += data
        elif "dd" in self._open:
            self.facts[self._names[-1]] += data
