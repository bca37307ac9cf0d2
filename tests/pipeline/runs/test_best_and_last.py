"""The last step, the chosen one, the best one on the test clips, and convergence."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kinestore as ks
from kinestore.pipeline.runs.best_and_last import FoldCurve, converged_at, summarize_curves
from kinestore.pipeline.runs.reader import read_object
from kinestore.pipeline.runs.summary import InvalidSummary, RunSummary
from tests.helpers.embedded import embedded_store
from tests.helpers.reported import without_pictures

no_pictures = pytest.fixture(scope="module", autouse=True)(without_pictures)

QUICK = ks.TrainingConfig(epochs=2, batch_size=16, learning_rate=1e-2, weight_decay=0.0)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> ks.Features:
    """Clips of seven classes, so that five of them are not all."""
    store = embedded_store(tmp_path_factory.mktemp("steps") / "store", num_clips=70)
    loaded = store.load("vector")
    return replace(loaded, labels=np.arange(70) % 7, classes=list("abcdefg"))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_convergence_by_hand() -> None:
    # Means of five from the fifth step: .20, .40, .60, .796, .796, .80: 99 % of .80 is .792.
    rising = [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.98, 0.0, 1.02]
    assert np.convolve(rising, np.full(5, 0.2), "valid") == pytest.approx(
        [0.2, 0.4, 0.6, 0.796, 0.796, 0.8]
    )
    assert converged_at(rising) == 8
    assert converged_at([0.5] * 5) == 5  # constant: as soon as there are five
    assert converged_at([0.9, 0.1, 0.1, 0.1, 0.1, 0.1]) == 5  # the first is the largest
    assert converged_at([1.0] * 4) is None
    assert converged_at([0.0] * 7) == 5


def test_folds_are_weighted_by_their_clips_and_each_has_its_own_best() -> None:
    first = FoldCurve(name="a", num_test=3, top1=[0.2, 0.9, 0.4], top5=[0.5, 1, 0.6], chosen=3)
    second = FoldCurve(name="b", num_test=1, top1=[0.8, 0.0], top5=[0.9, 0.7], chosen=2)
    found = summarize_curves([first, second], unit="epoch")
    assert found is not None and found.chosen_on_validation is not None
    assert found.last.steps == {"a": 3, "b": 2}
    assert found.last.top1 == pytest.approx((3 * 0.4 + 0.0) / 4)
    assert found.best_on_test.steps == {"a": 2, "b": 1}
    assert found.best_on_test.top1 == pytest.approx((3 * 0.9 + 0.8) / 4)
    assert found.best_on_test.top5 == pytest.approx((3 * 1 + 0.9) / 4)
    assert found.chosen_on_validation.top1 == pytest.approx((3 * 0.4 + 0.0) / 4)
    assert found.steps_to_convergence == {"a": None, "b": None}
    assert summarize_curves([FoldCurve(name="a", num_test=0, top1=[], top5=[])], unit="x") is None


def test_a_federated_run_keeps_test_and_train_by_round_and_client(
    rows: ks.Features, tmp_path: Path
) -> None:
    asked = ks.FederationConfig(num_clients=3, rounds=6, partition="dirichlet:1")
    summary = ks.federate(
        rows, out=tmp_path, head="mlp:hidden=8", federation=asked, training=QUICK, seed=1
    )
    rounds, clients = (rows_of(tmp_path / n) for n in ("metrics.csv", "client_metrics.csv"))
    assert [row["round"] for row in rounds] == list("123456")
    for row in rounds:
        of_round = [one for one in clients if one["round"] == row["round"]]
        for part, kinds in {
            "train": ("train_top1", "train_top5"),
            "test": ("accuracy", "top5"),
        }.items():
            own = [one for one in of_round if one["part"] == part]
            clips = [int(one["clips"]) for one in own]
            for kind, name in zip(("top1", "top5"), kinds, strict=True):
                mean = np.average([float(one[kind]) for one in own], weights=clips)
                assert mean == pytest.approx(float(row[name]))
            assert sum(clips) == (summary.num_train if part == "train" else summary.num_test)
    steps = summary.best_and_last
    assert steps is not None and summary.federation is not None
    accuracies = [float(row["accuracy"]) for row in rounds]
    assert steps.last.top1 == accuracies[-1] == summary.top1
    assert steps.last.top5 == pytest.approx(summary.top5)
    assert steps.best_on_test.top1 == max(accuracies) >= steps.last.top1
    assert steps.best_on_test.steps == {"test": accuracies.index(max(accuracies)) + 1}
    assert steps.chosen_on_validation is None
    best = summary.federation.client_best_top1
    assert best is not None
    for client in range(3):
        reached = [
            float(one["top1"])
            for one in clients
            if (one["client"], one["part"]) == (str(client), "test")
        ]
        assert best[client] == (max(reached) if reached else None)
    read = RunSummary.from_json(read_object(tmp_path, "summary.json"), tmp_path)
    assert (read.best_and_last, read.federation) == (steps, summary.federation)


def test_a_personal_run_keeps_the_accuracy_of_each_client_s_own_model(
    rows: ks.Features, tmp_path: Path
) -> None:
    asked = ks.FederationConfig(num_clients=3, rounds=2, strategy="personal:private=2")
    summary = ks.federate(
        rows, out=tmp_path, head="mlp:hidden=8", federation=asked, training=QUICK, seed=1
    )
    assert summary.federation is not None
    last = [
        row
        for row in rows_of(tmp_path / "client_metrics.csv")
        if (row["round"], row["part"]) == ("2", "test")
    ]
    assert [float(row["top1"]) for row in last] == summary.federation.client_top1
    assert [float(row["top5"]) for row in last] == summary.federation.client_top5
    metrics = rows_of(tmp_path / "metrics.csv")[-1]
    assert float(metrics["top5"]) == pytest.approx(summary.federation.mean_client_top5)


def test_resumed_rounds_leave_the_same_tables(rows: ks.Features, tmp_path: Path) -> None:

    def run(out: Path, *, stop: int | None = None, resume: bool = False) -> None:
        def progress(stage: str, done: int, total: int, note: str = "") -> None:
            if done == stop:
                raise KeyboardInterrupt

        asked = ks.FederationConfig(num_clients=3, rounds=4, checkpoint_every=1, resume=resume)
        ks.federate(
            rows,
            out=out,
            head="mlp:hidden=4",
            federation=asked,
            training=QUICK,
            progress=progress,
        )

    run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", stop=2)
    run(tmp_path / "parts", resume=True)
    tables = [(tmp_path / n / "client_metrics.csv").read_bytes() for n in ("whole", "parts")]
    assert tables[0] == tables[1]


def test_a_central_run_names_last_chosen_and_best(rows: ks.Features, tmp_path: Path) -> None:
    summary = ks.train(
        rows,
        out=tmp_path,
        head="mlp:hidden=8",
        evaluation=ks.EvaluationConfig(validation=0.2),
        training=ks.TrainingConfig(epochs=7, batch_size=16, learning_rate=1e-2, weight_decay=0.0),
    )
    epochs = rows_of(tmp_path / "metrics.csv")
    steps = summary.best_and_last
    assert steps is not None and steps.chosen_on_validation is not None
    assert summary.best_epochs == steps.chosen_on_validation.steps
    assert steps.chosen_on_validation.top1 == summary.top1  # the model that was kept
    assert steps.chosen_on_validation.top5 == pytest.approx(summary.top5)
    assert steps.last.top1 == float(epochs[-1]["test_accuracy"])
    assert steps.best_on_test.top1 == max(float(row["test_accuracy"]) for row in epochs)
    for row in epochs:
        assert float(row["train_top5"]) >= float(row["train_accuracy"])
        assert float(row["test_top5"]) >= float(row["test_accuracy"])
    ks.report(tmp_path, out=tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "best on the test clips, chosen after the fact" in page
    assert "Epochs to convergence" in page


@pytest.mark.parametrize("value", [3, {"last": None}, {"unit": "round"}, "best"])
def test_steps_that_are_none_are_refused(rows: ks.Features, tmp_path: Path, value: Any) -> None:
    ks.train(rows, out=tmp_path, head="mlp:hidden=2", training=QUICK)
    values = read_object(tmp_path, "summary.json") | {"best_and_last": value}
    (tmp_path / "summary.json").write_text(json.dumps(values))
    with pytest.raises(InvalidSummary, match="best_and_last"):
        RunSummary.from_json(values, tmp_path)
