"""C3D: its published counts and sizes, the layers one by one, and what it refuses."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kinestore.heads import create
from kinestore.heads.c3d import C3D
from kinestore.store import UsageError


def on_paper(num_classes: int = 101, **settings: Any) -> Any:
    """The net with shapes and no numbers."""
    with torch.device("meta"):
        return create("c3d", num_classes=num_classes, **settings)


def count(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def clips(num_clips: int = 2, num_frames: int = 3, *, size: int = 33) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(num_clips, num_frames, 3, size, size, generator=generator)


@pytest.mark.parametrize(
    ("num_classes", "known"),
    [(12, 17_262_604), (21, 17_281_045), (51, 17_342_515), (101, 17_444_965)],
)
def test_counts_are_those_known(num_classes: int, known: int) -> None:
    """C3D's own paper prints 17.5 million for the 101 classes of UCF101."""
    net = on_paper(num_classes)
    assert count(net) == known
    # 27 a b + b for each pair of widths, then 4096 * 2048 + 2048, 2048 * 2048 + 2048
    assert count(net.pools) == sum(27 * a * b + b for a, b in pairwise((3, 64, 128, 256, 256, 256)))
    assert count(net.classifier) == 8_390_656 + 4_196_352 + 2049 * num_classes


def test_sizes_are_those_known() -> None:
    maps = torch.empty(1, 3, 16, 112, 112, device="meta")
    sizes = []
    for pool in on_paper().pools:
        maps = pool(maps)
        sizes.append(tuple(maps.shape[1:]))
    assert sizes == [
        (64, 16, 56, 56),
        (128, 8, 28, 28),
        (256, 4, 14, 14),
        (256, 2, 7, 7),
        (256, 1, 4, 4),
    ]
    assert maps.flatten(1).shape == (1, 4096)


def test_multiplications_are_those_known() -> None:
    with FlopCounterMode(display=False) as counter:
        on_paper()(torch.empty(1, 16, 3, 112, 112, device="meta"))
    assert counter.get_total_flops() / 2 == pytest.approx(19.26e9, rel=0.01)


def test_logits_are_those_of_the_layers_one_by_one() -> None:
    net = create("c3d", num_classes=5, num_frames=3, size=33).double().eval()
    state = net.state_dict()
    # 33 pixels to 17, 9, 5, 3, 2, and 3 frames to 3, 2, 1, 1, 1: rounded up
    x, wanted_sizes = clips().double().transpose(1, 2), [17, 9, 5, 3, 2]
    for number, size in enumerate(wanted_sizes):
        weight, bias = state[f"pools.{number}.0.weight"], state[f"pools.{number}.0.bias"]
        x = nn.functional.conv3d(x, weight, bias, padding=1).clamp(min=0)
        time = 2 if number else 1
        odd = (0, x.shape[4] % 2, 0, x.shape[3] % 2, 0, x.shape[2] % time)
        x = nn.functional.pad(x, odd)  # zeros never win over what a ReLU leaves
        x = x.unfold(2, time, time).unfold(3, 2, 2).unfold(4, 2, 2).amax((-3, -2, -1))
        assert x.shape[-2:] == (size, size)
    x = x.flatten(1)
    for at in (1, 4, 7):
        x = x @ state[f"classifier.{at}.weight"].T + state[f"classifier.{at}.bias"]
        x = x.clamp(min=0) if at < 7 else x
    # float64 sums of up to 6912 terms: 1e-9 leaves three digits of room
    torch.testing.assert_close(net(clips().double()), x, atol=1e-9, rtol=1e-9)


def test_every_parameter_learns() -> None:
    net = create("c3d", num_classes=5, num_frames=3, size=33)
    net(clips()).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_signal_neither_fades_nor_grows_before_training(seed: int) -> None:
    net = create("c3d", num_classes=5, num_frames=8, size=64, seed=seed)
    assert isinstance(net, C3D)
    maps = clips(2, 8, size=64).transpose(1, 2)
    for pool in net.pools:
        maps = pool(maps)
        assert 0.3 < maps.std() < 10  # torch's own ranges leave 0.01 after five


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_classes": 0}, r"num_classes=0: must be 1 or more"),
        ({"num_frames": 0}, r"num_frames=0: must be 1 or more"),
        ({"size": 0}, r"size=0: must be 1 or more"),
        ({"dropout": 1.0}, r"dropout=1.0: must be 0 or more and below 1"),
    ],
)
def test_a_wrong_setting_is_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create("c3d", **{"num_classes": 2, **wrong})


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (torch.zeros(3, 3, 33, 33), r"shape \(3, 3, 33, 33\), must be \(clips, frames, 3, height"),
        (clips(2, 4), r"shape \(2, 4, 3, 33, 33\), must be \(clips, 3, 3, 33, 33\); sample and"),
        (clips(2, 3, size=32), r"shape \(2, 3, 3, 32, 32\), must be \(clips, 3, 3, 33, 33\)"),
        (clips().to(torch.uint8), r"torch.uint8, must be floating; divide by 255"),
    ],
)
def test_wrong_frames_are_named(frames: Tensor, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create("c3d", num_classes=2, num_frames=3, size=33)(frames)
