"""Networks of other libraries: as large as published, and the same function as there."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from kinestore import extractors
from kinestore.extractors import _runner, slowfast
from kinestore.extractors._video_network import VideoNetwork
from kinestore.pipeline.training.federated.communication_report import (
    FROZEN_PARAMETERS,
)
from kinestore.pipeline.training.federated.communication_report import (
    network_of as shared_network,
)
from kinestore.store import UsageError
from tests.helpers.networks import (
    cosine,
    count_parameters,
    in_bfloat16,
    noise_clip,
    randomise,
    relative_error,
)

VIDEO = ("slow", "slowfast", "i3d", "r3d", "videomae")


def network_of(name: str) -> VideoNetwork:
    network: VideoNetwork = importlib.import_module(f"kinestore.extractors.{name}").NETWORK
    return network


@pytest.mark.parametrize(
    ("name", "num_classes", "count", "width"),
    [
        ("blip", None, 223_971_644, 768),
        ("blip-text", None, 223_971_644, 768),
        ("blip-image", None, 223_971_644, 768),
        ("clip", None, 151_277_313, 512),
        ("clip-text", None, 151_277_313, 512),
        ("slow", 400, 32_454_096, 2048),
        ("slowfast", 400, 34_566_488, 2304),  # printed as "Slow" in FLAMeST's table
        ("i3d", 400, 28_043_472, 2048),
        ("r3d", 400, 33_371_472, 512),
        ("videomae", 101, 86_304_869, 768),
        ("cnn-densenet201", 0, 18_092_928, 1920),
        ("cnn-efficientnet-lite0", 0, 3_371_008, 1280),
        ("cnn-resnet152", 0, 58_143_808, 2048),
    ],
)
def test_networks_have_as_many_parameters_as_published_and_are_as_wide(
    name: str, num_classes: int | None, count: int, width: int
) -> None:
    module: Any = extractors.module_of(name)
    with torch.device("meta"):
        if num_classes is None:
            network, found = module.architecture(), module._WIDTH
        elif num_classes:
            network, found = module.NETWORK.build(num_classes), module.NETWORK.width
        else:
            network = module._timm_network(name)
            network.reset_classifier(0)
            found = network.head_hidden_size
    assert (count_parameters(network), found) == (count, width)
    assert FROZEN_PARAMETERS[shared_network(name)] == count  # what communication.json compares with


@pytest.fixture(scope="module")
def saved(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, nn.Module, Path]]:
    """A video network of its library's with random weights, and its file."""
    name = request.param
    network = randomise(network_of(name).build(5))
    path = tmp_path_factory.mktemp(name) / "weights.pth"
    torch.save(network.state_dict(), path)
    yield name, network, path
    path.unlink()


each_network = pytest.mark.parametrize(
    "saved",
    ["r3d", *(pytest.param(name, marks=pytest.mark.slow) for name in VIDEO if name != "r3d")],
    indirect=True,
)


def plain_scores(name: str, network: Any, clips_BCTHW: Tensor) -> Tensor:
    """The library's own forward, to the scores of the classes."""
    if name == "slowfast":
        return network(slowfast.split_pathways(clips_BCTHW))  # type: ignore[no-any-return]
    if name == "videomae":
        return network(clips_BCTHW.transpose(1, 2)).logits  # type: ignore[no-any-return]
    return network(clips_BCTHW)  # type: ignore[no-any-return]


@each_network
def test_vectors_lead_to_the_scores_of_the_library_s_own_forward(
    saved: tuple[str, nn.Module, Path],
) -> None:
    name, plain, path = saved
    extractor = extractors.create(name, weights=path, device="cpu")
    network = network_of(name)
    batch = [extractor.prepare(noise_clip(seed)) for seed in (0, 1)]
    pixels = batch[0].pixels
    assert (
        pixels.shape[:2] == (network.frames_for(extractors.FrameChoice(), name=name), 3)
        and pixels.dtype == np.uint8
    )
    alone = [extractor.embed([clip])[0].vector for clip in batch]
    assert alone[0].shape == extractor.spec.shape == (network.width,)

    mean, std = (torch.tensor(values).view(3, 1, 1, 1) for values in moments(network))
    clips_BCTHW = ((torch.from_numpy(pixels).transpose(0, 1) / 255 - mean) / std)[None]
    state = plain.state_dict()
    weight, bias = state[network.classifier], state[network.classifier.replace("weight", "bias")]
    with torch.inference_mode():
        theirs = plain_scores(name, plain, clips_BCTHW)[0]
    ours = torch.from_numpy(alone[0]) @ weight.T + bias
    assert relative_error(ours, theirs) < 1e-5  # float32, in another order

    together = [found.vector for found in extractor.embed(batch)]
    assert np.array_equal(together, alone)  # to the bit, or a crash would show in a store

    halved = in_bfloat16(name, weights=path)
    assert cosine(halved.embed(batch[:1])[0].vector, alone[0]) > 0.999
    assert halved.spec.settings["compute_dtype"] == "bfloat16"
    assert halved.spec.fingerprint != extractor.spec.fingerprint


def moments(network: VideoNetwork) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return network.preprocessing.mean, network.preprocessing.std


@pytest.mark.parametrize("name", VIDEO)
def test_files_in_the_publisher_s_layout_load_and_others_are_refused(
    name: str, tmp_path: Path
) -> None:
    network = network_of(name)
    state = dict(randomise(network.build(7)).state_dict())
    published = {"model_state": state} if name in ("slow", "slowfast", "i3d") else state
    if name == "videomae":  # the hub's file keeps these biases beside their layers
        published = {
            key.replace("query.bias", "q_bias").replace("value.bias", "v_bias"): value
            for key, value in state.items()
        }
        assert "videomae.encoder.layer.0.attention.attention.q_bias" in published
    path = tmp_path / "weights.pth"
    torch.save(published, path)
    loaded = network.load(path).state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())

    first = next(iter(state))
    torch.save({key: value for key, value in state.items() if key != first}, path)
    with pytest.raises(UsageError, match=r"do not fit the network .*Missing key"):
        network.load(path)
    torch.save({**state, "extra.weight": torch.zeros(1)}, path)
    with pytest.raises(UsageError, match=r"do not fit the network .*Unexpected key"):
        network.load(path)
    torch.save({key: value for key, value in state.items() if key != network.classifier}, path)
    with pytest.raises(UsageError, match=f"no {network.classifier}"):
        network.load(path)
    path.unlink()


@pytest.mark.parametrize(
    "name", ["cnn-densenet201", pytest.param("cnn-resnet152", marks=pytest.mark.slow)]
)
def test_frame_features_equal_timm_s_own_forward(name: str, tmp_path: Path) -> None:
    from kinestore.extractors.cnn import _timm_network

    plain: Any = randomise(_timm_network(name))
    state = plain.state_dict()
    if name == "cnn-densenet201":  # as torchvision's file of 2017 writes them, and no counters
        state = {key: v for key, v in state.items() if not key.endswith("num_batches_tracked")}
        for part in ("norm1", "norm2", "conv1", "conv2"):
            dotted = f"{part[:-1]}.{part[-1]}"
            state = {key.replace(f".{part}.", f".{dotted}."): v for key, v in state.items()}
        assert "features.denseblock1.denselayer1.norm.1.weight" in state
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    four = extractors.FrameChoice(kind="uniform", num_keyframes=4)
    extractor = extractors.create(name, weights=path, device="cpu", frame_choice=four)
    batch = [extractor.prepare(noise_clip(seed)) for seed in (0, 1)]
    alone = [extractor.embed([clip])[0].vector for clip in batch]
    assert alone[0].shape == extractor.spec.shape == (4, plain.num_features)

    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = torch.from_numpy(batch[0].pixels)
    plain.reset_classifier(0)
    with torch.inference_mode():
        theirs = plain((pixels / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1))
    assert relative_error(alone[0], theirs) < 1e-5
    together = np.stack([found.vector for found in extractor.embed(batch)])
    assert relative_error(together, np.stack(alone)) < 1e-5
    halved = in_bfloat16(name, weights=path, frame_choice=four)
    assert cosine(halved.embed(batch[:1])[0].vector, alone[0]) > 0.999
    path.unlink()


@pytest.mark.parametrize(
    ("name", "width"),
    [("mobilenetv3_small_050.lamb_in1k", 1024), ("vit_tiny_patch16_224.augreg_in21k_ft_in1k", 192)],
)
def test_any_image_network_of_timm_goes_by_its_name(name: str, width: int, tmp_path: Path) -> None:
    plain: Any = randomise(timm.create_model(name))
    torch.save(plain.state_dict(), tmp_path / "w.pth")
    extractor = extractors.create(f"cnn-{name}", weights=tmp_path / "w.pth", device="cpu")
    found = extractors.embed_clip(extractor, noise_clip(0))
    assert found.vector.shape == extractor.spec.shape == (10, width)
    assert extractor.spec.extractor == f"cnn-{name}"
    source = str(extractors.module_of(f"cnn-{name}").source(f"cnn-{name}"))
    assert source == f"huggingface.co/timm/{name}"


def test_the_slow_pathway_sees_each_of_eight_keyframes_once() -> None:
    """Index 0, 4, 8, 13, 17, 22, 26, 31 of 32 frames, of which the fast one sees all."""
    shown = extractors.FrameChoice(kind="keyframes").indices(noise_clip(0), 32)
    slow, fast = slowfast.split_pathways(torch.from_numpy(shown).view(1, 1, 32, 1, 1))
    assert slow.flatten().tolist() == list(range(8))
    assert fast.flatten().tolist() == shown.tolist()


class Counting:
    """A forward pass that fits so many clips into the memory."""

    def __init__(self, fits: int) -> None:
        self.fits, self.sizes = fits, list[int]()

    def __call__(self, pixels: Tensor) -> list[int]:
        self.sizes.append(len(pixels))
        if len(pixels) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [int(row.sum()) for row in pixels]


def clips(count: int) -> list[Any]:
    return [np.full((2,), number, np.uint8) for number in range(count)]


def test_a_batch_that_does_not_fit_is_halved_once_for_good(
    caplog: pytest.LogCaptureFixture,
) -> None:
    runner, forward = _runner.Runner("cpu", cpu_batch=7), Counting(fits=4)
    assert runner(forward, clips(7)) == [0, 2, 4, 6, 8, 10, 12]
    assert runner(forward, clips(7)) == [0, 2, 4, 6, 8, 10, 12]
    assert forward.sizes == [7, 4, 4, 4, 4]
    assert caplog.messages == ["a batch of 7 clips does not fit the GPU: continuing with 4"]
    forward.fits = 3
    with pytest.raises(torch.OutOfMemoryError):
        runner(forward, clips(7))


def test_one_clip_that_does_not_fit_is_an_error_of_that_clip() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        _runner.Runner("cpu")(Counting(fits=0), clips(1))


def test_a_view_can_be_planned_for_a_gpu_that_another_machine_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    options = extractors.ExtractorOptions(device="cuda", spec_only=True)
    planned = extractors.create_from_options("cnn-efficientnet-lite0", options).spec
    assert planned.settings["compute_dtype"] == "bfloat16"
    here = extractors.create_from_options(
        "cnn-efficientnet-lite0", extractors.ExtractorOptions(device="auto")
    ).spec
    assert here.settings["compute_dtype"] == "float32"
    with pytest.raises(UsageError, match="device='cuda': torch finds no usable GPU here"):
        extractors.create("cnn-efficientnet-lite0", device="cuda")
