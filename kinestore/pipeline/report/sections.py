"""The sections that every report has, as HTML."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from kinestore.pipeline.report.class_statistics import ClassRow, Mistake, confusion, confusions
from kinestore.pipeline.report.clip_cards import Look
from kinestore.pipeline.report.html import (
    NOTHING,
    clips,
    count,
    fraction,
    named,
    pairs,
    plain,
    scrolled,
    table,
)
from kinestore.pipeline.report.run_record import RunRecord
from kinestore.pipeline.report.svg_curves import bar, draw_panel
from kinestore.pipeline.report.svg_heat_map import MOST_NAMED, draw_heat_map, draw_key
from kinestore.pipeline.runs.predictions import by_fold

MOST_CONFUSIONS = 15

_ELSEWHERE = ("job", "features", "clips", "seed")
"""Settings that are told in another place."""

_COUNTS = {
    "num_train": "fitted by the saved model",
    "num_validation": "held for validation, over all folds",
    "num_test": "scored",
    "num_left_out": "in neither part",
    "num_unlabelled": "without a label",
    "num_missing": "without one of the views",
}


def settings(run: RunRecord) -> str:
    """What was asked for, and how many clips went where."""
    asked = [(name, value) for name, value in run.config.items() if name not in _ELSEWHERE]
    counts = [
        (told, count(run.summary[name])) for name, told in _COUNTS.items() if name in run.summary
    ]
    counts.append(("saved model fitted on", named(run.summary["model"])))
    return (
        f'<div class="facts"><div><h3>Asked for</h3>{pairs(_flat(asked))}</div>'
        f"<div><h3>Clips</h3>{pairs(counts)}</div></div>"
    )


def _flat(values: Sequence[tuple[str, Any]]) -> list[tuple[str, str]]:
    """JSON values as text, objects entry by entry."""
    told = []
    for name, value in values:
        if isinstance(value, dict):
            told += _flat(list(value.items()))
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            name_told = named(str(name).replace("_", " "))
            told.append((name_told, NOTHING if shown is None else named(shown, most=200)))
    return told


def curves(run: RunRecord) -> str:
    """Losses and accuracies over epochs or rounds."""
    return f'<div class="panels">{"".join(map(draw_panel, run.curves))}</div>'


def confusion_matrix(run: RunRecord) -> str:
    """A heat map in shares of the true class, and what was confused most often."""
    number = {name: place for place, name in enumerate(run.classes)}
    counts = {
        (number[label], number[predicted]): num_clips
        for (label, predicted), num_clips in confusion(run.predictions).items()
    }
    whole: dict[int, int] = {}
    for (label, _), num_clips in counts.items():
        whole[label] = whole.get(label, 0) + num_clips
    drawn = draw_heat_map(
        counts, rows=run.classes, columns=run.classes, whole=whole, what=("true", "predicted")
    )
    hint = "" if len(run.classes) > MOST_NAMED else " Point at a cell to read what it is."
    return (
        f'<p class="quiet">Shades are shares of the true class.{hint}</p>'
        + draw_key("none", "all")
        + scrolled(drawn, label="Confusion matrix", kind="drawn")
        + _most_confused(run, whole, number)
    )


def _most_confused(run: RunRecord, whole: Mapping[int, int], number: Mapping[str, int]) -> str:
    found = confusions(run.predictions)
    if not found:
        return "<p>No scored clip was taken for another class.</p>"
    rows = [
        (named(label), named(predicted), count(taken), fraction(taken / whole[number[label]]))
        for label, predicted, taken in found[:MOST_CONFUSIONS]
    ]
    of = f" of {count(len(found))} pairs" if len(found) > len(rows) else ""
    head = ("true", "predicted", "#clips", "#share of class")
    title = f"<h3>Confused most often{of and f': {len(rows)}{of}'}</h3>"
    return title + scrolled(table(head, rows), label="Classes confused most often")


def classes(rows: Sequence[ClassRow]) -> str:
    """Precision, recall and F1 of each class."""
    cells = [
        (
            named(row.name),
            count(row.num_clips),
            fraction(row.precision),
            fraction(row.recall),
            fraction(row.f1),
            bar(row.f1),
            NOTHING if row.taken_for is None else named(row.taken_for),
            count(row.num_taken),
        )
        for row in rows
    ]
    head = ("class", "#clips", "#precision", "#recall", "#F1", "", "mostly taken for", "#times")
    note = (
        f"A {NOTHING} has no denominator; the macro means, over the classes that occur among "
        "labels or predictions, count it as 0."
    )
    content = scrolled(table(head, cells), label="Figures of each class", kind="sortable")
    return f'<p class="quiet">{note}</p>{content}'


def folds(run: RunRecord) -> str:
    """Top-1 of each fold; nothing where there is only one."""
    parts = by_fold(run.predictions)
    if len(parts) < 2:
        return ""
    rows = [
        (named(name), count(part.num_clips), fraction(part.top1), bar(part.top1))
        for name, part in parts.items()
    ]
    return scrolled(table(("fold", "#clips", "#top-1", ""), rows), label="Folds", kind="sortable")


def mistakes(
    run: RunRecord, found: Sequence[Mistake], looks: Mapping[str, Look], *, most: int
) -> str:
    """The clips that were taken for another class with the highest confidence."""
    if not found:
        return "<p>No scored clip was taken for another class.</p>"
    told = f"{clips(len(found))} {'was' if len(found) == 1 else 'were'} taken for another class"
    shown = f"; these {most} with the highest softmax" if len(found) > most else ""
    folded = len(set(run.predictions.folds)) > 1
    cards = "\n".join(_card(one, looks.get(one.clip_id), folded=folded) for one in found[:most])
    return f'<p class="quiet">{told}{shown}.</p><ul class="clips">\n{cards}\n</ul>'


def _card(one: Mistake, look: Look | None, *, folded: bool) -> str:
    """A clip, with a picture and words where there are some."""
    parts = []
    if look is not None and look.picture is not None:
        data = base64.b64encode(look.picture).decode("ascii")
        alt = plain(look.caption or look.file, most=200)
        parts.append(f'<img src="data:image/webp;base64,{data}" alt="{alt}">')
    parts.append(f"<p><strong>{named(one.label)}</strong> taken for {named(one.predicted)}</p>")
    where = f", fold {named(one.fold)}" if folded else ""
    where += "" if one.client is None else f", client {one.client}"
    parts.append(f'<p class="quiet">confidence {one.confidence:.3f}{where}</p>')
    if look is not None and look.caption is not None:
        parts.append(f"<p>{named(look.caption, most=200)}</p>")
    name = f"<code>{plain(one.clip_id)}</code>" if look is None else named(look.file, most=80)
    parts.append(f'<p class="quiet">{name}</p>')
    return f"<li>{''.join(parts)}</li>"


def provenance(run: RunRecord) -> str:
    """What the figures depend on."""
    views = [("view", f"<code>{plain(view)}</code>") for view in run.config["features"]]
    facts = [("seed", str(run.config["seed"]))]
    if isinstance(told := run.config.get("clips"), str):
        facts.append(("fingerprint of the clips", f"<code>{plain(told)}</code>"))
    facts.append(("seconds", f"{run.summary['seconds']:,.1f}"))
    versions = [(plain(name), named(value)) for name, value in run.summary["versions"].items()]
    return (
        f'<div class="facts"><div><h3>Features and seed</h3>{pairs(views + facts)}</div>'
        f"<div><h3>Versions</h3>{pairs(versions)}</div></div>"
    )
