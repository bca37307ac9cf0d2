"""Validation parts, the epoch that they choose, and patience."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

from kinestore.heads import Standardizer, TrainingConfig, create, fit, predict_logits
from kinestore.heads.support.standardizer import moments_of
from kinestore.pipeline.training.config import EvaluationConfig
from kinestore.pipeline.training.fold import Fold
from kinestore.pipeline.training.folds import choose_folds, hold_validation
from kinestore.store import Features, KinestoreError, UsageError
from tests.helpers.jobs import train, watch
from tests.helpers.trained import SHORT, clips, metrics, saved_mlp, saved_weights

QUICK = TrainingConfig(epochs=12, learning_rate=0.01, batch_size=8)
"""Overfits `noisy` clips within a few epochs."""


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take most of a small run's time, and have tests of their own."""
    for name in ("draw_curves", "draw_confusion"):
        monkeypatch.setattr(
            f"kinestore.pipeline.runs.writer.{name}", lambda *args, **settings: None
        )


def noisy(seed: int, **changes: Any) -> Features:
    """120 clips of which every third has a label drawn at random."""
    features = clips(seed, num_rows=120)
    labels = features.labels.copy()
    labels[::3] = np.random.default_rng(seed).integers(3, size=40)
    return replace(features, labels=labels, **changes)


def marked(middle: str) -> list[str | None]:
    """60 training rows, 30 with this mark, 30 test rows."""
    return [*["train"] * 60, *[middle] * 30, *["test"] * 30]


def validation_losses(run: Path) -> list[float]:
    return [float(row["validation_loss"]) for row in metrics(run)]


def arrays_are_equal(first: Path, second: Path) -> bool:
    a, b = (load_file(run / "model.safetensors") for run in (first, second))
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_weights_kept_are_those_after_the_epoch_with_the_lowest_validation_loss(
    tmp_path: Path, seed: int
) -> None:
    features = noisy(seed, splits=marked("val"))
    summary = train(features, out=tmp_path / "a", settings=QUICK, seed=seed)
    losses = validation_losses(tmp_path / "a")
    best = 1 + int(np.argmin(losses))
    assert len(losses) == 12 and best < 12
    assert summary["best_epochs"] == {"test": best}
    # training without a validation part that ends there
    stopped = noisy(seed, splits=marked("spare"))
    settings = replace(QUICK, epochs=best)
    plain = train(stopped, out=tmp_path / "b", settings=settings, seed=seed)
    assert arrays_are_equal(tmp_path / "a", tmp_path / "b")
    assert summary["top1"] == plain["top1"] == summary["fold_top1"]["test"]
    assert summary["top1"] == float(metrics(tmp_path / "a")[best - 1]["test_accuracy"])


@pytest.mark.parametrize("mark", ["val", "validation"])
def test_validation_figures_are_those_of_the_marked_rows(tmp_path: Path, mark: str) -> None:
    features = noisy(0, splits=marked(mark))
    summary = train(features, out=tmp_path, settings=QUICK)
    counts = [summary[f"num_{name}"] for name in ("train", "validation", "test", "left_out")]
    assert counts == [60, 30, 30, 0]
    head, standardizer = saved_mlp(tmp_path)
    logits = predict_logits(head, torch.from_numpy(standardizer.apply(features.features[60:90])))
    labels = torch.from_numpy(features.labels[60:90])
    row = metrics(tmp_path)[summary["best_epochs"]["test"] - 1]
    loss = nn.functional.cross_entropy(logits, labels).item()
    assert float(row["validation_loss"]) == pytest.approx(loss, rel=1e-6)  # float32
    assert float(row["validation_accuracy"]) == float((logits.argmax(1) == labels).double().mean())


@pytest.mark.parametrize(
    "choice",
    [
        {},  # the split column marks them
        {"validation": 0.25},
        {"folds": 3, "validation": 0.25},
        {"cv": "group", "validation": 0.4, "class_weights": "balanced"},
    ],
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_validation_rows_are_neither_fitted_nor_scored_nor_measured(
    tmp_path: Path, choice: dict[str, Any], seed: int
) -> None:
    features = noisy(seed, splits=marked("spare" if choice else "val"))
    first = first_fold(features, choice, seed)
    values = features.features.copy()
    values[first.validation] *= 100
    labels = features.labels.copy()
    # within the part, so that each class keeps its rows, as the draw needs
    labels[first.validation] = np.roll(labels[first.validation], 1)
    changed = replace(features, features=values, labels=labels if not choice else features.labels)
    train(features, out=tmp_path / "a", settings=SHORT, seed=seed, **choice)
    train(changed, out=tmp_path / "b", settings=SHORT, seed=seed, **choice)
    a, b = (
        [row for row in metrics(tmp_path / run) if row["fold"] == first.name] for run in ("a", "b")
    )
    assert len(a) == 3
    for name in ("train_loss", "train_accuracy", "test_accuracy"):
        assert [row[name] for row in a] == [row[name] for row in b]
    assert [row["validation_loss"] for row in a] != [row["validation_loss"] for row in b]


def first_fold(features: Features, choice: dict[str, Any], seed: int) -> Fold:
    cv, share = choice.get("cv"), choice.get("validation")
    evaluation = EvaluationConfig(cv=cv, folds=choice.get("folds"))
    _, folds = choose_folds(features, evaluation, seed=seed)
    if share is not None:
        folds = hold_validation(features, folds, share=share, whole_groups=cv == "group", seed=seed)
    return folds[0]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_fitted_rows_alone_are_measured(tmp_path: Path, seed: int) -> None:
    features = noisy(seed)
    train(features, out=tmp_path, settings=SHORT, validation=0.3, seed=seed)
    fold = first_fold(features, {"validation": 0.3}, seed)
    fitted = moments_of(features.features[fold.train])
    mean = load_file(tmp_path / "model.safetensors")["standardise.mean"].numpy()
    np.testing.assert_array_equal(mean, fitted.mean)


def held(
    features: Features, *, share: float, cv: str | None = None, seed: int = 0
) -> tuple[list[Fold], list[Fold]]:
    """Folds before and after."""
    evaluation = EvaluationConfig(cv=cv, folds=None if cv else 4)
    _, folds = choose_folds(features, evaluation, seed=seed)
    whole = cv == "group"
    return folds, hold_validation(features, folds, share=share, whole_groups=whole, seed=seed)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("cv", [None, "group"])
@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.99])
def test_a_validation_part_is_taken_from_the_fitted_rows(
    share: float, cv: str | None, seed: int
) -> None:
    for before, after in zip(*held(noisy(seed), share=share, cv=cv, seed=seed), strict=True):
        assert after.name == before.name
        np.testing.assert_array_equal(after.test, before.test)
        assert len(after.train) and len(after.validation)
        together = [*after.train, *after.validation]
        assert sorted(together) == sorted(before.train)
        assert after.train.dtype == after.validation.dtype == np.int64


def test_the_draw_is_by_class_and_by_the_seed() -> None:
    # 45 training rows, 15 a class; one of each is set aside, and round(0.2 * 45) = 9 are taken
    # of the 42, 14 a class: every 14/3 rows, so 3 of each class
    features = clips()
    _, folds = held(features, share=0.2)
    for fold in folds:
        assert np.bincount(features.labels[fold.validation]).tolist() == [3, 3, 3]
    parts = {tuple(held(features, share=0.2, seed=seed)[1][0].validation) for seed in (0, 0, 1, 2)}
    assert len(parts) == 3


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_last_fitted_clip_of_a_class_is_never_held(seed: int) -> None:
    labels = np.array([0] * 40 + [1] * 19 + [2])
    features = clips(labels=labels)
    for before, after in zip(*held(features, share=0.99, seed=seed), strict=True):
        assert set(labels[after.train]) == set(labels[before.train])
        # round(0.99 n) is more than all but one of each class
        assert len(after.train) == len(set(labels[before.train]))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_group_is_shared_by_fitted_validation_and_test_rows(seed: int) -> None:
    features = clips()

    def groups(rows: NDArray[np.int64]) -> set[str | None]:
        return {features.groups[row] for row in rows}

    # 45 rows of three groups. 15 come nearest to 0.01 * 45 as one group is the least, to
    # 0.2 * 45 = 9 and to 0.45 * 45 = 20.25; 30 to 0.55 * 45 = 24.75; one group is left at 0.99
    for share, num_groups in ((0.01, 1), (0.2, 1), (0.45, 1), (0.55, 2), (0.99, 2)):
        for fold in held(features, share=share, cv="group", seed=seed)[1]:
            parts = [groups(rows) for rows in (fold.train, fold.validation, fold.test)]
            assert [len(part) for part in parts] == [3 - num_groups, num_groups, 1]
            assert len(set.union(*parts)) == 4


def test_every_group_can_be_held_in_every_fold() -> None:
    features = clips()
    drawn = {
        (fold.name, features.groups[fold.validation[0]])
        for seed in range(20)
        for fold in held(features, share=0.2, cv="group", seed=seed)[1]
    }
    # one of three groups a fold: in 20 draws each of the twelve is missed once in 3,300 times
    assert len(drawn) == 12


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_patience_ends_training_so_many_epochs_after_the_best(tmp_path: Path, seed: int) -> None:
    features = noisy(seed, splits=marked("val"))
    ticks: list[tuple[int, int, str]] = []
    train(features, out=tmp_path / "whole", settings=QUICK, seed=seed)
    summary = train(
        features,
        out=tmp_path / "short",
        settings=QUICK,
        seed=seed,
        patience=2,
        progress=watch(ticks),
    )
    losses = validation_losses(tmp_path / "short")
    # by hand: the first epoch of which the two before have not been lower than an earlier one
    best, since = 0, 0
    for number, loss in enumerate(validation_losses(tmp_path / "whole")):
        best, since = (number, 0) if loss < losses[best] or number == 0 else (best, since + 1)
        if since == 2:
            break
    assert losses == validation_losses(tmp_path / "whole")[: best + 3]
    assert len(losses) < 12
    assert summary["best_epochs"] == {"test": best + 1}
    counted = [(done, total) for done, total, _ in ticks]
    assert counted == [*((done, 12) for done in range(1, len(losses) + 1)), (12, 12)]


def test_of_equal_losses_the_earliest_is_best(tmp_path: Path) -> None:
    # steps of 1e-30 change no float32 weight, so every epoch has one loss
    still = TrainingConfig(epochs=9, learning_rate=1e-30)
    summary = train(clips(), out=tmp_path, settings=still, validation=0.2, patience=3)
    assert len(set(validation_losses(tmp_path))) == 1
    assert summary["best_epochs"] == {"test": 1}
    assert len(metrics(tmp_path)) == 4


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_model_of_all_rows_is_fitted_for_the_mean_best_epoch(tmp_path: Path, seed: int) -> None:
    features = noisy(seed)
    ticks: list[tuple[int, int, str]] = []
    summary = train(
        features,
        out=tmp_path,
        folds=3,
        validation=0.3,
        patience=3,
        settings=QUICK,
        seed=seed,
        progress=watch(ticks),
    )
    rows = metrics(tmp_path)
    for name, best in summary["best_epochs"].items():
        losses = [float(row["validation_loss"]) for row in rows if row["fold"] == name]
        assert best == 1 + int(np.argmin(losses))
    # each fold has 80 training rows, and 24 become validation rows
    assert (summary["num_validation"], summary["num_train"]) == (3 * 24, 120)
    num_epochs = round(sum(summary["best_epochs"].values()) / 3)
    assert num_epochs < 12
    standardizer = Standardizer.from_moments(moments_of(features.features))
    ready = torch.from_numpy(standardizer.apply(features.features))
    head = create("mlp", in_features=10, num_classes=3, seed=seed)
    settings = replace(QUICK, epochs=num_epochs)
    fit(head, ready, torch.from_numpy(features.labels), config=settings, seed=seed)
    saved = saved_weights(tmp_path)
    assert all(torch.equal(saved[name], array) for name, array in head.state_dict().items())
    left = [total - done for done, total, _ in ticks]
    assert left[-1] == 0 and left == sorted(left, reverse=True)


def test_without_a_validation_part_its_columns_are_empty(tmp_path: Path) -> None:
    summary = train(clips(), out=tmp_path, settings=SHORT)
    assert (summary["num_validation"], summary["best_epochs"]) == (0, {})
    assert summary["validation"] is summary["patience"] is None
    assert summary["settings"]["class_weights"] is None
    for row in metrics(tmp_path):
        assert (row["validation_loss"], row["validation_accuracy"]) == ("", "")


@pytest.mark.parametrize(
    ("changes", "choice", "message"),
    [
        ({}, {"validation": 0.0}, "validation=0.0: must be above 0 and below 1"),
        ({}, {"validation": 1.0}, "validation=1.0: must be above 0 and below 1"),
        ({}, {"validation": 2.0}, "validation=2.0: must be above 0 and below 1"),
        ({}, {"validation": float("nan")}, "validation=nan: must be above 0"),
        ({}, {"patience": 3}, "patience=3: there is no validation part; give validation=0.2"),
        ({}, {"patience": 0, "validation": 0.2}, "patience=0: must be 1 or more"),
        (
            {"splits": ["train"] * 40 + ["val"] * 5 + ["test"] * 15},
            {"validation": 0.2},
            "validation=0.2: the split column marks 5 clips for validation already",
        ),
        (
            {"groups": ["a", "b"] * 30},
            {"cv": "group", "validation": 0.2},
            "validation=0.2: fold 'a' has only one training group",
        ),
        (
            {"splits": ["train"] * 3 + ["test"] * 57},
            {"validation": 0.2},
            "validation=0.2: fold 'test' has only one training clip of each class",
        ),
    ],
)
def test_a_wrong_request_is_named_and_leaves_nothing_behind(
    tmp_path: Path, changes: dict[str, Any], choice: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        train(clips(**changes), out=tmp_path / "run", **choice)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_validation_loss_that_is_never_finite_is_a_failed_job(tmp_path: Path) -> None:
    features = clips(splits=["train"] * 30 + ["val"] * 15 + ["test"] * 15)
    features.features[30:45, :9] = 2.5e38  # within float32, and too much for a layer
    with pytest.raises(KinestoreError, match="validation: the loss was NaN or infinite in every"):
        train(features, out=tmp_path, settings=SHORT)
    assert not (tmp_path / "summary.json").exists()
