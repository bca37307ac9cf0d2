"""Evaluation on clips that a model has not seen; its statistics against other libraries."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from scipy import stats

import kinestore as ks
from kinestore.pipeline.models.calibration import calibrate
from kinestore.pipeline.models.evaluate_runs import evaluate
from kinestore.pipeline.models.intervals import accuracy_interval
from kinestore.pipeline.models.trained_model import load_model
from tests.helpers import jobs
from tests.helpers.commands import kinestore
from tests.helpers.embedded import embedded_store
from tests.helpers.filmed import coloured_store


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run trained on all clips of three folds of a store."""
    store = embedded_store(tmp_path / "store")
    jobs.train(store.load("vector"), out=tmp_path / "run", epochs=5, folds=3)
    return tmp_path / "run"


def test_clips_of_the_training_are_left_out_also_in_another_store(
    run: Path, tmp_path: Path
) -> None:
    with pytest.raises(ks.UsageError, match="not marked for testing, 45 were in training"):
        evaluate(run, ks.Store(tmp_path / "store"))
    other = embedded_store(tmp_path / "other", first=40, num_clips=30)  # 5 of them are the same
    found = evaluate(run, other)
    assert (found.num_clips, found.left_out.num_seen) == (25, 5)
    assert min(found.clips.clip_ids) == f"{45:032x}" and found.scores.top1 > 0.6


def test_a_validation_clip_counts_as_seen(tmp_path: Path) -> None:
    store = embedded_store(tmp_path / "store")
    summary = jobs.train(store.load("vector"), out=tmp_path / "run", epochs=2, validation=0.3)
    found = evaluate(tmp_path / "run", store)
    assert found.left_out.num_seen == summary["num_train"] + summary["num_validation"]
    assert found.num_clips == summary["num_test"]


def test_classes_that_a_run_does_not_know_are_left_out_and_named(run: Path, tmp_path: Path) -> None:
    other = embedded_store(tmp_path / "other", first=50, num_clips=20, classes="abcd")
    found = evaluate(run, other)
    assert found.left_out.other_classes == {"d": 5} and found.num_clips == 15
    strange = embedded_store(tmp_path / "strange", first=90, num_clips=6, classes="xyz")
    with pytest.raises(ks.UsageError, match=r"6 are of classes .* know \('x', 'y', 'z'\)"):
        evaluate(run, strange)


def test_the_folder_holds_every_figure_and_clip(run: Path, tmp_path: Path) -> None:
    other = embedded_store(tmp_path / "other", first=50, num_clips=40)
    found = evaluate(run, other, out=tmp_path / "out")
    names = ["confusion.png", "evaluation.json", "per_class.csv", "predictions.parquet"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [*names, "reliability.png"]
    figures = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert figures == json.loads(json.dumps(found.to_json())) and figures["num_clips"] == 40
    table = pq.read_table(tmp_path / "out" / "predictions.parquet").to_pylist()
    right = [row["label"] == row["predicted"] for row in table]
    assert sum(right) / 40 == pytest.approx(figures["top1"])
    with (tmp_path / "out" / "per_class.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    recalls = [float(row["recall"]) for row in rows]
    assert np.mean(recalls) == pytest.approx(figures["macro_recall"])
    evaluate(run, other, out=tmp_path / "out")  # an earlier evaluation is replaced
    with pytest.raises(ks.UsageError, match="holds something that is no evaluation"):
        evaluate(run, other, out=tmp_path / "other")


def test_the_probabilities_of_several_runs_are_averaged(tmp_path: Path) -> None:
    store = embedded_store(tmp_path / "store")
    runs = [tmp_path / str(seed) for seed in range(2)]
    for seed, run in enumerate(runs):
        jobs.train(store.load("vector"), out=run, epochs=2, folds=2, seed=seed)
    other = embedded_store(tmp_path / "other", first=50, num_clips=20)
    one, two = (evaluate(run, other).clips.probabilities for run in runs)
    both = evaluate(runs, other).clips
    assert np.array_equal(both.probabilities, (one + two) / 2)
    assert np.array_equal(both.predicted, both.probabilities.argmax(1))
    letters = embedded_store(tmp_path / "letters", classes="abd")
    jobs.train(letters.load("vector"), out=tmp_path / "third", epochs=1)
    with pytest.raises(ks.UsageError, match=r"has other classes than .* \(c, d\)"):
        evaluate([runs[0], tmp_path / "third"], other)


def test_runs_on_8_and_16_frames_are_averaged(tmp_path: Path) -> None:
    store = coloured_store(tmp_path / "store", frames="segments:8x1@16")
    coloured_store_again = ks.Store(tmp_path / "store")
    for count in (4, 8):
        jobs.train_network(
            store,
            out=tmp_path / str(count),
            head="c3d",
            epochs=1,
            device="cpu",
            views=ks.EvaluationViews(num_clips=8 // count),
        )
    found = evaluate([tmp_path / "4", tmp_path / "8"], coloured_store_again)
    each = [evaluate(tmp_path / str(count), store).clips.probabilities for count in (4, 8)]
    assert np.array_equal(found.clips.probabilities, (each[0] + each[1]) / 2)
    runs = [tmp_path / str(count) for count in (4, 8)]
    crops = [load_model(run).choose_views(store, num_crops=3) for run in runs]
    apart = [evaluate(*pair).clips.probabilities for pair in zip(runs, crops, strict=True)]
    both = evaluate(runs, crops)
    assert np.array_equal(both.clips.probabilities, (apart[0] + apart[1]) / 2)
    assert not np.array_equal(both.clips.probabilities, found.clips.probabilities)
    assert both.data.startswith(f"{store.address} (frames:")
    said = kinestore(
        "evaluate", runs[0], store.path, "--average", runs[1], "--test-crops", "3", "--json"
    )
    assert json.loads(said)["calibration_error"] == pytest.approx(both.calibration.error)
    with pytest.raises(ks.UsageError, match="data: a list of 1 for 2 runs; give one for each"):
        evaluate(runs, crops[:1])


def test_calibration_of_a_case_by_hand() -> None:
    # 5 bins. (0.2, 0.4]: 0.3 wrong, 0.4 right: accuracy 1/2, confidence 0.35, gap 0.15, 2 clips.
    # (0.8, 1]: 0.9 right, 1.0 right, 0.9 wrong: 2/3 against 2.8/3, gap 0.8/3, 3 clips.
    # error = (2 x 0.15 + 3 x 0.8/3) / 5 = 1.1/5 = 0.22
    confidence = np.array([0.3, 0.4, 0.9, 1.0, 0.9])
    right = np.array([False, True, True, True, False])
    found = calibrate(confidence, right, num_bins=5)
    assert found.error == pytest.approx(0.22)
    assert [one.num_clips for one in found.bins] == [0, 2, 0, 0, 3]
    assert found.bins[0].accuracy is None and found.bins[1].accuracy == 0.5


def test_sure_and_right_is_calibrated_and_sure_and_wrong_is_not() -> None:
    right = np.array([True, True, False, False])
    assert calibrate(np.array([1.0, 1.0, 0.0, 0.0]), right).error == 0
    assert calibrate(np.ones(4), ~np.ones(4, bool)).error == 1


@pytest.mark.parametrize("num_right", [3, 20, 39])
def test_the_interval_over_clips_is_scipy_s_percentile_bootstrap(num_right: int) -> None:
    right = np.arange(40) < num_right
    low, high = accuracy_interval(right)
    reference = stats.bootstrap(
        (right.astype(float),), np.mean, n_resamples=20_000, method="percentile", random_state=1
    ).confidence_interval
    # accuracies are multiples of 1/40: a quantile may fall on the next one
    assert low == pytest.approx(reference.low, abs=1.01 / 40)
    assert high == pytest.approx(reference.high, abs=1.01 / 40)


def test_clips_of_one_group_are_drawn_together() -> None:
    right = np.repeat([True, False, True, False], 25)
    groups = np.repeat(["a", "b", "c", "d"], 25).tolist()
    low, high = accuracy_interval(right, groups)
    assert (low, high) == (0, 1)  # 4 groups, half of them right: all or none is drawn often
    narrow = accuracy_interval(right)
    assert 0.39 < narrow[0] < 0.42 and 0.58 < narrow[1] < 0.61


def _grouped_mean(hits: NDArray[np.float64], sizes: NDArray[np.float64], axis: int) -> object:
    return hits.sum(axis) / sizes.sum(axis)


def test_the_interval_over_groups_is_scipy_s() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(5, 15, 30)
    groups = np.repeat(np.arange(30), sizes)
    right = rng.random(len(groups)) < rng.random(30)[groups]
    hits = np.bincount(groups, weights=right)
    reference = stats.bootstrap(
        (hits, sizes.astype(float)),
        _grouped_mean,
        paired=True,
        n_resamples=20_000,
        method="percentile",
        random_state=1,
    ).confidence_interval
    low, high = accuracy_interval(right, [str(group) for group in groups])
    # the quantiles of 10,000 resamples of standard deviation 0.04 are known to about 0.001
    assert low == pytest.approx(reference.low, abs=0.005)
    assert high == pytest.approx(reference.high, abs=0.005)


def test_clips_marked_for_testing_alone_are_tested(tmp_path: Path) -> None:
    store = embedded_store(tmp_path / "store")
    jobs.train(store.load("vector"), out=tmp_path / "run", epochs=2, folds=2)
    other = embedded_store(tmp_path / "other", first=50, num_clips=20).load("vector")
    marked = replace(
        other,
        splits=[["train", "val", "test", None][row % 4] for row in range(20)],
        own_columns={"split_2": [["Training", "Testing"][row // 10] for row in range(20)]},
    )
    run = tmp_path / "run"

    def tested(**how: str) -> list[str]:
        found = evaluate(run, marked, **how)  # type: ignore[arg-type]
        assert found.left_out.num_of_other_splits == 20 - found.num_clips
        return found.clips.clip_ids

    assert tested() == marked.clip_ids
    assert tested(split="column") == tested(test_split="test") == marked.clip_ids[2::4]
    assert tested(test_split="validation") == marked.clip_ids[1::4]
    assert tested(split="split_2") == marked.clip_ids[10:]
    assert tested(split="split_2", test_split="train") == marked.clip_ids[:10]
    for how, message in {
        ("test_split", "seventh"): "test_split='seventh': no labeled clip has that mark",
        ("split", "split_3"): "split='split_3': ",
        ("split", "random:0.5"): "must be 'column' or the name of a column",
    }.items():
        with pytest.raises(ks.UsageError, match=message):
            tested(**dict([how]))
    unmarked = replace(marked, splits=[None] * 20)
    with pytest.raises(ks.UsageError, match="split='column': no clip is marked for testing"):
        evaluate(run, unmarked, split="column")


def test_a_run_of_several_machines_is_tested_on_marked_clips_alone(
    run: Path, tmp_path: Path
) -> None:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "partition": "machines"}))
    other = embedded_store(tmp_path / "other", first=50, num_clips=20).load("vector")
    with pytest.raises(ks.UsageError, match="learned from clips on several machines"):
        evaluate(run, other)
    marked = replace(other, splits=["train", "test"] * 10)
    assert evaluate(run, marked, split="column").num_clips == 10
