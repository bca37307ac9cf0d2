"""The page of a run: the values of its template `report.html`."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kinestore.pipeline.report.class_statistics import (
    Mistake,
    by_class,
    confusion,
    confusions,
    mean_top1,
)
from kinestore.pipeline.report.clip_cards import ClipCard
from kinestore.pipeline.report.html import UNDEFINED, render
from kinestore.pipeline.report.run_record import FederatedRecord, RunRecord
from kinestore.pipeline.report.svg_curves import lay_out_curves
from kinestore.pipeline.report.svg_heat_map import HeatMap, lay_out_heat_map
from kinestore.pipeline.runs.predictions import count_by_client, count_by_fold

MOST_MISTAKES = 24
"""Misclassified clips that a page shows."""

MOST_CONFUSIONS = 15
"""Pairs of classes that a page lists."""

_SHOWN_ELSEWHERE = ("job", "features", "clips", "seed")
_CLIP_COUNTS = {
    "num_train": "training clips",
    "num_validation": "validation clips, over all folds",
    "num_test": "test clips",
    "num_left_out": "not used",
    "num_unlabeled": "without a label",
    "num_missing": "without one of the views",
}


def render_report(
    run: RunRecord, mistakes: Sequence[Mistake], cards: Mapping[str, ClipCard]
) -> str:
    """Render the whole page; the same run and cards give the same text.

    Args:
        run: A finished run.
        mistakes: Its misclassified clips, the most confident first.
        cards: What a store has of them, by clip_id.
    """
    folds = count_by_fold(run.predictions)
    titles = ["Settings", "Curves", "Confusion", "Classes"]
    titles += ["Folds"] if len(folds) > 1 else []
    titles += ["Clients", "Partition", "Communication"] if run.federated is not None else []
    titles += ["Most confident errors", "Provenance"]
    return render(
        "report.html",
        run=run,
        titles=titles,
        settings=list(_flat(run.config, left_out=_SHOWN_ELSEWHERE)),
        clip_counts=[
            (text, value)
            for name, text in _CLIP_COUNTS.items()
            if (value := getattr(run.summary, name)) is not None
        ],
        charts=[lay_out_curves(panel) for panel in run.curves],
        confusion=_confusion_map(run),
        confused=confusions(run.predictions),
        most_confusions=MOST_CONFUSIONS,
        class_sizes=Counter(run.predictions.labels),
        classes=by_class(run.predictions, run.classes),
        folds=folds,
        mistakes=mistakes,
        most_mistakes=MOST_MISTAKES,
        cards=cards,
        **({} if run.federated is None else _federated_values(run, run.federated)),
    )


def _flat(values: Mapping[str, Any], *, left_out: Sequence[str] = ()) -> Iterable[tuple[str, str]]:
    """Yield JSON values as text, objects entry by entry."""
    for name, value in values.items():
        if name in left_out:
            continue
        if isinstance(value, dict):
            yield from _flat(value)
        elif isinstance(value, list):
            yield str(name).replace("_", " "), ", ".join(map(str, value))
        else:
            yield str(name).replace("_", " "), UNDEFINED if value is None else str(value)


def _confusion_map(run: RunRecord) -> HeatMap:
    number = {name: place for place, name in enumerate(run.classes)}
    counts = {
        (number[label], number[predicted]): num_clips
        for (label, predicted), num_clips in confusion(run.predictions).items()
    }
    totals = Counter(number[label] for label in run.predictions.labels)
    names = run.classes
    axes = ("true", "predicted")
    return lay_out_heat_map(counts, rows=names, columns=names, totals=totals, axes=axes)


def _federated_values(run: RunRecord, federated: FederatedRecord) -> dict[str, object]:
    """Return the values of the sections that only a federated run has."""
    number = {name: place for place, name in enumerate(run.classes)}
    counts = {(client, number[name]): size for (client, name), size in federated.partition.items()}
    num_training_clips = Counter[int]()
    for (client, _), num_clips in federated.partition.items():
        num_training_clips[client] += num_clips
    most = max(counts.values(), default=1)
    names = [str(client) for client in range(federated.num_clients)]
    parts = count_by_client(run.predictions, num_clients=federated.num_clients)
    return {
        "clients": [
            {"num_training_clips": num_training_clips[client], "part": part, "sent": sent}
            for client, (part, sent) in enumerate(
                zip(parts, federated.sent["clients"], strict=True)
            )
        ],
        "client_mean": mean_top1(parts),
        "most_clips": most,
        "partition": lay_out_heat_map(
            counts,
            rows=names,
            columns=run.classes,
            totals=dict.fromkeys(range(len(names)), most),
            axes=("client", "class"),
        ),
    }
