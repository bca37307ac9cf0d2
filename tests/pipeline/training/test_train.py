"""The training job, its folds and its run folder."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from safetensors.torch import load_file

from kinestore.federated.standardization import federated_standardizer
from kinestore.heads import Standardizer, TrainingConfig, create, fit, predict_logits
from kinestore.heads.support.standardizer import moments_of
from kinestore.pipeline.plotting.run_charts import (
    MOST_NAMED,
    LinePanel,
    draw_confusion,
    draw_curves,
)
from kinestore.pipeline.runs.writer import open_run
from kinestore.pipeline.training.fold_trainer import balanced_weights
from kinestore.pipeline.training.folds import by_left_out_group, by_stratified_folds, keep_labeled
from kinestore.store import Features, KinestoreError, UsageError
from tests.helpers.jobs import train, watch
from tests.helpers.trained import FILES, SHORT, clips, metrics, saved_mlp, saved_weights


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_evaluation_finds_what_can_be_learnt(tmp_path: Path, seed: int) -> None:
    settings = TrainingConfig(epochs=10)
    choices: list[dict[str, Any]] = [{}, {"cv": "group"}, {"folds": 3}]
    for choice in choices:
        out = tmp_path / str(choice)
        summary = train(clips(seed), out=out, seed=seed, settings=settings, **choice)
        assert summary["top1"] >= 0.9  # chance is 1/3
        assert summary["macro_f1"] >= 0.85


def test_a_run_folder_holds_what_was_asked_and_what_came_of_it(tmp_path: Path) -> None:
    ticks: list[tuple[int, int, str]] = []
    summary = train(clips(), out=tmp_path, seed=3, settings=SHORT, progress=watch(ticks))
    assert {path.name for path in tmp_path.iterdir()} == FILES
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    config = json.loads((tmp_path / "config.json").read_text())
    wanted = {"epochs": 3, "batch_size": 32, "learning_rate": 1e-3, "weight_decay": 1e-2}
    assert {name: config["settings"][name] for name in wanted} == wanted
    assert config["settings"]["optimizer"] == "adam"
    assert (config["job"], config["head"], config["seed"]) == ("train", "mlp", 3)
    assert summary["classes"] == ["jump", "run", "walk"]
    assert summary["features"] == ["motion@0123456789abcdef"]
    assert (summary["num_train"], summary["num_test"]) == (48, 12)
    assert summary["evaluation"] == "stratified hold-out"
    assert [tick[:2] for tick in ticks] == [(1, 3), (2, 3), (3, 3)]


def test_saved_model_scores_as_the_summary_says(tmp_path: Path) -> None:
    splits = ["train" if row < 40 else "test" for row in range(60)]
    features = clips(splits=splits)
    summary = train(features, out=tmp_path, settings=SHORT)
    assert summary["evaluation"] == "split column"
    head, standardizer = saved_mlp(tmp_path)
    ready = standardizer.apply(features.features[40:])
    predicted = predict_logits(head, torch.from_numpy(ready)).argmax(1).numpy()
    assert float((predicted == features.labels[40:]).mean()) == summary["top1"]
    # measured on the training rows alone
    np.testing.assert_array_equal(standardizer.mean, moments_of(features.features[:40]).mean)


@pytest.mark.parametrize(
    "choice",
    [{}, {"validation": 0.3, "patience": 2, "class_weights": "balanced"}, {"marks": "val"}],
)
def test_test_rows_have_no_say_in_the_model(tmp_path: Path, choice: dict[str, Any]) -> None:
    choice = dict(choice)
    marks = ["train"] * 30 + [choice.pop("marks", "train")] * 10 + ["test"] * 20
    settings = TrainingConfig(epochs=8, learning_rate=0.02)
    features = clips(splits=marks)
    other, labels = features.features.copy(), features.labels.copy()
    other[40:] *= 100
    labels[40:] = 2 - labels[40:]
    changed = replace(features, features=other, labels=labels)
    a = train(features, out=tmp_path / "a", settings=settings, **choice)
    b = train(changed, out=tmp_path / "b", settings=settings, **choice)
    assert a["top1"] != b["top1"]
    assert a["best_epochs"] == b["best_epochs"]
    assert len(metrics(tmp_path / "a")) == len(metrics(tmp_path / "b"))
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in "ab")
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_the_seed_decides_every_figure(tmp_path: Path) -> None:
    def figures(name: str, seed: int) -> list[dict[str, str]]:
        train(clips(), out=tmp_path / name, settings=SHORT, folds=2, seed=seed)
        return metrics(tmp_path / name)

    assert figures("a", 0) == figures("b", 0)
    assert figures("a", 0) != figures("c", 1)


def test_cross_validation_writes_each_fold_and_saves_a_model_of_all_rows(tmp_path: Path) -> None:
    ticks: list[tuple[int, int, str]] = []
    features = clips()
    summary = train(
        features,
        out=tmp_path,
        cv="group",
        settings=SHORT,
        progress=watch(ticks),
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
    assert [total - done for done, total, _ in ticks] == list(
        range(14, -1, -1)
    )  # 4 folds and the model of all rows, 3 epochs each
    mean = load_file(tmp_path / "model.safetensors")["standardise.mean"].numpy()
    np.testing.assert_array_equal(mean, moments_of(features.features).mean)


def test_metrics_are_on_disk_while_the_run_goes_on(tmp_path: Path) -> None:
    seen: list[int] = []

    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        seen.append(len(metrics(tmp_path)))

    train(clips(), out=tmp_path, settings=SHORT, progress=progress)
    assert seen == [1, 2, 3]


def test_unlabeled_unmarked_and_missing_clips_are_counted(tmp_path: Path) -> None:
    labels = np.arange(60) % 3
    labels[:5] = -1
    splits = ["train"] * 30 + ["test"] * 20 + ["spare"] * 10
    features = clips(labels=labels, splits=splits, missing=["ab", "cd"])
    summary = train(features, out=tmp_path, split="column", settings=SHORT)
    counts = [summary[f"num_{name}"] for name in ("train", "test", "unlabeled", "left_out")]
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
    kept = keep_labeled(clips(num_rows=6, labels=np.array([-1, 1, 2, -1, 1, 2])))
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
        ({}, {"cv": "kfold"}, "column 'kfold': is not in the store, which has"),
        ({}, {"split": "row"}, "column 'row': is not in the store, which has label"),
        ({}, {"split": "column"}, "split='column': no labeled clip is marked"),
        (
            {"splits": ["train"] * 60},
            {"split": "column"},
            "its marks 'train' do not say which clips are trained on",
        ),
        ({}, {"folds": 1}, "folds=1: must be from 2 to 60, the number of clips"),
        ({}, {"folds": 61}, "folds=61: must be from 2 to 60"),
        (
            {"groups": ["a"] * 59 + [None]},
            {"cv": "group"},
            "group=None for /videos/59.avi: give every clip a group",
        ),
        ({"groups": ["a"] * 60}, {"cv": "group"}, "groups=1: must be 2 or more to leave one out"),
        ({"labels": np.full(60, -1)}, {}, "classes=0 among 0 labeled clips: must be 2 or more"),
        ({"labels": np.zeros(60, np.int64)}, {}, "classes=1 among 60 labeled clips"),
        ({"features": nan_row()}, {}, "features: row 2 holds NaN or infinity"),
        (
            {"features": np.ones((60, 4, 2), np.float32)},
            {},
            r"each row is a sequence of shape \(4, 2\), .*; load it pooled, as VIEW:stats, or take",
        ),
        ({}, {"head": "temporal_rnn"}, "each row is a vector of width 10, .*, as VIEW:sequence"),
        ({}, {"head": "temporal_transformer"}, "is a vector of width 10, .*, as VIEW:sequence"),
        ({}, {"head": "x"}, "head='x': must be one of"),
        ({}, {"head": "mlp:width=3"}, "'width' is no setting; mlp takes hidden"),
        ({}, {"head": "mlp:hidden=0"}, r"hidden=\(0,\): each width must be 1 or more"),
        ({}, {"class_weights": "x"}, "class_weights='x': must be balanced"),
        ({}, {"settings": TrainingConfig(epochs=0)}, "epochs=0: must be 1 or more"),
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
    with pytest.raises(UsageError, match="clips=4: must be 5 or more to hold out a fifth"):
        train(clips(num_rows=4), out=tmp_path)


def test_training_that_diverged_is_a_failed_job_and_writes_no_summary(tmp_path: Path) -> None:
    settings = TrainingConfig(epochs=5, learning_rate=1e30)
    with pytest.raises(
        KinestoreError, match=r"training diverged, .* use a lower learning_rate than 1e\+30"
    ) as caught:
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


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_head_takes_settings_and_learns(tmp_path: Path, seed: int) -> None:
    settings = TrainingConfig(epochs=15, learning_rate=0.01)
    summary = train(clips(seed), out=tmp_path, head="mlp:hidden=8", seed=seed, settings=settings)
    assert summary["head"] == "mlp:hidden=8"
    assert json.loads((tmp_path / "config.json").read_text())["head"] == "mlp:hidden=8"
    # by hand: 10 columns, 8 hidden, 3 classes
    assert [tuple(w.shape) for w in saved_weights(tmp_path).values()] == [
        (8,),
        (8, 10),
        (3,),
        (3, 8),
    ]
    assert summary["top1"] >= 0.9  # chance is 1/3


def sequences(seed: int, *, in_order: bool = True) -> Features:
    """60 clips of 4 frames, 5 columns: a course over time tells the class, or a column's peak."""
    rng = np.random.default_rng(seed)
    features = clips(seed)
    frames = 0.3 * rng.normal(size=(60, 4, 5))
    if in_order:  # rising, falling, alternating: alike in each column's mean and spread
        ramp = np.array([-1.5, -0.5, 0.5, 1.5])
        courses = np.stack([ramp, ramp[::-1], ramp[[1, 3, 0, 2]]])
        frames += courses[features.labels][..., None]
    else:
        frames[np.arange(60), rng.integers(4, size=60), features.labels] += 4
    return replace(features, features=(50 + 20 * frames).astype(np.float32), widths=[5])


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("head", "in_order"),
    [
        ("temporal_rnn:cell=lstm,units=16,dense=16", True),
        ("temporal_transformer:positions=learned,heads=2,dense=32", False),
    ],
)
def test_temporal_heads_learn_from_sequences(
    tmp_path: Path, head: str, in_order: bool, seed: int
) -> None:
    features = sequences(seed, in_order=in_order)
    settings = TrainingConfig(epochs=40, learning_rate=0.01)
    summary = train(features, out=tmp_path, folds=3, head=head, seed=seed, settings=settings)
    assert summary["top1"] >= 0.9  # chance is 1/3
    # a column is standardised over the frames of all rows
    arrays = load_file(tmp_path / "model.safetensors")
    frames = features.features.reshape(240, 5).astype(np.float64)
    # float64 sums of 240 terms: 1e-12 leaves three digits of room
    np.testing.assert_allclose(arrays["standardise.mean"].numpy(), frames.mean(0), rtol=1e-12)
    np.testing.assert_allclose(arrays["standardise.std"].numpy(), frames.std(0), rtol=1e-12)


@pytest.mark.parametrize("block_values", [2**25, 30, 1])
def test_sequences_are_standardised_as_their_frames_in_blocks_of_any_size(
    monkeypatch: pytest.MonkeyPatch, block_values: int
) -> None:
    features = sequences(0).features
    wanted = Standardizer.from_moments(moments_of(features.reshape(240, 5)))
    ready = wanted.apply(features.reshape(240, 5)).reshape(60, 4, 5)
    monkeypatch.setattr("kinestore.heads.support.standardizer._BLOCK_VALUES", block_values)
    moments = moments_of(features)
    assert moments.count == 240
    standardizer = Standardizer.from_moments(moments)
    np.testing.assert_array_equal(standardizer.mean, wanted.mean)
    np.testing.assert_allclose(standardizer.std, wanted.std, rtol=1e-12)  # sums in another order
    np.testing.assert_array_equal(wanted.apply(features), ready)
    agreed, _ = federated_standardizer(features, [np.arange(10), np.arange(10, 60)])
    np.testing.assert_allclose(agreed.std, wanted.std, rtol=1e-12)
    with pytest.raises(UsageError, match=r"shape \(60, 0, 5\), must be .* with a frame"):
        moments_of(features[:, :0])
    with pytest.raises(UsageError, match=r"must be \(rows, 5\) as .* \(rows, frames, 5\)"):
        standardizer.apply(features[..., :4])


def test_balanced_weights_are_n_over_the_classes_times_their_rows() -> None:
    # 6 rows in 2 classes that occur: 6 / (2 * 4), 6 / (2 * 2), and nothing to weigh in class 1
    weights = balanced_weights(np.array([0, 0, 2, 0, 2, 0]), num_classes=3)
    assert weights.dtype == torch.float32
    assert weights.tolist() == [0.75, 0.0, 1.5]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_class_weights_are_those_of_the_fitted_rows(tmp_path: Path, seed: int) -> None:
    labels = np.array([0] * 30 + [1] * 10 + [1] * 5 + [2] * 15)  # class 2 is in no fitted row
    features = clips(seed, labels=labels, splits=["train"] * 40 + ["test"] * 20)
    train(features, out=tmp_path, class_weights="balanced", seed=seed, settings=SHORT)
    ready = Standardizer.from_moments(moments_of(features.features[:40])).apply(
        features.features[:40]
    )
    head = create("mlp", in_features=10, num_classes=3, seed=seed)
    rows = torch.from_numpy(ready), torch.from_numpy(labels[:40])
    weights = torch.tensor([40 / (2 * 30), 40 / (2 * 10), 0])
    fit(head, *rows, config=SHORT, seed=seed, class_weights=weights)
    saved = saved_weights(tmp_path)
    assert all(torch.equal(saved[name], array) for name, array in head.state_dict().items())


@pytest.mark.parametrize("choice", [{}, {"validation": 0.2, "class_weights": "balanced"}])
def test_twenty_folds_of_classes_with_fewer_rows(tmp_path: Path, choice: dict[str, Any]) -> None:
    labels = np.array([0] * 50 + [1] * 9 + [2])
    features = clips(labels=labels)
    summary = train(features, out=tmp_path, folds=20, settings=TrainingConfig(epochs=2), **choice)
    assert summary["evaluation"] == "20 stratified folds"
    assert (summary["num_test"], len(summary["fold_top1"])) == (60, 20)
    folds = by_stratified_folds(features, num_folds=20, seed=0)
    assert {len(fold.test) for fold in folds} == {3}
    assert sum(2 not in labels[fold.train] for fold in folds) == 1
    assert all(np.isfinite(summary[name]) for name in ("top1", "top5", "macro_f1"))


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
        panel = LinePanel(title="Loss", lines={"fitted": np.array(values)})
        draw_curves(tmp_path / "curves.png", [panel], x_label="epoch")
        assert imread(tmp_path / "curves.png").shape[0] > 300


def test_confusion_chart_of_thousands_of_classes_stays_small_and_shows_them_all(
    tmp_path: Path,
) -> None:
    def draw(num_classes: int) -> Any:
        path = tmp_path / f"{num_classes}.png"
        names = [f"class {number}" for number in range(num_classes)]
        draw_confusion(path, np.diag(np.full(num_classes, 9)), classes=names)
        return imread(path)[..., :3]

    started = time.perf_counter()
    picture = draw(2000)
    assert time.perf_counter() - started < 30  # about 3 s on one core of 2024
    assert picture.shape == draw(MOST_NAMED + 1).shape
    assert max(picture.shape) < 3000
    bluish = picture[..., 2] > picture[..., 0] + 0.1
    # the diagonal goes all the way: most of the rows and columns of pixels hold some of it
    assert bluish.any(0).mean() > 0.85 and bluish.any(1).mean() > 0.85


def test_confusion_chart_shortens_labels_that_are_whole_texts(tmp_path: Path) -> None:
    names = ["a person opens a door " * 200, "b"]
    draw_confusion(tmp_path / "confusion.png", np.eye(2, dtype=np.int64), classes=names)
    assert max(imread(tmp_path / "confusion.png").shape) < 2000


def test_curves_go_on_as_the_mean_of_the_folds_that_do(tmp_path: Path) -> None:
    def blue(values: list[list[float]]) -> Any:
        panel = LinePanel(title="Loss", lines={"fitted": np.array(values)}, is_fraction=True)
        draw_curves(tmp_path / "curves.png", [panel], x_label="epoch")
        picture = imread(tmp_path / "curves.png")[..., :3]
        return (picture[..., 2] > picture[..., 0] + 0.5).any(0)

    whole = blue([[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]])
    stopped = blue([[0.5, np.nan, np.nan, np.nan], [0.5, 0.5, 0.5, 0.5]])
    np.testing.assert_array_equal(stopped, whole)
