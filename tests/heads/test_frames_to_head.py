"""Image networks under temporal heads, trained end to end."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import get_model

from kinestore.heads import create
from kinestore.heads._printed_gru import PrintedGru
from kinestore.heads.temporal_rnn import TemporalRnn
from kinestore.store import UsageError

SMALL: dict[str, Any] = {"trunk": "resnet18", "num_classes": 3, "dense": 8}


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def frames(seed: int = 0, *, num_frames: int = 3) -> Tensor:
    return torch.randn(2, num_frames, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("settings", "trunk", "published"),
    [
        # 18092928 + 59262784 + 2070629, and four learned positions of 1920
        ({}, 18_092_928, 79_426_341),
        ({"positions": "learned"}, 18_092_928, 79_434_021),
        ({"trunk": "resnet152"}, 58_143_808, 58_143_808 + 67_407_936 + 2_201_701),
    ],
)
def test_networks_with_a_transformer_count_as_published(
    settings: dict[str, Any], trunk: int, published: int
) -> None:
    with torch.device("meta"):
        network: Any = create("cnn_transformer", num_classes=101, **settings)
    assert (count(network.trunk), count(network)) == (trunk, published)


def test_a_network_with_a_gru_counts_as_published() -> None:
    with torch.device("meta"):
        network = create("cnn_rnn", num_classes=101)
    assert count(network) == 18_092_928 + 26_593_381


def test_the_forms_of_transfer_learning_count_as_published() -> None:
    with torch.device("meta"):
        transformer = create(
            "temporal_transformer",
            in_features=1920,
            num_classes=101,
            num_frames=10,
            heads=6,
            positions="learned",
            dense=None,
        )
        lstm = create(
            "temporal_rnn", in_features=1920, num_classes=101, cell="lstm", form="transfer"
        )
    # 88765504 + 10 * 1920 + 1920 * 101 + 101
    assert (count(transformer), count(lstm)) == (88_978_725, 34_715_749)


@pytest.mark.parametrize("name", ["cnn_transformer", "cnn_rnn"])
def test_the_logits_are_those_of_the_head_on_the_vectors_of_the_trunk(name: str) -> None:
    network: Any = create(name, **SMALL).eval()
    clips = frames()
    reference = get_model("resnet18")
    reference.fc = nn.Identity()
    reference.load_state_dict(network.trunk.network.state_dict())
    vectors = torch.stack([reference.eval()(clip) for clip in clips])
    torch.testing.assert_close(network(clips), network.head(vectors), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_without_positions_permuted_frames_give_equal_logits(seed: int) -> None:
    clips, order = frames(seed), torch.tensor([2, 0, 1])
    blind = create("cnn_transformer", seed=seed, positions="none", **SMALL).eval()
    torch.testing.assert_close(blind(clips), blind(clips[:, order]), rtol=1e-4, atol=1e-5)
    for positions in ("sinusoidal", "learned"):
        seeing = create("cnn_transformer", seed=seed, positions=positions, **SMALL).eval()
        assert (seeing(clips) - seeing(clips[:, order])).abs().max() > 1e-4


def test_colors_reach_the_trunk_in_the_range_that_was_chosen() -> None:
    black = torch.tensor([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225])
    white = torch.tensor([0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225])
    for pixels, low, high in (("raw", 0, 255), ("signed", -1, 1)):
        trunk: Any = create("cnn_rnn", pixels=pixels, units=4, **SMALL).trunk
        seen = [trunk._colored(color.expand(1, 2, 2, 3).movedim(3, 1)) for color in (black, white)]
        torch.testing.assert_close(seen[0], torch.full((1, 3, 2, 2), float(low)), atol=1e-4, rtol=0)
        torch.testing.assert_close(
            seen[1], torch.full((1, 3, 2, 2), float(high)), atol=1e-4, rtol=0
        )


def test_a_trunk_takes_the_published_weights_without_their_last_layer(tmp_path: Path) -> None:
    published = get_model("resnet18")
    save_file(published.state_dict(), tmp_path / "w.safetensors")
    network: Any = create("cnn_transformer", weights=tmp_path / "w.safetensors", **SMALL)
    for name, tensor in network.trunk.network.state_dict().items():
        assert torch.equal(tensor, published.state_dict()[name]), name


def test_a_densenet_takes_names_of_the_published_file(tmp_path: Path) -> None:
    state = {
        name.replace(".norm1.", ".norm.1.")
        .replace(".norm2.", ".norm.2.")
        .replace(".conv1.", ".conv.1.")
        .replace(".conv2.", ".conv.2."): tensor
        for name, tensor in get_model("densenet121").state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    save_file(state, tmp_path / "w.safetensors")
    settings = {**SMALL, "trunk": "densenet121"}
    network: Any = create("cnn_rnn", units=4, weights=tmp_path / "w.safetensors", **settings)
    own = network.trunk.network.state_dict()
    first = "features.denseblock1.denselayer1."
    assert torch.equal(own[first + "norm1.weight"], state[first + "norm.1.weight"])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"trunk": "resnet19"}, "trunk='resnet19': torchvision has no such network"),
        ({"trunk": "squeezenet1_0"}, "trunk='squeezenet1_0': has no linear layer at its end"),
        ({"pixels": "bgr"}, "pixels='bgr': must be one of imagenet, signed, raw"),
        ({"positions": "odd"}, "positions='odd'"),
    ],
)
def test_a_wrong_setting_gets_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        create("cnn_transformer", **{**SMALL, **settings})


def test_weights_of_another_trunk_are_refused(tmp_path: Path) -> None:
    save_file(get_model("resnet34").state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match="do not fit the trunk resnet18: the file has an unknown"):
        create("cnn_transformer", weights=tmp_path / "w.safetensors", **SMALL)


def printed_gru(cell: PrintedGru, steps: Tensor) -> Tensor:
    """Eqs. 23 to 26 for one clip, shape (T, D)."""
    w, b = cell.inputs.weight.chunk(3), cell.inputs.bias.chunk(3)
    u_z, u_r = cell.gates.weight.chunk(2)
    h = torch.zeros(cell.candidate.in_features)
    for x in steps:
        z = torch.sigmoid(w[0] @ x + u_z @ h + b[0])
        r = torch.sigmoid(w[1] @ x + u_r @ h + b[1])
        n = torch.tanh(w[2] @ x + cell.candidate.weight @ (r * h) + b[2])
        h = (1 - z) * h + z * n
    return h


def test_the_printed_gru_follows_its_equations_and_skips_masked_steps() -> None:
    head = create("temporal_rnn", in_features=4, num_classes=3, units=5, dense=6, cell="gru_paper")
    assert isinstance(head, TemporalRnn) and isinstance(head.cell, PrintedGru)
    assert count(head.cell) == 3 * 5 * (4 + 5 + 1)
    clips = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [0, 1, 0, 1, 1, 0]], dtype=torch.bool)
    clips[~mask] = 1e9
    state = head.eval().last_state(clips, mask)
    for row in range(2):
        torch.testing.assert_close(
            state[row], printed_gru(head.cell, clips[row][mask[row]]), rtol=1e-5, atol=1e-6
        )
    with pytest.raises(UsageError, match="gru_paper reads forward only"):
        create("temporal_rnn", in_features=4, num_classes=3, cell="gru_paper", bidirectional=True)


def test_the_form_of_transfer_learning_is_linear_noise_leaky_linear() -> None:
    head: Any = create("temporal_rnn", in_features=4, num_classes=3, units=5, form="transfer")
    kinds = [type(layer).__name__ for layer in head.classifier]
    assert kinds == ["Linear", "GaussianNoise", "LeakyReLU", "Linear"]
    assert head.classifier[1].deviation == 0.4 and head.classifier[2].negative_slope == 0.1
    with pytest.raises(UsageError, match=r"dropout=0.4: the form 'transfer' has none"):
        create("temporal_rnn", in_features=4, num_classes=3, form="transfer", dropout=0.4)
    with pytest.raises(UsageError, match="form='x': must be one of collaborative, transfer"):
        create("temporal_rnn", in_features=4, num_classes=3, form="x")
