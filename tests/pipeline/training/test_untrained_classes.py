"""Classes that are tested or validated on but never trained are named, in summary and terminal."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from kinestore.pipeline.commands.tables import run_table
from tests.helpers.jobs import federate, train
from tests.helpers.trained import SHORT, clips, described

CLASSES = ["jump", "run", "walk", "swim"]


def with_swim(rows: list[int], **changes: Any) -> Any:
    """Return sixty clips of which these are of a fourth class."""
    labels = np.arange(60) % 3
    labels[rows] = 3
    return described(features=clips().features, labels=labels, classes=CLASSES, **changes)


def shown(summary: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
    Console(width=200).print(run_table(summary, Path("run")))
    return capsys.readouterr().out


def marks(**parts: list[int]) -> list[str | None]:
    """Return the split column of sixty clips: train, but for some."""
    splits: list[str | None] = ["test" if row % 5 == 0 else "train" for row in range(60)]
    for name, rows in parts.items():
        for row in rows:
            splits[row] = name
    return splits


@pytest.mark.parametrize(
    ("data", "choice", "wanted"),
    [
        (
            with_swim([7]),
            {"folds": 5},
            r"^swim: 1 test clips in fold \d, and none to train on$",
        ),
        (
            with_swim([10, 20], splits=marks()),
            {},
            r"^swim: 2 test clips, and none to train on$",
        ),
        (
            with_swim([11, 12], splits=marks(val=[11, 12, 13, 14])),
            {},
            r"^swim: 2 validation clips, and none to train on$",
        ),
        (
            with_swim([3, 4, 5]),
            {"cv": "group"},
            r"^swim: 3 test clips in fold g1, and none to train on$",
        ),
    ],
)
def test_a_class_without_a_training_clip_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: Any, choice: Any, wanted: str
) -> None:
    summary = train(data, out=tmp_path, head="mlp:hidden=4", settings=SHORT, **choice)
    (sentence,) = summary["untrained_classes"]
    assert re.search(wanted, sentence)
    assert sentence in shown(summary, capsys)
    assert "1 classes that were never trained" in shown(summary, capsys)


def test_classes_that_are_all_trained_are_not_spoken_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = train(clips(), out=tmp_path, head="mlp:hidden=4", settings=SHORT)
    assert "untrained_classes" not in summary
    assert "never trained" not in shown(summary, capsys)


def test_clients_left_out_and_noise_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    groups = ["alone" if row == 1 else "abc"[row % 3] for row in range(60)]
    splits = ["test" if row > 47 else "train" for row in range(60)]
    data = clips(groups=groups, splits=splits)
    asked: dict[str, Any] = {"partition": "group", "clients": 4, "rounds": 1, "settings": SHORT}
    asked |= {"head": "mlp:hidden=4", "strategy": "fedavg:clip=1,noise=1"}
    text = shown(federate(data, out=tmp_path, **asked), capsys)
    assert "1 clients with too few clips, left out" in text
    assert "client 1: 1 training clips" in text or "client 0: 1 training clips" in text
    assert "privacy of the model" in text and "for delta 1e-5" in text
    assert "not scaled, as the statistics of clients have no noise" in text
