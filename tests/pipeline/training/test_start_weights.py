"""Weights to start from: files as they lie about, runs, other classes, and what does not fit."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from typer.testing import CliRunner

from kinestore import heads
from kinestore.__main__ import app
from kinestore.heads.training.optimizer import classifier_of
from kinestore.pipeline.training.start_weights import read_start
from kinestore.store import Features, Store, UsageError
from tests.helpers.filmed import coloured_store, numbered_store
from tests.helpers.jobs import federate, federate_network, network_config, train, train_network
from tests.helpers.trained import clips, saved_weights

NET = "correlation:layers=1-1-1-1,width=16"
SHORT = network_config(epochs=1, batch_size=6, learning_rate=0.01)
State = dict[str, Tensor]


def network(num_classes: int = 3, *, seed: int = 0) -> nn.Module:
    return heads.create(
        "correlation", num_classes=num_classes, layers=(1, 1, 1, 1), width=16, seed=seed
    )


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def averaged(state: State) -> State:
    """As torch's running mean of a model has it, with its counter."""
    model = network()
    model.load_state_dict(state)
    return AveragedModel(model).state_dict()


WRAPPINGS: dict[str, Callable[[State], Any]] = {
    "plain": lambda s: s,
    "state_dict": lambda s: {"state_dict": s, "epoch": 3},
    "model": lambda s: {"model": s, "optimizer": {"lr": 0.1}},
    "module.": lambda s: {"state_dict": prefixed(s, "module.")},
    "_orig_mod.": lambda s: {"model": prefixed(s, "_orig_mod.")},
    "module._orig_mod.": lambda s: prefixed(s, "module._orig_mod."),
    "Lightning": lambda s: {"state_dict": prefixed(s, "model."), "hyper": 1},
    "backbone.": lambda s: prefixed(s, "backbone."),
    "ema": lambda s: {"ema": s},
    "model_ema": lambda s: {"epoch": 1, "model_ema": prefixed(s, "module.")},
    "ema_state_dict": lambda s: {"ema_state_dict": s},
    "averaged by torch": lambda s: {"model_ema": averaged(s)},
    "half": lambda s: {n: t.half() if t.is_floating_point() else t for n, t in s.items()},
    "bfloat16": lambda s: {n: t.bfloat16() if t.is_floating_point() else t for n, t in s.items()},
    "double": lambda s: {n: t.double() if t.is_floating_point() else t for n, t in s.items()},
    "without counters": lambda s: {n: t for n, t in s.items() if "num_batches" not in n},
}


@pytest.mark.parametrize("layout", WRAPPINGS)
def test_checkpoints_load_as_they_lie_about(tmp_path: Path, layout: str) -> None:
    state, other, path = network().state_dict(), network(seed=1), tmp_path / "w.pth"
    torch.save(WRAPPINGS[layout](state), path)
    said = read_start(path).load_into(other, classes="abc")
    assert said == f"{path}: all"
    for name, tensor in other.state_dict().items():
        wanted = state[name]
        if layout in ("half", "bfloat16") and tensor.is_floating_point():
            wanted = wanted.to(torch.half if layout == "half" else torch.bfloat16)
        assert tensor.dtype == state[name].dtype
        assert torch.equal(tensor, wanted.to(tensor.dtype)), name


def test_of_a_model_and_its_running_mean_the_model_is_taken_and_the_mean_named(
    tmp_path: Path,
) -> None:
    state, path = network().state_dict(), tmp_path / "w.pth"
    torch.save({"model_ema": network(seed=2).state_dict(), "model": state}, path)
    other = network(seed=1)
    said = read_start(path).load_into(other, classes="abc")
    assert said == f"{path}: all; of several copies in the file 'model', not 'model_ema'"
    assert torch.equal(other.state_dict()["classifier.weight"], state["classifier.weight"])


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("layout", ["plain", "module.", "half", "without classifier"])
def test_a_classifier_of_other_classes_starts_from_random_weights_and_all_else_is_taken(
    tmp_path: Path, layout: str, seed: int
) -> None:
    state, path = network(5, seed=seed).state_dict(), tmp_path / "w.pth"
    dropped = {k: v for k, v in state.items() if not k.startswith("classifier.")}
    torch.save(dropped if layout == "without classifier" else WRAPPINGS[layout](state), path)
    other, fresh = network(3, seed=9), network(3, seed=9).state_dict()
    said = read_start(path).load_into(other, classes="abc")
    why = "the file has none" if "without" in layout else "it has 5 classes, and these are 3"
    assert (
        said
        == f"{path}: all but the classifier classifier, which starts from random weights: {why}"
    )
    for name, tensor in other.state_dict().items():
        wanted = fresh[name] if name.startswith("classifier.") else state[name]
        wanted = wanted.half() if layout == "half" and "classifier" not in name else wanted
        assert torch.equal(tensor, wanted.to(tensor.dtype)), name


MISFITS: dict[str, tuple[Callable[[State], object], str]] = {
    "missing": (
        lambda s: s.pop("stem.0.weight"),
        r"the file lacks 'stem\.0\.weight' \(\(64, 3, 7, 7\) in the network\)",
    ),
    "unknown": (lambda s: s.update(x=torch.zeros(2)), r"unknown 'x' \(\(2,\) in the file\)"),
    "shape": (
        lambda s: s.update({"stem.0.weight": torch.zeros(64, 1, 7, 7)}),
        r"another shape of 'stem\.0\.weight' \(\(64, 1, 7, 7\) in the file, \(64, 3, 7, 7\) in",
    ),
    "type": (
        lambda s: s.update({"stem.0.weight": s["stem.0.weight"].to(torch.int8)}),
        r"another type of 'stem\.0\.weight' \(torch\.int8 in the file, torch\.float32 in the",
    ),
    "width of the classifier": (
        lambda s: s.update({"classifier.weight": torch.zeros(5, 7)}),
        r"another shape of 'classifier\.weight' \(\(5, 7\) in the file, \(3, 512\) in the",
    ),
    "half of the classifier": (
        lambda s: s.pop("classifier.bias"),
        r"the file lacks 'classifier\.bias' \(\(3,\) in the network\)",
    ),
    "bias of other classes": (
        lambda s: s.update({"classifier.bias": torch.zeros(4)}),
        r"another shape of 'classifier\.bias' \(\(4,\) in the file, \(3,\) in the network\)",
    ),
    "NaN": (
        lambda s: s["stem.0.weight"].fill_(torch.nan),
        r"'stem\.0\.weight' holds NaN or infinity; give others",
    ),
}


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit_is_one_sentence_with_name_shapes_and_remedy(
    tmp_path: Path, name: str
) -> None:
    change, said = MISFITS[name]
    state, path = network().state_dict(), tmp_path / "w.pth"
    change(state)
    torch.save(state, path)
    with pytest.raises(UsageError, match=said) as error:
        read_start(path).load_into(network(), classes="abc")
    assert "; give " in str(error.value) and "\n" not in str(error.value)


def test_a_folder_that_is_no_run_and_a_run_that_is_not_finished(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder and no finished run; name a file"):
        read_start(tmp_path)
    train(clips(), out=tmp_path / "run", epochs=1)
    (tmp_path / "run" / "summary.json").unlink()
    with pytest.raises(UsageError, match="run: is not finished"):
        read_start(tmp_path / "run")


# --- heads


def renamed(features: Features, *classes: str) -> Features:
    features.classes[:] = classes
    return features


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_head_goes_on_from_a_run(tmp_path: Path, seed: int) -> None:
    train(clips(seed), out=tmp_path / "first", epochs=1, seed=seed)
    first = saved_weights(tmp_path / "first")
    still: dict[str, Any] = {"epochs": 1, "learning_rate": 1e-30, "weights": tmp_path / "first"}
    summary = train(clips(seed), out=tmp_path / "second", seed=9, **still)
    assert summary["weights_taken"] == f"{tmp_path / 'first'}: all"
    second = saved_weights(tmp_path / "second")
    assert all(torch.equal(second[name], first[name]) for name in first)


@pytest.mark.parametrize("job", [train, federate])
def test_a_run_of_as_many_other_classes_lends_its_trunk(tmp_path: Path, job: Any) -> None:
    train(renamed(clips(), "hop", "run", "walk"), out=tmp_path / "first", epochs=1)
    first = saved_weights(tmp_path / "first")
    more: dict[str, Any] = {"rounds": 2, "clients": 2} if job is federate else {}
    summary = job(
        clips(),
        out=tmp_path / "second",
        weights=tmp_path / "first" / "model.safetensors",
        freeze="trunk",
        epochs=2,
        device="cpu",
        **more,
    )
    assert (
        "starts from random weights: it is of other classes, such as 'hop'"
        in summary["weights_taken"]
    )
    name, _ = classifier_of(heads.create("mlp", in_features=10, num_classes=3))
    for key, tensor in saved_weights(tmp_path / "second").items():
        assert torch.equal(tensor, first[key]) == (not key.startswith(name)), key


def test_weights_of_other_features_are_refused(tmp_path: Path) -> None:
    train(clips(), out=tmp_path / "first", epochs=1)
    other = clips(views=["cnn@0123456789abcdef"])
    with pytest.raises(UsageError, match=r"were trained on motion@.*, and these are cnn@"):
        train(other, out=tmp_path / "second", weights=tmp_path / "first")
    assert not (tmp_path / "second").exists()


def test_a_trunk_that_is_random_is_not_frozen(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"freeze='trunk': the trunk would stay .* give weights"):
        train(clips(), out=tmp_path / "run", freeze="trunk")
    assert not (tmp_path / "run").exists()


# --- networks on frames, from one class list to another


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return coloured_store(tmp_path_factory.mktemp("three") / "store", num_clips=9)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("two") / "videos"
    return numbered_store(folder, "segments:2x5@40", num_frames=[12, 15, 18, 21, 9, 13])


@pytest.fixture(scope="module", params=["correlation", "differential"])
def pretrained(
    request: pytest.FixtureRequest, three: Store, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """A network of three classes, and its run."""
    more = ",strides=" if request.param == "differential" else ""
    head = f"{request.param}:layers=1-1-1-1,width=16{more}"
    out = tmp_path_factory.mktemp("pretrained") / "run"
    train_network(three, out=out, head=head, settings=SHORT)
    return head, out


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_network_of_three_classes_is_fine_tuned_on_two(
    two: Store, pretrained: tuple[str, Path], tmp_path: Path, seed: int
) -> None:
    head, run = pretrained
    asked = ["train", two.path, "--input", "frames", "--head", head, "--out", tmp_path / "run"]
    asked += ["--weights", run, "--epochs", 1, "--freeze", "trunk", "--classifier-lr", 5]
    asked += ["--device", "cpu", "--seed", seed]
    done = CliRunner().invoke(app, list(map(str, asked)), catch_exceptions=False)
    said = "all but the classifier classifier, which starts from random weights: "
    said += "it has 3 classes, and these are"
    assert said in done.output
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["weights_taken"] == f"{run}: {said} 2"
    first, tuned = saved_weights(run), saved_weights(tmp_path / "run")
    for name, tensor in tuned.items():
        assert name.startswith("classifier.") or torch.equal(tensor, first[name]), name
    assert tuned["classifier.weight"].shape[0] == 2


def test_clients_fine_tune_a_network_of_other_classes_as_one_does(
    two: Store, pretrained: tuple[str, Path], tmp_path: Path
) -> None:
    head, run = pretrained
    summary = federate_network(
        two,
        out=tmp_path / "run",
        head=head,
        weights=run / "model.safetensors",
        settings=network_config(epochs=1, batch_size=6, freeze="trunk", schedule="constant"),
        rounds=2,
        clients=2,
        min_clips=1,
    )
    assert (
        "starts from random weights: it has 3 classes, and these are 2" in summary["weights_taken"]
    )
    first, tuned = saved_weights(run), load_file(tmp_path / "run" / "model.safetensors")
    size = sum(tuned[f"head.classifier.{name}"].numel() for name in ("weight", "bias"))
    assert summary["parameters_up"] == summary["parameters_down"] == 2 * 2 * size
    assert (
        summary["bytes_up"] == summary["bytes_down"] == 4 * 2 * 2 * size
    )  # no statistics of norms
    for name in first:
        same = torch.equal(tuned[f"head.{name}"], first[name]) if "classif" not in name else True
        assert same, name


def test_what_was_taken_of_a_backbone_is_said(two: Store, tmp_path: Path) -> None:
    from torchvision.models.resnet import Bottleneck, ResNet

    torch.manual_seed(0)
    trunk = ResNet(Bottleneck, [1, 1, 1, 1], num_classes=7).state_dict()
    torch.save({"state_dict": trunk}, tmp_path / "resnet.pth")
    summary = train_network(
        two,
        out=tmp_path / "run",
        head="correlation:layers=1-1-1-1",
        settings=SHORT,
        weights=tmp_path / "resnet.pth",
    )
    said = f"{tmp_path / 'resnet.pth'}: the backbone; all else starts from random weights"
    assert summary["weights_taken"] == said
    with pytest.raises(
        UsageError, match=r"freeze='trunk': .* the backbone; all else starts from random weights"
    ):
        train_network(
            two,
            out=tmp_path / "frozen",
            head="correlation:layers=1-1-1-1",
            settings=SHORT,
            weights=tmp_path / "resnet.pth",
            freeze="trunk",
        )


@pytest.mark.parametrize("strategy", ["fedavg", "fedprox:mu=0.1", "feddyn"])
def test_of_a_frozen_trunk_no_round_sends_anything(tmp_path: Path, strategy: str) -> None:
    start = tmp_path / "start"
    train(clips(), out=start, head="mlp:hidden=8-4", epochs=1)
    found = federate(
        clips(1), out=tmp_path / "run", head="mlp:hidden=8-4", weights=start, freeze="trunk",
        clients=4, rounds=2, epochs=1, strategy=strategy,
    )  # fmt: skip
    assert found["parameters_up"] == found["parameters_down"] == 2 * 4 * (4 * 3 + 3)
    assert found["bytes_up"] - found["standardise_bytes_up"] == 4 * found["parameters_up"]
    assert found["cost"]["sent_parameters"] == 4 * 3 + 3
    sent = json.loads((tmp_path / "run" / "communication.json").read_text())
    assert (sent["shared_parameters"], sent["head_parameters"]) == (15, 10 * 8 + 8 + 8 * 4 + 4 + 15)
    before, after = saved_weights(start), saved_weights(tmp_path / "run")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"4.weight", "4.bias"}
    saved = load_file(tmp_path / "run" / "model.safetensors")
    assert not any(name.startswith("client.") for name in saved)


def test_a_private_part_that_is_frozen_is_refused(tmp_path: Path) -> None:
    start = tmp_path / "start"
    train(clips(), out=start, head="mlp:hidden=8-4", epochs=1)
    with pytest.raises(UsageError, match=r"private='0': the head has 4 to train"):
        federate(
            clips(1), out=tmp_path / "run", head="mlp:hidden=8-4", weights=start, freeze="trunk",
            strategy="personal:private=0",
        )  # fmt: skip


def test_weights_of_a_run_that_saw_the_tested_clips_are_noted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(clips(), out=tmp_path / "all", epochs=1, folds=2)  # of all clips
    train(clips(), out=tmp_path / "part", epochs=1)  # the same hold-out as below
    for first, noted in (("part", False), ("all", True)):
        caplog.clear()
        with caplog.at_level("INFO"):
            train(clips(), out=tmp_path / "next", epochs=1, weights=tmp_path / first)
        assert ("was trained on 12 of the 12 clips that are tested" in caplog.text) == noted
