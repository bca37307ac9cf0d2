"""Marks of the split column are read as data sets spell them, or refused; never passed over."""

import logging
from collections.abc import Sequence

import pytest

from kinestore.pipeline.training.config import EvaluationConfig
from kinestore.pipeline.training.fold import Fold
from kinestore.pipeline.training.folds import choose_folds
from kinestore.store import UsageError
from tests.helpers.trained import clips


def folds(
    splits: Sequence[str | None], evaluation: EvaluationConfig | None = None
) -> tuple[str, Fold]:
    described, found = choose_folds(
        clips(splits=list(splits)), evaluation or EvaluationConfig(), seed=0
    )
    return described, found[0]


@pytest.mark.parametrize(
    ("train", "held"),
    [
        ("train", "val"),
        ("train", "validate"),
        ("Train", "Test"),
        ("training", "testing"),
        ("TRAIN", "dev"),
        ("train", "eval"),
        (" train", "Held-Out"),
        ("train_set", "test set"),
        ("tr", "te"),
    ],
)
def test_held_out_clips_are_tested_and_never_trained_on(
    train: str, held: str, caplog: pytest.LogCaptureFixture
) -> None:
    described, fold = folds([train, held] * 30)
    assert fold.train.tolist() == list(range(0, 60, 2))
    assert fold.test.tolist() == list(range(1, 60, 2))
    assert not len(fold.validation)
    assert repr(train) in described and repr(held) in described
    assert repr(held) in caplog.text


def test_the_usual_marks_give_no_note(caplog: pytest.LogCaptureFixture) -> None:
    described, fold = folds(["train"] * 20 + ["test"] * 20 + ["validation"] * 20)
    assert (described, len(fold.validation), caplog.text) == ("split column", 20, "")


@pytest.mark.parametrize("middle", ["val", "eval", "Valid", "dev"])
def test_three_parts_are_told_apart(middle: str) -> None:
    _, fold = folds(["Train", middle, "Test"] * 20)
    assert fold.validation.tolist() == list(range(1, 60, 3))
    assert fold.test.tolist() == list(range(2, 60, 3))


@pytest.mark.parametrize(
    "splits",
    [
        ["0", "1", "2"] * 20,
        ["1", "2"] * 30,
        ["train", None] * 30,
        [None, "test"] * 30,
        ["train", "other"] * 30,
        ["left", "right"] * 30,
        ["val", "test"] * 30,
    ],
)
@pytest.mark.parametrize("split", [None, "column"])
def test_marks_with_several_readings_are_refused(
    splits: list[str | None], split: str | None
) -> None:
    with pytest.raises(UsageError, match="do not say which clips are trained on and which"):
        folds(splits, EvaluationConfig(split=split))
    assert folds(splits, EvaluationConfig(folds=5))[0] == "5 stratified folds"


def test_one_mark_for_all_holds_a_fifth_out_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    assert folds(["train"] * 60)[0] == "stratified hold-out"
    assert "all clips are marked 'train'" in caplog.text


def test_clips_with_other_marks_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    _, fold = folds(["train", "test", "spare", None] * 15)
    assert len(fold.train) == len(fold.test) == 15
    assert "15 marked 'spare', 15 without a mark" in caplog.text


def test_a_class_that_is_tested_and_not_trained_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    features = clips()
    labels = features.labels.copy()
    alone = int(labels.max())
    labels[labels == alone] = 0
    labels[7] = alone
    with caplog.at_level(logging.WARNING):
        described, found = choose_folds(clips(labels=labels), EvaluationConfig(folds=5), seed=0)
    assert described == "5 stratified folds" and len(found) == 5
    assert f"no clip trains them: 1 ({features.classes[alone]!r})" in caplog.text


@pytest.mark.parametrize(("num_segments", "noted"), [(1, False), (3, True)])
def test_segments_of_one_video_on_both_sides_are_noted(
    num_segments: int, noted: bool, caplog: pytest.LogCaptureFixture
) -> None:
    uris = [f"/videos/{row // num_segments}.avi#t={row},{row + 2}" for row in range(60)]
    with caplog.at_level(logging.INFO):
        choose_folds(clips(uris=uris), EvaluationConfig(), seed=0)
    assert ("some segments are training clips and others test clips" in caplog.text) == noted
    caplog.clear()
    groups = [uri.partition("#")[0] for uri in uris]
    with caplog.at_level(logging.INFO):
        choose_folds(clips(uris=uris, groups=groups), EvaluationConfig(cv="group"), seed=0)
    assert "some segments" not in caplog.text
