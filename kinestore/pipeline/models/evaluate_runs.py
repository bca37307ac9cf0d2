"""Testing trained models on clips that they were not trained on.

Shape legend: N clips, K classes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support

from kinestore.heads import score
from kinestore.pipeline.models.calibration import calibrate
from kinestore.pipeline.models.clip_logits import ModelInput
from kinestore.pipeline.models.evaluation import ClassFigures, Evaluation, LeftOut, TestedClips
from kinestore.pipeline.models.intervals import accuracy_interval
from kinestore.pipeline.models.trained_model import TrainedModel, load_model
from kinestore.pipeline.models.write_evaluation import check_folder, write_evaluation
from kinestore.pipeline.notes import tell
from kinestore.pipeline.runs.predictions import read_predictions
from kinestore.pipeline.runs.reader import read_config, stand_in_columns
from kinestore.pipeline.runs.training_clips import read_training_clips
from kinestore.pipeline.training.config import EvaluationConfig
from kinestore.pipeline.training.folds import refuse_several_labels
from kinestore.pipeline.training.label_sets import (
    highest_labels,
    mean_average_precision,
    probabilities_of,
)
from kinestore.pipeline.training.networks.clip_data import FrameClips
from kinestore.pipeline.training.split_column import test_marks
from kinestore.store import Features, Store, UsageError


def evaluate(
    runs: str | Path | Sequence[str | Path],
    data: ModelInput | Sequence[ModelInput],
    *,
    client: int | None = None,
    columns: Mapping[str, str] = MappingProxyType({}),
    split: str | None = None,
    test_split: str | None = None,
    out: str | Path | None = None,
    device: str = "cpu",
) -> Evaluation:
    """Test the model of a run, or of several, on labeled clips that it was not trained on.

    A clip is known by its bytes: one that a model was trained on is left out and counted, also when
    it lies in another store. In a federated run with private parts, a test clip of a client is
    predicted by that client's own model, and any other by the common one.

    Args:
        runs: A run folder; of several with the same classes the probabilities are averaged.
        data: A store with the features or clips of frames that the models were trained on; or
            features from `Store.load`, or `kinestore.FrameClips`, which sets the test-time views.
            A list has one for each run, such as `FrameClips` of 8 and of 16 frames.
        client: Predict every clip by the own model of this client.
        columns: Columns that stand in for "label" and "group"; else those that the first run was
            trained with.
        split: Test the clips alone that this column marks for testing: "column" for the split
            column, or the name of a column of the user's own. None for all clips.
        test_split: Mark of the clips to test, such as "val"; None for those whose mark means test
            clips.
        out: Folder for evaluation.json, predictions.parquet, per_class.csv and pictures; new,
            empty or an earlier evaluation, which is replaced.
        device: "auto" for a GPU if there is one, "cpu" or "cuda"; of networks on frames.

    Raises:
        UsageError: If a run or the clips do not fit, or no clip is left to test.
    """
    paths = [runs] if isinstance(runs, str | Path) else list(runs)
    if not paths:
        raise UsageError("runs=[]: name one or more")
    folder = None if out is None else check_folder(out)
    if split is None and test_split is None:
        _refuse_unknown_training(paths)
    models = [load_model(path, client=client, device=device) for path in paths]
    classes = _common_classes(models)
    given: list[ModelInput] = list(data) if isinstance(data, Sequence) else [data] * len(paths)
    if len(given) != len(paths):
        raise UsageError(f"data: a list of {len(given)} for {len(paths)} runs; give one for each")
    opened = [model.open(one) for model, one in zip(models, given, strict=True)]
    name = ", ".join(dict.fromkeys(map(_name, given)))
    rows = _with_columns(opened[0].rows, {**stand_in_columns(paths[0]), **columns}, asked=columns)
    if any(other.rows.clip_ids != rows.clip_ids for other in opened[1:]):
        raise UsageError(
            f"{name}: does not have every clip for each of the runs; extract what is missing"
        )
    marked = _marked_for_testing(rows, split=split, test_split=test_split)
    several = models[0].several
    if not several:
        refuse_several_labels(rows)
    targets, numbers, left_out = _choose_clips(rows, classes, paths, marked)
    if not len(numbers):
        raise UsageError(f"{name}: has no clip to test: {_reasons(left_out)}")
    clients = np.full(len(numbers), -1 if client is None else client)
    if client is None and len(models) == 1 and models[0].clients:
        clients = _owners(models[0], [rows.clip_ids[number] for number in numbers])
    logits = [one.of_owners(numbers, clients) for one in opened]
    each = [probabilities_of(some, several=several) for some in logits]
    probabilities = torch.stack(each).mean(0)
    scored = logits[0] if len(models) == 1 else probabilities
    labels = highest_labels(scored, targets)
    tested = TestedClips(
        clip_ids=[rows.clip_ids[number] for number in numbers],
        uris=[rows.uris[number] for number in numbers],
        groups=[rows.groups[number] for number in numbers],
        labels=labels,
        predicted=scored.argmax(1).numpy(),
        probabilities=probabilities.numpy(),
        clients=clients,
    )
    grouped = all(group is not None for group in tested.groups) and len(set(tested.groups)) > 1
    result = Evaluation(
        path=folder,
        runs=[str(path) for path in paths],
        data=name,
        classes=classes,
        num_clips=len(numbers),
        left_out=left_out,
        scores=score(scored, torch.from_numpy(labels), len(classes)),
        mean_average_precision=mean_average_precision(scored, targets) if several else None,
        interval=accuracy_interval(tested.right, tested.groups if grouped else None),
        interval_over="groups" if grouped else "clips",
        calibration=calibrate(tested.confidence, tested.right),
        per_class=_per_class(tested, classes),
        client_top1=_client_top1(tested),
        clips=tested,
    )
    if folder is not None:
        write_evaluation(folder, result)
    return result


def _with_columns(
    rows: Features, columns: Mapping[str, str], *, asked: Mapping[str, str]
) -> Features:
    """Return the rows with other labels and groups; a run's groups may be absent elsewhere."""
    group = columns.get("group")
    if "group" not in asked and group not in rows.own_columns:
        group = None
    return rows.with_columns(label=columns.get("label"), group=group)


def _refuse_unknown_training(runs: Sequence[str | Path]) -> None:
    """Refuse runs of several machines, whose training clips none of them knows."""
    for run in runs:
        if read_config(run).get("partition") == "machines":
            raise UsageError(
                f"run={run}: learned from clips on several machines, which may be among these; "
                "test those alone that a column marks for testing, by split='column'"
            )


def _marked_for_testing(
    rows: Features, *, split: str | None, test_split: str | None
) -> NDArray[np.bool_]:
    """Return whether each clip may be tested, by the marks of a column."""
    if split is None and test_split is None:
        return np.ones(len(rows.clip_ids), np.bool_)
    chosen = EvaluationConfig(split=split, test_split=test_split)
    if chosen.random_share is not None:
        raise UsageError(f"split={split!r}: must be 'column' or the name of a column")
    splits = chosen.choose_columns(rows).splits
    marks = test_marks(splits, tested=test_split)
    if not marks:
        remedy = "name a mark by test_split" if any(splits) else "no clip has a mark; leave it out"
        raise UsageError(f"split={split!r}: no clip is marked for testing; {remedy}")
    return np.array([mark in marks for mark in splits])


def _common_classes(models: Sequence[TrainedModel]) -> list[str]:
    first = models[0]
    for model in models[1:]:
        if model.several != first.several:
            raise UsageError(
                f"{model.path}: one of it and {first.path} alone learned clips with several "
                "labels; average runs of the same kind"
            )
        if model.classes != first.classes:
            only = sorted(set(model.classes) ^ set(first.classes))
            raise UsageError(
                f"{model.path}: has other classes than {first.path} ({', '.join(only[:5])}); "
                "average runs with the same classes"
            )
    return first.classes


def _name(data: ModelInput) -> str:
    if isinstance(data, Store):
        return data.address
    if isinstance(data, FrameClips):
        return f"{data.store.address} ({data.input})"
    return ",".join(data.feature_names) if isinstance(data, Features) else type(data).__name__


def _choose_clips(
    rows: Features,
    classes: Sequence[str],
    runs: Sequence[str | Path],
    marked: NDArray[np.bool_],
) -> tuple[NDArray[np.float32], NDArray[np.int64], LeftOut]:
    """Return the targets and the numbers of the clips to test, and what is left out."""
    seen = set().union(*(read_training_clips(run) for run in runs))
    number_of = {name: number for number, name in enumerate(classes)}
    names: list[tuple[str, ...]] = [
        () if label < 0 else (rows.classes[label],) for label in rows.labels.tolist()
    ]
    for row, labels in enumerate(rows.label_sets):
        names[row] = labels or names[row]
    places = np.flatnonzero(marked).tolist()
    unseen = [place for place in places if rows.clip_ids[place] not in seen]
    known = [place for place in unseen if not number_of.keys().isdisjoint(names[place])]
    others = [place for place in unseen if number_of.keys().isdisjoint(names[place])]
    targets = np.zeros((len(known), len(classes)), np.float32)
    unknown = Counter[str]()
    for row, place in enumerate(known):
        targets[row, [number_of[name] for name in names[place] if name in number_of]] = 1
        unknown.update(name for name in names[place] if name not in number_of)
    if unknown:
        listed = ", ".join(map(repr, sorted(unknown)[:10]))
        tell([f"labels that the run does not know, of clips tested by their others: {listed}"])
    other_classes = Counter(name for place in others for name in names[place])
    return (
        targets,
        np.array(known, np.int64),
        LeftOut(
            num_of_other_splits=len(rows.clip_ids) - len(places),
            num_seen=len(places) - len(unseen),
            num_unlabeled=sum(not names[place] for place in others),
            other_classes=dict(sorted(other_classes.items())),
        ),
    )


def _reasons(left_out: LeftOut) -> str:
    others, names = sum(left_out.other_classes.values()), list(map(repr, left_out.other_classes))
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    named = f" ({', '.join(names[:10])}{more})" if names else ""
    return (
        f"{left_out.num_of_other_splits} are not marked for testing, {left_out.num_seen} were in "
        f"training, {left_out.num_unlabeled} have no label and "
        f"{others} are of classes that the run does not know{named}"
    )


def _owners(model: TrainedModel, clip_ids: Sequence[str]) -> NDArray[np.int64]:
    """Return the client of each clip that the run tested; -1 for others and shared models."""
    known = read_predictions(model.path)
    client_of = dict(zip(known.clip_ids, known.clients, strict=True))
    clients = [client_of.get(clip) for clip in clip_ids]
    own = set(model.clients)
    return np.array([-1 if c is None or c not in own else c for c in clients], np.int64)


def _per_class(tested: TestedClips, classes: Sequence[str]) -> list[ClassFigures]:
    precision, recall, f1, counts = precision_recall_fscore_support(
        tested.labels, tested.predicted, labels=range(len(classes)), zero_division=0
    )
    return [
        ClassFigures(
            name=name,
            num_clips=int(counts[number]),
            precision=float(precision[number]),
            recall=float(recall[number]),
            f1=float(f1[number]),
        )
        for number, name in enumerate(classes)
    ]


def _client_top1(tested: TestedClips) -> dict[int, float]:
    clients = [int(client) for client in np.unique(tested.clients) if client >= 0]
    return {client: float(tested.right[tested.clients == client].mean()) for client in clients}
