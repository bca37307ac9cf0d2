"""`kinestore evaluate` and `kinestore predict` on a command line."""

import csv
import json
from pathlib import Path

import pytest

from kinestore.pipeline.extraction.config import ExtractionConfig
from kinestore.pipeline.models.evaluate_runs import evaluate
from kinestore.pipeline.models.extract_for_run import extracted_for
from kinestore.pipeline.models.predict_store import predict
from kinestore.pipeline.models.trained_model import load_model
from kinestore.store import Store, UsageError
from tests.helpers import jobs
from tests.helpers.commands import kinestore
from tests.helpers.embedded import embedded_store
from tests.helpers.filmed import coloured_store
from tests.helpers.numbered import make_video


def test_videos_are_extracted_with_the_features_of_the_run(tmp_path: Path) -> None:
    for number in range(8):
        folder = tmp_path / "known" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        make_video(folder / f"{number}.mp4", 20, first=number)
    new = tmp_path / "new"
    new.mkdir()
    for number in range(3):
        make_video(new / f"{number}.mp4", 20, first=50 + number)
    store, run = tmp_path / "store", tmp_path / "run"
    kinestore("extract", tmp_path / "known", "--store", store, "-e", "motion")
    kinestore("train", store, "--features", "motion", "--epochs", "2", "--out", run)
    kinestore("predict", run, new, "--out", tmp_path / "videos.csv")
    kinestore("extract", new, "--store", tmp_path / "stored", "-e", "motion")
    kinestore("predict", run, tmp_path / "stored", "--out", tmp_path / "stored.csv")
    assert (tmp_path / "videos.csv").read_text() == (tmp_path / "stored.csv").read_text()
    with (tmp_path / "videos.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(Path(row["path"]).name for row in rows) == ["0.mp4", "1.mp4", "2.mp4"]
    assert {row["in_training"] for row in rows} == {"False"}
    (new / "broken.mp4").write_bytes(b"no video")
    said = kinestore("predict", run, new, "--out", tmp_path / "some.parquet", status=3)
    assert "Predictions of 3 clips written to" in said and "Not predicted: " in said
    assert "broken.mp4" in said


def test_evaluate_prints_figures_and_what_was_left_out(tmp_path: Path) -> None:
    store, run = embedded_store(tmp_path / "store"), tmp_path / "run"
    jobs.train(store.load("vector"), out=run, epochs=3)
    said = kinestore("evaluate", run, store.path, "--out", tmp_path / "figures")
    for words in ("test clips", "left out, as in training", "95 % interval over groups", "top-1"):
        assert words in said
    found = json.loads(kinestore("evaluate", run, store.path, "--json"))
    assert found == {
        **json.loads((tmp_path / "figures" / "evaluation.json").read_text()),
        "out": None,
    }
    both = json.loads(kinestore("evaluate", run, store.path, "--average", run, "--json"))
    assert both["top1"] == found["top1"] and len(both["runs"]) == 2


def test_test_views_of_a_network_are_chosen_without_training_again(tmp_path: Path) -> None:
    store, run = coloured_store(tmp_path / "store", frames="segments:4x1@24"), tmp_path / "run"
    jobs.train_network(store, out=run, head="c3d", epochs=1, size=16, device="cpu")
    own = evaluate(run, store).clips.probabilities
    crops = json.loads(kinestore("evaluate", run, store.path, "--test-crops", "3", "--json"))
    assert crops["num_clips"] == len(own)
    more = coloured_store(tmp_path / "more", frames="segments:8x1@24")
    view = load_model(run).choose_views(more, num_clips=2)
    assert view.input.startswith("frames:segments-8x1-24@")
    assert evaluate(run, view).num_clips == len(own)
    said = kinestore("evaluate", run, store.path, "--test-clips", "2", status=2)
    assert "does not keep frames segments:8x1@24; extract them with --frames" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--client", "1"], "is no federated run, and has no client"),
        (["--test-clips", "2"], "mlp takes stored features, which have no test clips"),
        (["--average", "nothing"], "run=nothing: is no run folder"),
        (["--out", "store"], "holds something that is no evaluation"),
    ],
)
def test_a_mistake_is_one_sentence(options: list[str], message: str, tmp_path: Path) -> None:
    store, run = embedded_store(tmp_path / "store"), tmp_path / "run"
    jobs.train(store.load("vector"), out=run, epochs=1)
    given = [str(store.path) if option == "store" else option for option in options]
    said = kinestore("evaluate", run, store.path, *given, status=2)
    assert message in said and len(said.strip().splitlines()) == 1


@pytest.mark.parametrize("option", ["-e", "--weights", "--prompts"])
def test_options_of_videos_are_refused_for_a_store(option: str, tmp_path: Path) -> None:
    store, run = embedded_store(tmp_path / "store"), tmp_path / "run"
    jobs.train(store.load("vector"), out=run, epochs=1)
    out = tmp_path / "p.csv"
    said = kinestore("predict", run, store.path, "--out", out, option, "x", status=2)
    assert f"{option}: is for videos, and" in said and "is a store" in said
    assert not out.exists()


@pytest.mark.slow
def test_videos_are_extracted_with_the_settings_of_the_runs_store(tmp_path: Path) -> None:
    for number in range(6):
        folder = tmp_path / "known" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        make_video(folder / f"{number}.mp4", 20, first=number)
    name, run = "cnn-efficientnet-lite0", tmp_path / "run"
    how = ["--sampling", "keyframes", "--keyframes", "3", "--seed", "5"]
    kinestore("extract", tmp_path / "known", "--store", tmp_path / "store", "-e", name, *how)
    store = Store(tmp_path / "store")
    jobs.train(store.load(name), out=run, epochs=1, folds=2)
    for given, message in {
        (): f"these settings give {name}@.*; give -e {name}:SETTING=VALUE",
        (f"{name}:sampling=keyframes,keyframes=3",): "these settings give",  # another seed
        ("motion",): f"extractor 'motion': the run was trained on {name}@",
    }.items():
        with (
            pytest.raises(UsageError, match=message),
            extracted_for(run, "nothing", config=ExtractionConfig(), extractors=given),
        ):
            pass
    same = f"{name}:sampling=keyframes,keyframes=3,seed=5"
    out = tmp_path / "videos.csv"
    kinestore("predict", run, tmp_path / "known", "--out", out, "-e", same)
    predict(run, store, out=tmp_path / "stored.csv")
    assert out.read_text() == (tmp_path / "stored.csv").read_text()


def test_other_features_are_refused_before_a_video_is_read(tmp_path: Path) -> None:
    make_video(tmp_path / "new.mp4", 12)
    store, run = Store(embedded_store(tmp_path / "store").path), tmp_path / "run"
    jobs.train(store.load("vector"), out=run, epochs=1)
    config = json.loads((run / "config.json").read_text())
    config["input"]["features"] = ["motion@0123456789abcdef"]
    (run / "config.json").write_text(json.dumps(config))
    said = kinestore("predict", run, tmp_path / "new.mp4", "--out", tmp_path / "p.csv", status=2)
    assert "was trained on motion@0123456789abcdef, and these settings give motion@" in said
