"""The training job, its folds and its run folder."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from safetensors.torch import load_file

from heads import FitSettings, Standardiser, create, moments_of, predict
from pipeline.charts import Panel, draw_confusion, draw_curves
from pipeline.folds import by_left_out_group, by_stratified_folds, keep_labelled
from pipeline.runs import open_run
from pipeline.train import train
from store import Features, KinestoreError, UsageError

SHORT = FitSettings(epochs=3)
FILES = {
    "config.json",
    "metrics.csv",
    "model.safetensors",
    "summary.json",
    "curves.png",
    "confusion.png",
}


def clips(seed: int = 0, num_rows: int = 60, **changes: Any) -> Features:
    """Three classes in four groups; the first columns tell the class, one column never varies."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num_rows) % 3
    features = rng.normal(size=(num_rows, 10)).astype(np.float32)
    features[:, :3] += 4 * np.eye(3, dtype=np.float32)[labels]
    features[:, 9] = 7
    values: dict[str, Any] = {
        "features": features,
        "labels": labels,
        "clip_ids": [f"{row:032x}" for row in range(num_rows)],
        "groups": [f"g{row // 3 % 4}" for row in range(num_rows)],
        "splits": [None] * num_rows,
        "uris": [f"/videos/{row}.avi" for row in range(num_rows)],
        "classes": ["jump", "run", "walk"],
        "views": ["motion@0123456789abcdef"],
        "missing": [],
    }
    return Features(**{**values, **changes})


def metrics(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_evaluation_finds_what_can_be_learnt(tmp_path: Path, seed: int) -> None:
    settings = FitSettings(epochs=10)
    choices: list[dict[str, Any]] = [{}, {"cv": "group"}, {"folds": 3}]
    for choice in choices:
        out = tmp_path / str(choice)
        summary = train(clips(seed), out=out, seed=seed, settings=settings, **choice)
        assert summary["top1"] >= 0.9  # chance is 1/3
        assert summary["macro_f1"] >= 0.85


def test_a_run_folder_holds_what_was_asked_and_what_came_of_it(tmp_path: Path) -> None:
    ticks: list[tuple[int, int]] = []

    def on_progress(done: int, total: int) -> None:
        ticks.append((done, total))

    summary = train(clips(), out=tmp_path, seed=3, settings=SHORT, on_progress=on_progress)
    assert {path.name for path in tmp_path.iterdir()} == FILES
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["settings"] == {
        "epochs": 3,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "weight_decay": 1e-2,
    }
    assert (config["job"], config["head"], config["seed"]) == ("train", "mlp", 3)
    assert summary["classes"] == ["jump", "run", "walk"]
    assert summary["features"] == ["motion@0123456789abcdef"]
    assert (summary["num_train"], summary["num_test"]) == (48, 12)
    assert summary["evaluation"] == "stratified hold-out"
    assert ticks == [(1, 3), (2, 3), (3, 3)]


def test_saved_model_scores_as_the_summary_says(tmp_path: Path) -> None:
    splits = ["train" if row < 40 else "test" for row in range(60)]
    features = clips(splits=splits)
    summary = train(features, out=tmp_path, settings=SHORT)
    assert summary["evaluation"] == "split column"
    arrays = load_file(tmp_path / "model.safetensors")
    mean, std = arrays["standardise.mean"].numpy(), arrays["standardise.std"].numpy()
    head = create("mlp", in_features=10, num_classes=3, seed=1)
    prefix = "head."
    head.load_state_dict(
        {key.removeprefix(prefix): w for key, w in arrays.items() if key.startswith(prefix)}
    )
    ready = Standardiser(mean=mean, std=std).apply(features.features[40:])
    predicted = predict(head, torch.from_numpy(ready)).argmax(1).numpy()
    assert float((predicted == features.labels[40:]).mean()) == summary["top1"]
    # measured on the training rows alone
    np.testing.assert_array_equal(mean, moments_of(features.features[:40]).mean)


def test_test_rows_have_no_say_in_the_model(tmp_path: Path) -> None:
    splits = ["train" if row < 40 else "test" for row in range(60)]
    features = clips(splits=splits)
    other = features.features.copy()
    other[40:] *= 100
    train(features, out=tmp_path / "a", settings=SHORT)
    train(replace(features, features=other), out=tmp_path / "b", settings=SHORT)
    a, b = (load_file(tmp_path / name / "model.safetensors") for name in "ab")
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_the_seed_decides_every_figure(tmp_path: Path) -> None:
    def figures(name: str, seed: int) -> list[dict[str, str]]:
        train(clips(), out=tmp_path / name, settings=SHORT, folds=2, seed=seed)
        return metrics(tmp_path / name)

    assert figures("a", 0) == figures("b", 0)
    assert figures("a", 0) != figures("c", 1)


def test_cross_validation_writes_each_fold_and_saves_a_model_of_all_rows(tmp_path: Path) -> None:
    ticks: list[int] = []
    features = clips()
    summary = train(
        features,
        out=tmp_path,
        cv="group",
        settings=SHORT,
        on_progress=lambda done, total: ticks.append(total - done),
    )
    rows = metrics(tmp_path)
    assert [(row["fold"], row["epoch"]) for row in rows] == [
        (f"g{group}", str(epoch)) for group in range(4) for epoch in (1, 2, 3)
    ]
    assert all(0 <= float(row["test_accuracy"]) <= 1 for row in rows)
    assert (summary["num_train"], summary["num_test"], summary["model"]) == (60, 60, "all rows")
    # four groups of 15: the mean over folds is the mean over rows
    assert summary["top1"] == pytest.approx(np.mean(list(summary["fold_top1"].values())))
    assert summary["fold_top1"]["g3"] == float(rows[-1]["test_accuracy"])
    assert ticks == list(range(14, -1, -1))  # 4 folds and the model of all rows, 3 epochs each
    mean = load_file(tmp_path / "model.safetensors")["standardise.mean"].numpy()
    np.testing.assert_array_equal(mean, moments_of(features.features).mean)


def test_metrics_are_on_disk_while_the_run_goes_on(tmp_path: Path) -> None:
    seen: list[int] = []

    def on_progress(done: int, total: int) -> None:
        seen.append(len(metrics(tmp_path)))

    train(clips(), out=tmp_path, settings=SHORT, on_progress=on_progress)
    assert seen == [1, 2, 3]


def test_unlabelled_unmarked_and_missing_clips_are_counted(tmp_path: Path) -> None:
    labels = np.arange(60) % 3
    labels[:5] = -1
    splits = ["train"] * 30 + ["test"] * 20 + ["spare"] * 10
    features = clips(labels=labels, splits=splits, missing=["ab", "cd"])
    summary = train(features, out=tmp_path, split="column", settings=SHORT)
    counts = [summary[f"num_{name}"] for name in ("train", "test", "unlabelled", "left_out")]
    assert counts == [25, 20, 5, 10]
    assert summary["num_missing"] == 2


def test_folds_hold_each_class_evenly_and_each_row_once() -> None:
    features = clips()
    folds = by_stratified_folds(features, num_folds=4, seed=0)
    assert sorted(np.concatenate([fold.test for fold in folds]).tolist()) == list(range(60))
    for fold in folds:
        assert np.bincount(features.labels[fold.test]).tolist() == [5, 5, 5]
        assert sorted([*fold.train, *fold.test]) == list(range(60))


def test_a_left_out_group_is_in_no_fitted_row() -> None:
    features = clips()
    folds = by_left_out_group(features)
    assert [fold.name for fold in folds] == ["g0", "g1", "g2", "g3"]
    for fold in folds:
        assert {features.groups[row] for row in fold.test} == {fold.name}
        assert fold.name not in {features.groups[row] for row in fold.train}


def test_rows_without_label_are_dropped_from_every_column() -> None:
    kept = keep_labelled(clips(num_rows=6, labels=np.array([-1, 1, 2, -1, 1, 2])))
    assert kept.uris == [f"/videos/{row}.avi" for row in (1, 2, 4, 5)]
    assert kept.features.shape == (4, 10)
    assert kept.labels.tolist() == [1, 2, 1, 2]


def nan_row() -> Any:
    features = clips().features.copy()
    features[2, 0] = np.nan
    return features


@pytest.mark.parametrize(
    ("changes", "choice", "message"),
    [
        ({}, {"cv": "group", "folds": 3}, "split=None, cv='group', folds=3: give one of them"),
        ({}, {"cv": "kfold"}, "cv='kfold': must be 'group'; for stratified folds give folds=5"),
        ({}, {"split": "row"}, "split='row': must be 'column'"),
        ({}, {"split": "column"}, "split='column': no labelled clip is marked 'train'"),
        ({"splits": ["train"] * 60}, {"split": "column"}, "no labelled clip is marked 'test'"),
        ({}, {"folds": 1}, "folds=1: must be from 2 to 60, the number of clips"),
        ({}, {"folds": 61}, "folds=61: must be from 2 to 60"),
        (
            {"groups": ["a"] * 59 + [None]},
            {"cv": "group"},
            "group=None for /videos/59.avi: give every clip a group",
        ),
        ({"groups": ["a"] * 60}, {"cv": "group"}, "groups=1: must be 2 or more to leave one out"),
        ({"labels": np.full(60, -1)}, {}, "classes=0 among 0 labelled clips: must be 2 or more"),
        ({"labels": np.zeros(60, np.int64)}, {}, "classes=1 among 60 labelled clips"),
        ({"features": nan_row()}, {}, "features: row 2 holds NaN or infinity"),
        ({"features": np.ones((60, 4, 2), np.float32)}, {}, r"must be \(rows, width\); load a seq"),
        ({}, {"head": "x"}, "head='x': must be one of"),
        ({}, {"seed": -1}, "seed=-1: must be from 0"),
    ],
)
def test_a_wrong_request_is_named_and_leaves_nothing_behind(
    tmp_path: Path, changes: dict[str, Any], choice: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        train(clips(**changes), out=tmp_path / "run", **choice)
    assert not (tmp_path / "run").exists()


def test_too_few_clips_to_hold_out_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="clips=4: must be 5 or more to hold a fifth out"):
        train(clips(num_rows=4), out=tmp_path)


def test_training_that_diverged_is_a_failed_job_and_writes_no_summary(tmp_path: Path) -> None:
    settings = FitSettings(epochs=5, learning_rate=1e30)
    with pytest.raises(KinestoreError, match=r"learning_rate=1e\+30: training diverged") as caught:
        train(clips(), out=tmp_path, settings=settings)
    assert not isinstance(caught.value, UsageError)
    assert not (tmp_path / "summary.json").exists()


def test_an_earlier_run_is_replaced_and_notes_beside_it_stay(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    out = tmp_path / "deep" / "run"
    train(clips(), out=out, settings=SHORT, folds=2)
    (out / "notes.txt").write_text("mine")
    train(clips(), out=out, settings=SHORT)
    assert {path.name for path in out.iterdir()} == FILES | {"notes.txt"}
    assert len(metrics(out)) == 3
    # a new run begins by taking the old one's results away
    open_run(out, {"job": "train"}, columns=["a"]).__exit__(None, None, None)
    assert {path.name for path in out.iterdir()} == {"config.json", "metrics.csv", "notes.txt"}


@pytest.mark.parametrize("content", ['{"model_type": "bert"}', "not json", "[1]"])
def test_a_folder_of_someone_elses_is_never_replaced(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    (tmp_path / "model.safetensors").write_text("weights of another tool")
    with pytest.raises(UsageError, match="holds something that is no run; name a new or empty"):
        train(clips(), out=tmp_path, settings=SHORT)
    assert (tmp_path / "model.safetensors").read_text() == "weights of another tool"


def test_a_file_in_the_place_of_the_run_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    with pytest.raises(UsageError, match="run: is a file; name a folder"):
        train(clips(), out=tmp_path / "run", settings=SHORT)


@pytest.mark.parametrize("num_classes", [2, 101])
def test_confusion_chart_darkens_the_diagonal_of_a_perfect_head(
    tmp_path: Path, num_classes: int
) -> None:
    path = tmp_path / "confusion.png"
    names = [f"Play$Class_{number}" for number in range(num_classes)]
    draw_confusion(path, np.diag(np.full(num_classes, 9)), classes=names)
    picture = imread(path)[..., :3]
    # a class takes 0.2 inches or more at 150 dots an inch
    assert min(picture.shape[:2]) >= 0.2 * 150 * num_classes
    dark_blue = (picture[..., 2] > picture[..., 0] + 0.2) & (picture[..., 0] < 0.2)
    assert dark_blue.any()


def test_curves_are_drawn_for_one_epoch_and_for_missing_values(tmp_path: Path) -> None:
    for values in ([[0.5]], [[np.nan, np.nan]], [[1.0, 0.5], [0.8, np.nan]]):
        panel = Panel(title="Loss", lines={"fitted": np.array(values)})
        draw_curves(tmp_path / "curves.png", [panel], x_label="epoch")
        assert imread(tmp_path / "curves.png").shape[0] > 300
