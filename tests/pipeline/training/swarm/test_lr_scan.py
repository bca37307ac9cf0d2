"""The learning-rate scan: its rates, its peak and range, its files, and a swarm that takes them."""

import csv
import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import kinestore as ks
from kinestore.heads.training import processes
from kinestore.heads.training.feature_samples import FeatureSamples
from kinestore.pipeline.training.swarm.lr_scan import (
    SCANNED_RATES,
    read_scan,
    scan_rates,
    summarize_scan,
    whole_decades,
)
from kinestore.store import UsageError
from tests.helpers.swarms import HEAD, sequences, swarm

TWO_PROCESSES = replace(processes.ONE_PROCESS, count=2)


def test_the_rates_are_those_of_the_notebooks() -> None:
    assert len(SCANNED_RATES) == 20
    np.testing.assert_allclose(
        SCANNED_RATES[:4], [1e-6, 2.5119e-6, 6.3096e-6, 1.5849e-5], rtol=1e-4
    )
    assert SCANNED_RATES[10] == pytest.approx(1e-2)
    assert SCANNED_RATES[-1] == pytest.approx(39.81, abs=5e-3)


@pytest.mark.parametrize(
    ("peak", "wanted"),
    [
        (SCANNED_RATES[10], (1e-5, 1e-1)),
        (0.0251, (1e-5, 1e-1)),
        (0.398, (1e-3, 10)),
        (1, (1e-3, 10)),
    ],
)
def test_the_range_is_in_whole_decades(peak: float, wanted: tuple[float, float]) -> None:
    assert whole_decades(peak) == wanted


class Bowl(nn.Module):
    """The logit b - w^T A w / 2 against 0, whose loss is a quadratic of w far from its minimum."""

    CURVATURES = (1.0, 0.8)

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor([3.0, 3.0]))

    def forward(self, rows: Tensor) -> Tensor:
        depth = (torch.tensor(self.CURVATURES) * self.weights**2).sum() / 2
        return torch.stack([rows[:, 0] - depth, torch.zeros(len(rows))], 1)


def test_on_a_quadratic_the_peak_lies_below_two_over_the_curvature() -> None:
    heights = torch.linspace(0.05, 1, 160)[:, None]
    samples = FeatureSamples(features=heights, labels=torch.zeros(160, dtype=torch.int64))
    curve = scan_rates(Bowl(), samples, config=ks.SWARM_TRAINING, seed=0)
    peak = max(curve, key=lambda one: one.train_accuracy)
    assert peak.train_accuracy == 1
    assert peak.learning_rate < 2 / max(Bowl.CURVATURES)


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans") / "scan"
    ks.lr_scan(sequences(), out=folder, head=HEAD)
    return folder


def test_a_scan_writes_its_curve_and_reads_it_back(scanned: Path) -> None:
    assert {path.name for path in scanned.iterdir()} == {
        "lr_scan.json",
        "lr_scan.csv",
        "lr_scan.png",
    }
    scan = read_scan(scanned)
    with (scanned / "lr_scan.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["learning_rate"]) for row in rows] == list(SCANNED_RATES[: len(rows)])
    best = max(scan.curve, key=lambda one: one.train_accuracy)
    assert scan.peak == best.learning_rate
    assert scan.config["num_train"] == 36  # a fifth of each class is tested, and not scanned


def test_a_scan_gives_the_same_bits_again(scanned: Path, tmp_path: Path) -> None:
    ks.lr_scan(sequences(), out=tmp_path / "scan", head=HEAD)
    for path in scanned.iterdir():
        assert path.read_bytes() == (tmp_path / "scan" / path.name).read_bytes()


def test_a_swarm_takes_the_peak_its_tenths_and_the_range(scanned: Path, tmp_path: Path) -> None:
    scan = read_scan(scanned)
    rates = scan.rates(particles=4)
    assert rates == [scan.peak, scan.peak / 10, scan.peak / 100, (scan.low, scan.high)]
    swarm(sequences(), tmp_path / "run", epochs=1, learning_rates=rates)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, r"has no lr_scan.json; name a folder that `kinestore lr-scan` made"),
        ("[]", "cannot be used"),
        ("{}", "cannot be used"),
        ('{"peak": NaN}', "cannot be used"),
        ("peak", "are no learning rates"),
    ],
)
def test_a_scan_that_cannot_be_used_is_refused(
    text: str | None, sentence: str, scanned: Path, tmp_path: Path
) -> None:
    if text == "peak":
        values = json.loads((scanned / "lr_scan.json").read_text())
        text = json.dumps({**values, "low": 1.0, "high": 0.5})
    if text is not None:
        (tmp_path / "lr_scan.json").write_text(text)
    with pytest.raises(UsageError, match=sentence):
        read_scan(tmp_path)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds something that is no learning-rate scan"):
        ks.lr_scan(sequences(), out=tmp_path, head=HEAD)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


class Wall(nn.Module):
    """A model of one weight w that has no logit beyond |w| = 1."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.0))

    def forward(self, rows: Tensor) -> Tensor:
        score = rows[:, 0] * self.weight + torch.log(1 - self.weight**2)
        return torch.stack([score, torch.zeros(len(rows))], 1)


def test_a_scan_ends_where_training_diverges(caplog: pytest.LogCaptureFixture) -> None:
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, 1.0, -1.0, -1.0])[:, None]
    samples = FeatureSamples(features=signs, labels=torch.zeros(8, dtype=torch.int64))
    config = replace(ks.SWARM_TRAINING, batch_size=1)
    scan = summarize_scan(scan_rates(Wall(), samples, config=config, seed=0), {})
    assert scan.diverged_at is not None and 0.1 < scan.diverged_at < 30
    assert SCANNED_RATES[len(scan.curve)] == scan.diverged_at
    assert "training diverged; the scan ends here" in caplog.text


def test_a_scan_that_diverges_at_once_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^learning rate 1e-06: training diverged at the lowest"):
        summarize_scan([], {})


def test_torchrun_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "join_processes", lambda _: nullcontext(TWO_PROCESSES))
    with pytest.raises(UsageError, match=r"torchrun: 2 processes, and rates .*`kinestore lr-scan`"):
        ks.lr_scan(sequences(), out=tmp_path / "scan", head=HEAD)
    with pytest.raises(UsageError, match=r"torchrun: 2 processes, and a swarm .*`kinestore swarm`"):
        swarm(sequences(), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_weights_of_classes_reach_the_scan(tmp_path: Path) -> None:
    rows = np.r_[0:6, np.arange(6, 45, 3)]  # few clips of two classes
    curves = []
    for weights in (None, "balanced"):
        training = replace(ks.SWARM_TRAINING, class_weights=weights)
        scan = ks.lr_scan(
            sequences().select(rows), out=tmp_path / str(weights), head=HEAD, training=training
        )
        curves.append([one.train_loss for one in scan.curve])
    assert curves[0] != curves[1]


def test_patience_has_no_meaning_in_a_scan(tmp_path: Path) -> None:
    evaluation = ks.EvaluationConfig(validation=0.2, patience=1)
    with pytest.raises(UsageError, match="patience=1: a scan has no end to choose"):
        ks.lr_scan(sequences(), out=tmp_path / "scan", head=HEAD, evaluation=evaluation)


def test_folds_that_test_what_is_scanned_are_noted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        evaluation = ks.EvaluationConfig(folds=3)
        ks.lr_scan(sequences(), out=tmp_path / "scan", head=HEAD, evaluation=evaluation)
    assert "training clips of fold '1', which the other 2 folds test" in caplog.text
