"""Runs on text that is chosen among prompts are used on videos, with the prompts of the run."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPConfig, CLIPModel

import kinestore as ks
from kinestore.pipeline.extraction.config import ExtractionConfig
from kinestore.pipeline.extraction.outputs import embedding_outputs, read_prompts
from kinestore.pipeline.models.extract_for_run import _choose_extractors, _prompts, extracted_for
from kinestore.pipeline.runs.predictions import read_predictions
from kinestore.store import ViewSpec
from tests.helpers import jobs
from tests.helpers.commands import kinestore
from tests.helpers.networks import randomise, write_clip_vocabulary
from tests.helpers.numbered import make_video
from tests.helpers.stored import clip, embedding

PROMPTS = ["ru", "a person on a bike"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("clip")
    with torch.device("meta"):
        network = CLIPModel(CLIPConfig())
    torch.save(dict(randomise(network).state_dict()), folder / "pytorch_model.bin")
    write_clip_vocabulary(folder)
    yield folder
    (folder / "pytorch_model.bin").unlink()


def prompted_run(folder: Path, **prompts: list[str]) -> Path:
    """A run on one view for each keyword, whose settings have these prompts."""
    store = ks.Store.create(folder / "store")
    store.append_clips([clip(name, label="ab"[at % 2]) for at, name in enumerate("cdefgh")])
    for name, listed in prompts.items():
        settings = {"prompts": listed} if listed else {}
        spec = ViewSpec(extractor=name, shape=(2,), settings=settings)
        store.append(spec, list("cdefgh"), [embedding(n, n % 2) for n in range(6)])
    jobs.train(store.load(list(prompts)), out=folder / "run", epochs=1)
    return folder / "run"


def test_a_run_records_the_prompts_of_its_views_alone(tmp_path: Path) -> None:
    run = prompted_run(tmp_path, texts=PROMPTS, plain=[])
    ((view, listed),) = json.loads((run / "config.json").read_text())["input"]["prompts"].items()
    assert (view.partition("@")[0], listed) == ("texts", PROMPTS)
    assert _prompts(run, ["a", "b"], ExtractionConfig()) == tuple(PROMPTS)
    (tmp_path / "prompts.txt").write_text("running\nsitting\n")
    given = ExtractionConfig(prompts=tmp_path / "prompts.txt")
    assert _prompts(run, ["a"], given) == ("running", "sitting")
    plain = prompted_run(tmp_path / "other", plain=[])
    assert "prompts" not in json.loads((plain / "config.json").read_text())["input"]


def test_an_earlier_run_has_the_prompts_of_its_classes_and_a_changed_one_none(
    tmp_path: Path,
) -> None:
    run = prompted_run(tmp_path, texts=PROMPTS)
    config = json.loads((run / "config.json").read_text())
    sources = [ks.Source(uri=f"/{n}.mp4", label=label) for n, label in enumerate(["b", "A", "b"])]
    for entry, message in {"": None, "x": "prompts=x", "{'v': [1]}": "prompts="}.items():
        config["input"]["prompts"] = {"v": [1]} if entry.startswith("{") else entry
        if not entry:
            del config["input"]["prompts"]
        (run / "config.json").write_text(json.dumps(config))
        if message is None:
            found = _prompts(run, ["b", "A"], ExtractionConfig())
            assert found == read_prompts(None, sources)
            continue
        with pytest.raises(ks.UsageError, match=rf"cannot be used \(config.json: {message}"):
            _prompts(run, ["a"], ExtractionConfig())


def test_views_of_other_prompts_each_are_refused_by_name(tmp_path: Path) -> None:
    run = prompted_run(tmp_path, texts=PROMPTS, others=["walk"])
    with pytest.raises(ks.UsageError, match=r"views texts@.*, others@.* have other prompts each"):
        _prompts(run, ["a", "b"], ExtractionConfig())


def test_other_prompts_than_those_of_the_view_are_refused(weights: Path) -> None:
    where = {"clip-text": weights}
    made = embedding_outputs(["clip-text"], weights=where, device="cpu", prompts=PROMPTS)
    view = made["clip-text"].spec.name
    config = ExtractionConfig(weights=where, device="cpu")
    assert _choose_extractors([view], [], config, PROMPTS) == ["clip-text"]
    with pytest.raises(ks.UsageError, match=r"give -e clip-text:SETTING=VALUE,.*and --prompts as"):
        _choose_extractors([view], [], config, PROMPTS[::-1])


@pytest.mark.slow
def test_videos_get_the_vectors_and_predictions_of_the_store(weights: Path, tmp_path: Path) -> None:
    for number in range(4):
        folder = tmp_path / "videos" / ("run", "sit_down")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        make_video(folder / f"{number}.mp4", 12, first=number)
    (tmp_path / "own.txt").write_text("\n".join(PROMPTS))
    prompts = ["--prompts", str(tmp_path / "own.txt")]
    store, run, videos = tmp_path / "store", tmp_path / "run", tmp_path / "videos"
    how = ["-e", "clip-text", "--weights", str(weights), "--workers", "1"]
    kinestore("extract", videos, "--store", store, *how, *prompts)
    kinestore("train", store, "--features", "clip-text", "--folds", "2", "--out", run)
    config = ExtractionConfig(weights={"clip-text": weights})
    with extracted_for(run, videos, config=config) as (found, _):
        ours, theirs = (one.load("clip-text") for one in (found, ks.Store(store)))
        assert (ours.views, ours.clip_ids) == (theirs.views, theirs.clip_ids)
        np.testing.assert_array_equal(ours.features, theirs.features)
    out = tmp_path / "videos.csv"
    kinestore("predict", run, videos, "--out", out, "--weights", weights)
    kinestore("predict", run, store, "--out", tmp_path / "stored.csv")
    assert out.read_text() == (tmp_path / "stored.csv").read_text()
    assert len(read_predictions(run).clip_ids) == 4
