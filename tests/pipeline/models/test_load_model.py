"""A finished run's model gives what the run itself predicted, and refuses other input."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import kinestore as ks
from kinestore import heads
from kinestore.pipeline.models.evaluate_runs import evaluate
from kinestore.pipeline.models.trained_model import load_model
from kinestore.pipeline.runs.predictions import read_predictions
from tests.helpers import jobs
from tests.helpers.embedded import embedded_store
from tests.helpers.filmed import coloured_store

HEADS = {
    "mlp": ["vector"],
    "mlp:hidden=4": ["vector", "sequence:mean"],
    "gated_fusion:hidden=4": ["vector", "other"],
    "temporal_actionclip:layers=2": ["sequence:sequence"],
    "temporal_rnn:units=4": ["sequence:sequence"],
    "temporal_transformer:dense=8": ["sequence:sequence"],
}
NETWORKS = {
    "c3d": "segments:4x1@16",
    "differential:layers=1-1-1-1,width=16,strides=": "segments:2x5@40",
    "correlation:layers=1-1-1-1,width=16": "segments:4x1@40",
    "cnn_rnn:trunk=resnet18,units=4": "segments:2x1@40",
    "cnn_transformer:trunk=resnet18": "segments:2x1@40",
}


def test_every_head_and_network_is_tried() -> None:
    assert {text.partition(":")[0] for text in (*HEADS, *NETWORKS)} == set(heads.names())


def same_as_the_run(run: Path, store: ks.Store) -> None:
    """The evaluation of a run on its own test clips has the run's bits."""
    found, own = evaluate(run, store), read_predictions(run)
    assert found.clips.clip_ids == own.clip_ids
    assert [found.classes[number] for number in found.clips.predicted] == own.predicted
    assert np.array_equal(found.clips.confidence.astype(np.float32), own.confidence)
    summary = json.loads((run / "summary.json").read_text())
    assert (found.scores.top1, found.scores.macro_f1) == (summary["top1"], summary["macro_f1"])


@pytest.mark.parametrize(("head", "features"), HEADS.items())
def test_a_head_gives_the_bits_of_its_run(head: str, features: list[str], tmp_path: Path) -> None:
    store = embedded_store(tmp_path / "store")
    jobs.train(store.load(features), out=tmp_path / "run", head=head, epochs=3)
    same_as_the_run(tmp_path / "run", store)


@pytest.mark.parametrize(("head", "frames"), NETWORKS.items())
def test_a_network_gives_the_bits_of_its_run(head: str, frames: str, tmp_path: Path) -> None:
    store = coloured_store(tmp_path / "store", frames=frames)
    config = {"epochs": 1, "device": "cpu", "batch_size": 8}
    jobs.train_network(store, out=tmp_path / "run", head=head, **config)
    same_as_the_run(tmp_path / "run", store)


@pytest.mark.parametrize("strategy", ["fedavg", "personal:private=2"])
def test_a_federated_run_gives_its_bits_by_client(strategy: str, tmp_path: Path) -> None:
    store = embedded_store(tmp_path / "store")
    jobs.federate(
        store.load("vector"), out=tmp_path / "run", strategy=strategy, rounds=2, clients=2
    )
    same_as_the_run(tmp_path / "run", store)
    found = evaluate(tmp_path / "run", store)
    own = json.loads((tmp_path / "run" / "summary.json").read_text())["client_top1"]
    if strategy == "fedavg":
        assert found.client_top1 == {}
    else:
        assert [found.client_top1[client] for client in range(2)] == own


def test_a_client_s_model_is_the_common_one_with_its_own_part(tmp_path: Path) -> None:
    store = embedded_store(tmp_path / "store")
    features, run = store.load("vector"), tmp_path / "run"
    jobs.federate(features, out=run, strategy="personal:private=2", rounds=2, clients=2)
    tensors = load_file(run / "model.safetensors")
    common, own = load_model(run), load_model(run, client=1)
    assert own.clients == [0, 1]
    for name in ("2.weight", "2.bias"):
        tensors[f"head.{name}"] = tensors[f"client.1.{name}"].clone()
    assert not np.array_equal(own.predict_proba(features), common.predict_proba(features))
    save_file(tensors, run / "model.safetensors")
    assert np.array_equal(load_model(run).predict_proba(features), own.predict_proba(features))
    with pytest.raises(ks.UsageError, match=r"client=2: .* has clients 0 to 1"):
        load_model(run, client=2)


def test_a_run_tells_on_what_it_was_trained_and_takes_nothing_else(tmp_path: Path) -> None:
    store, run = embedded_store(tmp_path / "store"), tmp_path / "run"
    jobs.train(store.load("sequence:mean"), out=run, epochs=1)
    model = load_model(run)
    view = store.view("sequence").name
    assert model.inputs == [f"{view}:mean"]
    rows = store.load("sequence:mean").features
    assert model.predict(rows) == model.predict(store)
    with pytest.raises(ks.UsageError, match=f"features={view}:max: .* was trained on {view}:mean"):
        model.predict(store.load("sequence:max"))
    with pytest.raises(ks.UsageError, match=r"shape \(12, 9\), and .* takes rows of width"):
        model.predict(np.zeros((12, 9), np.float32))
    other = embedded_store(tmp_path / "other", code=2)
    with pytest.raises(ks.UsageError, match=f"has no view {view}, .* it has sequence@"):
        model.predict(other)
    with pytest.raises(ks.UsageError, match=r"mlp takes features"):
        model.predict(ks.FrameClips(store=store))


def test_a_network_takes_other_test_clips_and_crops_but_no_other_frames(tmp_path: Path) -> None:
    store, run = coloured_store(tmp_path / "store", frames="segments:4x1@24"), tmp_path / "run"
    jobs.train_network(store, out=run, head="c3d", epochs=1, size=16, device="cpu")
    model = load_model(run)
    one = model.predict_proba(store)
    crops = ks.FrameClips(store=store, views=ks.EvaluationViews(num_crops=3))
    assert not np.array_equal(model.predict_proba(crops), one)
    more = coloured_store(tmp_path / "more", frames="segments:8x1@24")
    views = ks.EvaluationViews(num_clips=2)
    found = model.predict_proba(ks.FrameClips(store=more, views=views))
    assert found.shape == one.shape
    with pytest.raises(ks.UsageError, match="has 8 segments a clip, and the network was trained"):
        model.predict_proba(ks.FrameClips(store=more))
    with pytest.raises(ks.UsageError, match="c3d takes clips of frames"):
        model.predict_proba(np.zeros((2, 3)))


def break_config(run: Path, **entries: Any) -> None:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, **entries}))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"input": None}, "has no entry 'input' in config.json, as an earlier version left it"),
        ({"input": []}, r"input=\[\]"),
        ({"input": {"features": []}}, "names no features"),
        ({"input": {"features": ["a"], "widths": ["x"]}}, r"widths=\['x'\]"),
        ({"input": {"features": ["a"], "widths": [2], "num_frames": -1}}, "num_frames=-1"),
        ({"head": 7}, "names no head"),
        ({"head": "mlp:hidden=99999999999"}, "do not fit the network"),
        ({"head": "nothing"}, "head='nothing': must be one of"),
    ],
)
def test_a_run_that_was_changed_is_one_sentence(
    entries: dict[str, Any], message: str, tmp_path: Path
) -> None:
    store, run = embedded_store(tmp_path / "store"), tmp_path / "run"
    jobs.train(store.load("vector"), out=run, epochs=1)
    break_config(run, **entries)
    with pytest.raises(ks.UsageError, match=message):
        load_model(run).predict(store)


def test_tensors_that_were_changed_are_one_sentence(tmp_path: Path) -> None:
    store, run = embedded_store(tmp_path / "store"), tmp_path / "run"
    jobs.train(store.load("vector"), out=run, epochs=1)
    sound = load_file(run / "model.safetensors")
    for name, tensor, message in (
        ("standardise.mean", None, "no valid scaling"),
        ("standardise.std", torch.zeros(3, dtype=torch.float64), "6 means and 3 deviations"),
        ("standardise.mean", torch.full((6,), torch.nan).double(), "holds NaN"),
        ("client.x.weight", torch.zeros(1), "client.'x' is no client"),
        ("head.9.weight", torch.zeros(1), "has an unknown '9.weight'"),
    ):
        tensors = {**sound, name: tensor}
        save_file({k: v for k, v in tensors.items() if v is not None}, run / "model.safetensors")
        with pytest.raises(ks.UsageError, match=message):
            load_model(run).predict(store)
