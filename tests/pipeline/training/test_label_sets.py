"""Clips with several labels are learned, scored, saved and predicted; the rest refuses them."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import nn

import kinestore as ks
from kinestore.heads import TrainingConfig
from kinestore.heads.training.feature_samples import fit
from kinestore.pipeline.models.evaluate_runs import evaluate
from kinestore.pipeline.models.predict_store import predict
from kinestore.pipeline.models.trained_model import load_model
from kinestore.pipeline.report.write_comparison import compare
from kinestore.pipeline.runs.predictions import read_predictions
from kinestore.pipeline.training.label_sets import (
    class_counts,
    highest_labels,
    mean_average_precision,
    targets_of,
)
from kinestore.store import Clip, Source, Store, UsageError, ViewSpec
from tests.helpers import jobs
from tests.helpers.commands import kinestore
from tests.helpers.stored import INFO, embedding

NAMES = ["jump", "run", "sit"]


def store_of(folder: Path, *, num_clips: int = 60, seed: int = 0, several: bool = True) -> Store:
    """Clips of the classes whose column is high; half of them have several, one in ten none."""
    store, rng = Store.create(folder), np.random.default_rng(seed)
    shown = rng.random((num_clips, 3)) < 0.5
    if not several:
        shown = np.eye(3, dtype=bool)[rng.integers(3, size=num_clips)]
    names = [f"{seed}-{number:03d}" for number in range(num_clips)]
    for name, row in zip(names, shown, strict=True):
        labels = [label for label, is_there in zip(NAMES, row, strict=True) if is_there]
        extra = {"labels": json.dumps(labels) if len(labels) > 1 else ""}
        label = labels[0] if len(labels) == 1 else None
        source = Source(uri=f"/v/{name}.avi", label=label, extra=extra)
        store.append_clips([Clip(clip_id=name, source=source, info=INFO)])
    rows = 3 * shown + rng.normal(size=shown.shape)
    spec = ViewSpec(extractor="vector", shape=(3,), settings={})
    store.append(spec, names, [embedding(*row) for row in rows])
    return store


QUICK: dict[str, Any] = {"epochs": 20, "learning_rate": 0.01, "head": "mlp:hidden=8"}


def test_mean_average_precision_is_scikit_learn_s_over_classes_with_a_clip() -> None:
    rng = np.random.default_rng(0)
    targets = (rng.random((40, 5)) < 0.3).astype(np.float32)
    targets[:, 3] = 0
    logits = torch.from_numpy(rng.normal(size=(40, 5)))
    wanted = [average_precision_score(targets[:, k], logits[:, k]) for k in (0, 1, 2, 4)]
    assert mean_average_precision(logits, targets) == pytest.approx(np.mean(wanted), abs=1e-12)
    # by hand: of one class, clips ranked right, wrong, right: (1/1 + 2/3) / 2
    ranked = torch.tensor([[3.0], [2.0], [1.0]])
    assert mean_average_precision(ranked, np.array([[1], [0], [1]], np.float32)) == pytest.approx(
        5 / 6
    )


def test_a_clip_is_right_if_its_best_class_is_one_of_its_labels() -> None:
    rng = np.random.default_rng(1)
    logits = torch.from_numpy(rng.normal(size=(200, 6)))
    targets = np.zeros((200, 6), np.float32)
    for row in targets:
        row[rng.choice(6, size=rng.integers(1, 4), replace=False)] = 1
    labels, best = highest_labels(logits, targets), logits.argmax(1).numpy()
    np.testing.assert_array_equal(labels == best, targets[np.arange(200), best] == 1)
    assert (targets[np.arange(200), labels] == 1).all()


def test_the_loss_is_binary_cross_entropy_and_hits_count_any_label() -> None:
    rng = np.random.default_rng(2)
    rows = torch.from_numpy(rng.normal(size=(12, 4)).astype(np.float32))
    targets = torch.from_numpy((rng.random((12, 3)) < 0.6).astype(np.float32))
    targets[:, 0] = 1
    model = nn.Linear(4, 3)
    with torch.no_grad():
        chance = model(rows).sigmoid()
        wanted = -(targets * chance.log() + (1 - targets) * (1 - chance).log()).mean()
        best = model(rows).argmax(1)
    config = TrainingConfig(epochs=1, batch_size=12, device="cpu")
    (epoch,) = fit(model, rows, targets, config=config, seed=0)
    assert epoch.loss == pytest.approx(float(wanted), rel=1e-6)
    assert epoch.accuracy == float(targets[torch.arange(12), best].double().mean())
    assert epoch.top5 == 1


def test_targets_and_counts_have_every_label(tmp_path: Path) -> None:
    rows = store_of(tmp_path).load("vector")
    targets = targets_of(rows)
    for row, sets in enumerate(rows.label_sets):
        single = [rows.classes[rows.labels[row]]] if rows.labels[row] >= 0 else []
        assert [NAMES[k] for k in np.flatnonzero(targets[row])] == (list(sets) or single)
    everything = np.arange(len(rows.labels))
    assert class_counts(rows, everything) == dict(enumerate(targets.sum(0).astype(int).tolist()))
    other = [("jump", "sit") if one else one for one in rows.label_sets]
    changed = ks.Features(**{**vars(rows), "label_sets": other})
    assert changed.fingerprint != rows.fingerprint


@pytest.mark.parametrize("how", [{}, {"folds": 3}, {"validation": 0.3}], ids=str)
def test_a_head_learns_several_labels_and_is_used(how: dict[str, Any], tmp_path: Path) -> None:
    store, other = store_of(tmp_path / "store"), store_of(tmp_path / "other", seed=1)
    found = jobs.train(store.load("vector"), out=tmp_path / "run", **QUICK, **how)
    assert found["mean_average_precision"] >= 0.9  # each class is 3 deviations from its absence
    assert found["top1"] >= 0.9 and found["several_labels"] is True
    assert found["num_unlabeled"] == int((targets_of(store.load("vector")).sum(1) == 0).sum()) > 0
    tested = evaluate(tmp_path / "run", other)
    rows, model = other.load("vector"), load_model(tmp_path / "run")
    labeled = targets_of(rows).any(1)
    chance = model.predict_proba(rows)[labeled]
    wanted = average_precision_score(targets_of(rows)[labeled], chance, average="macro")
    assert tested.mean_average_precision == pytest.approx(wanted, abs=1e-12)
    assert tested.to_json()["mean_average_precision"] == tested.mean_average_precision
    assert chance.sum(1).max() > 1.5  # of each class alone
    hits = targets_of(rows)[labeled][np.arange(len(chance)), chance.argmax(1)]
    assert tested.scores.top1 == pytest.approx(hits.mean())
    if not how:
        own, again = read_predictions(tmp_path / "run"), evaluate(tmp_path / "run", store)
        assert again.clips.clip_ids == own.clip_ids
        assert np.array_equal(again.clips.confidence.astype(np.float32), own.confidence)
        assert again.mean_average_precision == found["mean_average_precision"]


def test_predictions_name_every_likely_class(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store")
    jobs.train(store.load("vector"), out=tmp_path / "run", **QUICK)
    found = predict(tmp_path / "run", store, out=tmp_path / "p.csv")
    rows = list(csv.DictReader((tmp_path / "p.csv").read_text().splitlines()))
    assert [row["labels"] for row in rows] == ["|".join(labels) for labels in found.labels]
    assert any("|" in row["labels"] for row in rows)
    said = kinestore("evaluate", tmp_path / "run", store.path)
    assert "mean average precision" in said
    again = tmp_path / "again"
    trained = kinestore("train", store.path, "--features", "vector", "--out", again)
    assert "mean average precision" in trained


def test_labels_that_a_run_does_not_know_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_of(tmp_path / "store")
    jobs.train(store.load("vector"), out=tmp_path / "run", **QUICK)
    rows = store_of(tmp_path / "other", seed=1).load("vector")
    name = {"sit": "lie"}
    changed = ks.Features(
        **{
            **vars(rows),
            "classes": ["jump", "lie", "run"],
            "labels": np.array([-1, 0, 2, 1])[rows.labels + 1],
            "label_sets": [tuple(name.get(one, one) for one in s) for s in rows.label_sets],
        }
    )
    tested = evaluate(tmp_path / "run", changed)
    assert tested.left_out.other_classes == {"lie": int((rows.labels == 2).sum())}
    assert "labels that the run does not know, of clips tested by their others: 'lie'" in (
        caplog.text
    )


def test_what_takes_one_label_refuses_several_by_name(tmp_path: Path) -> None:
    store, single = store_of(tmp_path / "store"), store_of(tmp_path / "single", several=False)
    features, out = store.load("vector"), tmp_path / "out"
    for settings in ({"class_weights": "balanced"}, {"label_smoothing": 0.1}):
        with pytest.raises(UsageError, match="is for clips with one label, and some have several"):
            jobs.train(features, out=out, epochs=1, **settings)
    message = r"labels: \d+ of 60 clips have several, .*only a head that is trained centrally"
    with pytest.raises(UsageError, match=message):
        jobs.federate(features, out=out, rounds=1)
    with pytest.raises(UsageError, match=message):
        ks.partition(store, partition="iid", num_clients=2)
    assert not out.exists()
    for data, name in ((store, "a"), (store, "b"), (single, "c")):
        jobs.train(data.load("vector"), out=tmp_path / name, **QUICK)
    with pytest.raises(UsageError, match="average runs of the same kind"):
        evaluate([tmp_path / "a", tmp_path / "c"], single)
    with pytest.raises(UsageError, match=message):
        evaluate(tmp_path / "c", store)
    with pytest.raises(UsageError, match="learned clips with several labels, and clips are comp"):
        compare(tmp_path / "a", tmp_path / "b")
    both = evaluate([tmp_path / "a", tmp_path / "b"], store)
    assert both.mean_average_precision == evaluate(tmp_path / "a", store).mean_average_precision
