"""Repeated runs: seeds and divisions, the spread of their figures, and a kill."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from kinestore.__main__ import app
from kinestore.pipeline.runs.predictions import read_predictions
from kinestore.pipeline.runs.summary import RunSummary
from kinestore.pipeline.training.config import EvaluationConfig
from kinestore.pipeline.training.folds import by_random_share, choose_folds
from kinestore.pipeline.training.repeats import repeat, spread_of
from kinestore.pipeline.training.train import train
from kinestore.store import Store, UsageError
from tests.helpers.embedded import embedded_store
from tests.helpers.trained import clips

JOBS: dict[str, list[object]] = {
    "train": ["--epochs", 1],
    "federate": ["--rounds", 1, "--local-epochs", 1, "--clients", 2, "--device", "cpu"],
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return embedded_store(tmp_path_factory.mktemp("embedded") / "store")


def command(job: str, store: Store, out: Path, *more: object) -> str:
    asked = [job, store.path, "--features", "vector", "--out", out, *JOBS[job], *more]
    done = CliRunner().invoke(app, list(map(str, asked)), catch_exceptions=False)
    return str(done.stdout)


def test_the_spread_by_hand() -> None:
    spread = spread_of([0.5, 0.7, 0.9])
    assert (spread.n, spread.max) == (3, 0.9)
    assert spread.mean == pytest.approx(0.7)
    assert spread.std == pytest.approx(0.2)  # the root of (0.04 + 0 + 0.04) / (3 - 1)


@pytest.mark.parametrize("job", JOBS)
def test_repeats_are_the_runs_of_their_seeds(store: Store, tmp_path: Path, job: str) -> None:
    more = ("--split", "random:0.3", "--json")
    found = json.loads(command(job, store, tmp_path / "all", "--repeats", 3, "--seed", 4, *more))
    assert found == json.loads((tmp_path / "all" / "repeats.json").read_text())
    assert (found["seeds"], found["runs"]) == ([4, 5, 6], ["repeat-0", "repeat-1", "repeat-2"])
    alone = json.loads(command(job, store, tmp_path / "alone", "--seed", 5, *more))
    for name in ("top1", "top5", "macro_f1"):
        spread = found["figures"][name]
        assert spread["values"][1] == alone[name]
        assert spread["mean"] == pytest.approx(np.mean(spread["values"]))
        assert spread["std"] == pytest.approx(np.std(spread["values"], ddof=1))
        assert (spread["n"], spread["max"]) == (3, max(spread["values"]))
    assert ("mean_client_top1" in found["figures"]) == (job == "federate")
    own, single = tmp_path / "all" / "repeat-1", tmp_path / "alone"
    assert (own / "model.safetensors").read_bytes() == (single / "model.safetensors").read_bytes()
    tested = [set(read_predictions(tmp_path / "all" / run).clip_ids) for run in found["runs"]]
    assert tested[0] != tested[1] != tested[2] and {len(each) for each in tested} == {14}


def test_the_table_names_mean_deviation_and_maximum(store: Store, tmp_path: Path) -> None:
    shown = command("train", store, tmp_path / "all", "--repeats", 2)
    for part in ("2 runs in", "seeds 0 to 1", "mean", "standard deviation (n - 1)", "maximum"):
        assert part in shown


class StoppedError(Exception):
    """Stands for a kill."""


def test_what_was_stopped_continues_with_the_runs_that_are_missing(
    store: Store, tmp_path: Path
) -> None:
    trained: list[int] = []

    def job(out: Path, seed: int, *, stop: bool = False) -> RunSummary:
        if stop and seed == 2:
            raise StoppedError

        def note(stage: str, done: int, total: int, note: str = "") -> None:
            trained.append(seed)

        data = clips()
        return train(data, out=out, seed=seed, resume=True, progress=note)

    with pytest.raises(StoppedError):
        repeat(lambda out, seed: job(out, seed, stop=True), out=tmp_path, repeats=3)
    assert not (tmp_path / "repeats.json").exists()
    assert set(trained) == {0, 1}
    trained.clear()
    found = repeat(job, out=tmp_path, repeats=3)
    assert set(trained) == {2} and found.figures["top1"].n == 3


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--repeats", 1], "repeats=1: must be 2 or more"),
        (["--split", "random"], "split='random': must be 'column', the name of a column, or"),
        (["--split", "random:1"], "split='random:1': must be 'column', the name of a column, or"),
        (["--split", "random:x"], "split='random:x': must be"),
        (["--split", "shuffle:0.3"], "split='shuffle:0.3': must be"),
    ],
)
def test_what_cannot_be_repeated_is_one_sentence(
    store: Store, tmp_path: Path, more: list[object], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        command("train", store, tmp_path / "all", *more)
    assert not (tmp_path / "all").exists()


def test_a_folder_of_a_run_or_of_more_repeats_is_refused(store: Store, tmp_path: Path) -> None:
    command("train", store, tmp_path / "run")
    with pytest.raises(UsageError, match="is a run; name a new folder for the repeats"):
        command("train", store, tmp_path / "run", "--repeats", 2)
    (tmp_path / "all" / "repeat-3").mkdir(parents=True)
    with pytest.raises(UsageError, match="has repeat-3, and repeats=2 ends before it"):
        command("train", store, tmp_path / "all", "--repeats", 2)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("share", [0.3, 0.1, 0.5])
def test_a_random_division_tests_its_share_of_each_class(seed: int, share: float) -> None:
    rows = clips(splits=["train"] * 60)
    fold = by_random_share(rows, share=share, seed=seed)
    assert len(fold.test) == round(60 * share)
    assert sorted([*fold.train, *fold.test]) == list(range(60))
    counts = np.bincount(rows.labels[fold.test], minlength=3)
    assert counts.max() - counts.min() <= 1
    other = by_random_share(rows, share=share, seed=seed + 1)
    assert fold.test.tolist() != other.test.tolist()
    described, folds = choose_folds(rows, EvaluationConfig(split=f"random:{share}"), seed=seed)
    assert described == f"random division, {share:g} of the clips tested"
    assert folds[0].test.tolist() == fold.test.tolist()
