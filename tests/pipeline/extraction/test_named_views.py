"""Two checkpoints of one network lie beside each other in a store, each under its own name."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from kinestore.extractors import FrameChoice, create
from kinestore.pipeline.commands.console import say
from kinestore.pipeline.commands.tables import status_table
from kinestore.pipeline.extraction.config import ExtractionConfig
from kinestore.pipeline.extraction.extractor_settings import read_extractor, view_name
from kinestore.pipeline.extraction.outputs import embedding_outputs
from kinestore.pipeline.models.extract_for_run import _choose_extractors
from kinestore.store import Store, UsageError
from kinestore.store.status import status
from tests.extractors.test_video_networks import network_of
from tests.helpers.networks import randomise


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("weights")
    for name, seed in (("a.pth", 1), ("b.pth", 2)):
        torch.save(randomise(network_of("r3d").build(seed)).state_dict(), folder / name)
    return folder / "a.pth", folder / "b.pth"


def test_a_setting_names_the_weights_and_the_view() -> None:
    found = read_extractor("r3d:weights=a.pt,as=r3d-ucf,frames=4", FrameChoice())
    assert (found.name, found.weights, found.view) == ("r3d", "a.pt", "r3d-ucf")
    assert view_name("r3d:weights=a.pt,as=r3d-ucf") == "r3d-ucf"
    assert view_name("r3d:weights=a.pt") == view_name("r3d") == "r3d"


@pytest.mark.parametrize("other", ["motion", "slow", "clip-text"])
def test_the_name_of_another_extractor_is_refused(other: str) -> None:
    with pytest.raises(UsageError, match=f"as={other} is the name of another extractor"):
        read_extractor(f"r3d:as={other}", FrameChoice())


def test_two_checkpoints_are_two_views_with_names(files: tuple[Path, Path]) -> None:
    texts = [f"r3d:weights={files[0]},as=r3d-ucf", f"r3d:weights={files[1]},as=r3d-hmdb"]
    first, second = embedding_outputs(texts, device="cpu").values()
    assert (first.spec.extractor, second.spec.extractor) == ("r3d-ucf", "r3d-hmdb")
    assert first.load().spec == first.spec != second.spec
    plain = create("r3d", weights=files[0], device="cpu").spec
    assert first.spec.settings == {**plain.settings, "extractor": "r3d"}
    (unnamed,) = embedding_outputs([f"r3d:weights={files[0]}"], device="cpu").values()
    assert unnamed.spec == plain


def test_what_contradicts_itself_is_refused(files: tuple[Path, Path]) -> None:
    texts = [f"r3d:weights={one},as=mine" for one in files]
    with pytest.raises(UsageError, match="as=mine is there twice"):
        embedding_outputs(texts, device="cpu")
    with pytest.raises(UsageError, match="has weights, and --weights gives"):
        embedding_outputs(texts[:1], weights=files[1], device="cpu")
    with pytest.raises(UsageError, match="extractor='a b': must be letters"):
        embedding_outputs([f"r3d:weights={files[0]},as=a b"], device="cpu")


def test_status_shows_the_weights_that_differ(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store.create(tmp_path / "s")
    texts = [f"r3d:weights={files[0]},as=r3d-ucf", f"r3d:weights={files[1]}"]
    for output in embedding_outputs(texts, device="cpu").values():
        store.append(output.spec, ["a"], np.zeros((1, *output.spec.shape), np.float32))
    say(status_table(status(store.path).to_json()))
    printed = capsys.readouterr().out
    digests = re.findall(r"weights\S*=\S+", printed)
    assert len(set(digests)) >= 2, printed


def test_predict_asks_for_the_checkpoint_of_a_named_view(files: tuple[Path, Path]) -> None:
    text = f"r3d:weights={files[0]},as=r3d-ucf"
    (output,) = embedding_outputs([text], device="cpu").values()
    config = ExtractionConfig(device="cpu")
    assert _choose_extractors([output.spec.name], [text], config) == [text]
    with pytest.raises(UsageError, match="give -e EXTRACTOR:weights=PATH,as=r3d-ucf"):
        _choose_extractors([output.spec.name], [], config)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("motion:keyframes=5", "keyframes has no effect with sampling adjacent-pairs"),
        ("motion:space=cnn", "space has no effect"),
        ("motion:seed=4", "seed has no effect"),
        ("motion:frames=3", "frames has no effect"),
        ("cnn-efficientnet-lite0:keyframes=3", "keyframes has no effect with sampling evenly"),
        ("cnn-efficientnet-lite0:seed=3", "seed has no effect"),
        ("cnn-efficientnet-lite0:sampling=random:4,space=cnn", "space has no effect"),
    ],
)
def test_settings_without_an_effect_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        embedding_outputs([text], device="cpu")


@pytest.mark.parametrize(
    "setting", ["frames=4", "sampling=uniform,keyframes=3", "sampling=random:4,seed=3"]
)
def test_settings_with_an_effect_make_other_views(setting: str) -> None:
    name = "cnn-efficientnet-lite0"
    plain, other = embedding_outputs([name, f"{name}:{setting}"], device="cpu").values()
    assert plain.spec != other.spec


def test_one_view_is_not_computed_twice() -> None:
    name = "cnn-efficientnet-lite0"
    with pytest.raises(UsageError, match=f"gives the same view as '{name}'; leave one out"):
        embedding_outputs([name, f"{name}:frames=10"], device="cpu")
