"""The differential net's two modules: golden cases, and references written from the equations."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kinestore.heads._local_difference import (
    LOCAL_INPUTS,
    LocalModule,
    adjacent_diff,
    center_diff,
    center_diff_smooth,
    concat_frames,
)
from kinestore.heads._temporal_difference import TimeModule, TimeSettings, differences
from kinestore.heads.differential import DifferentialNet
from tests.helpers.differentials import draw, small, unsettle

# The local module, Eqs. 1 to 3.


def levels(*values: float) -> Tensor:
    """One segment of five frames, each of one level all over: shape (1, 5, 3, 4, 4)."""
    return torch.tensor(values, dtype=torch.float32)[None, :, None, None, None].expand(
        1, 5, 3, 4, 4
    )


@pytest.mark.parametrize(
    ("reads", "wanted"),
    [
        # 4-1, 4-2, 4-7, 4-11; their sum is -5, their mean -5/4
        (center_diff, [3, 2, -3, -7]),
        (center_diff_smooth, [-1.25]),
        (adjacent_diff, [1, 2, 3, 4]),
        (concat_frames, [1, 2, 4, 7, 11]),
    ],
)
def test_five_levels_by_hand(reads: Callable[[Tensor], Tensor], wanted: list[float]) -> None:
    told = reads(levels(1, 2, 4, 7, 11))
    assert told.shape == (1, 3 * len(wanted), 4, 4)
    assert told[0, :, 1, 2].tolist() == [value for value in wanted for _ in range(3)]


def test_the_channels_of_a_frame_stay_together_and_the_frames_in_order() -> None:
    frames = torch.arange(15.0).view(1, 5, 3, 1, 1)
    assert concat_frames(frames).flatten().tolist() == list(range(15))
    # I3 has 6 7 8; less I1 (0 1 2), I2 (3 4 5), I4 (9 10 11), I5 (12 13 14)
    assert center_diff(frames).flatten().tolist() == [6] * 3 + [3] * 3 + [-3] * 3 + [-6] * 3


def test_the_sum_over_differences_is_four_times_the_mean() -> None:
    read: list[Tensor] = []
    for net in (small(), small(diff_reduce="sum")):
        stem = net.get_submodule("local.diff_stem")
        stem.register_forward_pre_hook(lambda _, args: read.append(args[0]))
        net(levels(1, 2, 4, 7, 11)[None].expand(1, 3, 5, 3, 4, 4).repeat(1, 1, 1, 1, 16, 16))
    assert set(read[0].flatten().tolist()) == {-1.25}
    assert set(read[1].flatten().tolist()) == {-5.0}
    assert read[0].shape == (3, 3, 32, 32)


def nearest(features: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Nearest upsampling of (C, h, h) to (C, size, size), one value at a time."""
    out = np.empty((len(features), size, size))
    for y in range(size):
        for x in range(size):
            out[:, y, x] = features[:, y * features.shape[1] // size, x * features.shape[2] // size]
    return out


def smoothed_by_loops(segment: NDArray[np.float64]) -> NDArray[np.float64]:
    """The argument of Conv in Eq. 1: the mean over i of Avg(I_t - I_{t-i}), pixel by pixel."""
    _, channels, height, width = segment.shape
    out = np.zeros((channels, height // 2, width // 2))
    for c in range(channels):
        for y in range(height // 2):
            for x in range(width // 2):
                for i in (-2, -1, 1, 2):
                    block = (segment[2] - segment[2 - i])[c, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
                    out[c, y, x] += block.sum() / 4 / 4
    return out


def test_the_difference_branch_reads_eq_1_in_float64() -> None:
    frames = draw(2, 5, 3, 6, 8, dtype=torch.float64)
    fast = nn.functional.avg_pool2d(center_diff_smooth(frames), 2)
    for segment, told in zip(frames.numpy(), fast.numpy(), strict=True):
        # float64 sums of sixteen terms
        np.testing.assert_allclose(told, smoothed_by_loops(segment), atol=1e-14)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.75, 0.25), (0.5, -2.0)])
def test_the_local_module_is_eq_3(weights: tuple[float, float]) -> None:
    local = unsettle(small(fusion_weights=weights).local)
    assert isinstance(local, LocalModule) and local.diff_stem is not None
    diff_stem, diff_res2 = local.diff_stem, local.diff_res2
    frames = draw(2, 5, 3, 66, 66, dtype=torch.float64)  # an odd map: 17 x 17, of 9 x 9
    a, b = weights
    for segment, told in zip(frames, local(frames), strict=True):
        still = local.stem(segment[2][None])
        moving = diff_stem(torch.from_numpy(smoothed_by_loops(segment.numpy()))[None])
        added = a * still + b * torch.from_numpy(nearest(moving[0].detach().numpy(), 17))
        other = nearest(diff_res2(moving)[0].detach().numpy(), 17)
        wanted = a * local.res2(added)[0] + b * torch.from_numpy(other)
        torch.testing.assert_close(told, wanted, rtol=1e-10, atol=1e-10)


def test_smoothed_differences_read_backwards_are_the_same_bits_and_the_others_are_not() -> None:
    frames = draw(2, 5, 3, 64, 64)
    for name, (_, reads) in LOCAL_INPUTS.items():
        same = torch.equal(reads(frames), reads(frames.flip(1)))
        assert same == (name == "center_diff_smooth"), name
    local = small().local.eval()
    assert torch.equal(local(frames), local(frames.flip(1)))
    local = small(local_input="adjacent_diff").local.eval()
    assert not torch.allclose(local(frames), local(frames.flip(1)), atol=1e-2)


def test_the_difference_branch_tells_one_still_clip_from_no_other() -> None:
    net = unsettle(small())
    assert isinstance(net, DifferentialNet)
    told: list[Tensor] = []
    net.get_submodule("local.diff_res2").register_forward_hook(lambda *args: told.append(args[2]))
    still = draw(1, 1, 1, 3, 64, 64, dtype=torch.float64).expand(1, 3, 5, 3, 64, 64)
    net(still), net(-3 * still), net(still + draw(1, 3, 5, 3, 64, 64, dtype=torch.float64))
    assert torch.equal(told[0], told[1]) and not torch.equal(told[0], told[2])
    assert torch.equal(told[0][0], told[0][1])


# The time module, Eqs. 4 to 7.


def time_settings(**changes: Any) -> TimeSettings:
    known: dict[str, Any] = {
        "num_segments": 4,
        "tm_reduction": 16,
        "tm_conv": "full",
        "tm_share_dirs": "expand",
        "diff_conv": "both",
        "boundary": "zero_feature",
        "center_gate": False,
    }
    return TimeSettings(**{**known, **changes})


class Tenfold(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return 10 * features


@pytest.mark.parametrize(
    ("stride", "settings", "backward", "forward"),
    [
        # F = 1 2 3 4: F_n - F_{n-1} with F_0 = 0, and F_{n+1} - F_n with F_5 = 0
        (1, {}, [1, 1, 1, 1], [1, 1, 1, -4]),
        (2, {}, [1, 2, 2, 2], [2, 2, -3, -4]),
        (3, {}, [1, 2, 3, 3], [3, -2, -3, -4]),
        (1, {"boundary": "zero_diff"}, [0, 1, 1, 1], [1, 1, 1, 0]),
        (2, {"boundary": "zero_diff"}, [0, 0, 2, 2], [2, 2, 0, 0]),
        # Conv is tenfold, on the later segment alone: 10 F_n - F_{n-1}, 10 F_{n+1} - F_n
        (1, {"diff_conv": "one"}, [10, 20 - 1, 30 - 2, 40 - 3], [20 - 1, 30 - 2, 40 - 3, -4]),
    ],
)
def test_differences_between_four_segments_by_hand(
    stride: int, settings: dict[str, Any], backward: list[float], forward: list[float]
) -> None:
    features = torch.tensor([1.0, 2, 3, 4, -1, -2, -3, -4]).view(8, 1, 1, 1)  # two clips
    smooth = Tenfold() if settings.get("diff_conv") == "one" else nn.Identity()
    told = differences(features, smooth, stride=stride, settings=time_settings(**settings))
    for values, wanted in zip(told, (backward, forward), strict=True):
        assert values.flatten().tolist() == wanted + [-value for value in wanted]


def conv_by_loops(
    features: NDArray[np.float64], weight: NDArray[np.float64], *, groups: int = 1
) -> NDArray[np.float64]:
    """A convolution of (C, H, W) with zeros around, one product at a time."""
    num_out, per_group, kernel, _ = weight.shape
    _, height, width = features.shape
    out = np.zeros((num_out, height, width))
    for o in range(num_out):
        first = o // (num_out // groups) * per_group
        for i, y, x in np.ndindex(per_group, height, width):
            for down, across in np.ndindex(kernel, kernel):
                from_y, from_x = y + down - kernel // 2, x + across - kernel // 2
                if 0 <= from_y < height and 0 <= from_x < width:
                    out[o, y, x] += weight[o, i, down, across] * features[first + i, from_y, from_x]
    return out


def norm_by_loops(features: NDArray[np.float64], norm: nn.Module) -> NDArray[np.float64]:
    state = {name: tensor.numpy() for name, tensor in norm.state_dict().items()}
    out = np.empty_like(features)
    for c in range(len(features)):
        deviation = math.sqrt(state["running_var"][c] + 1e-5)
        out[c] = (features[c] - state["running_mean"][c]) / deviation
        out[c] = out[c] * state["weight"][c] + state["bias"][c]
    return out


def layer_by_loops(features: NDArray[np.float64], layer: nn.Module) -> NDArray[np.float64]:
    """A convolution and its norm."""
    assert isinstance(layer, nn.Sequential)
    weight = layer.get_parameter("0.weight").detach().numpy()
    return norm_by_loops(conv_by_loops(features, weight), layer[1])


def halve(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over 2 x 2; a last odd row or column is left out."""
    channels, height, width = features.shape
    out = np.empty((channels, height // 2, width // 2))
    for c, y, x in np.ndindex(out.shape):
        out[c, y, x] = features[c, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean()
    return out


def time_by_loops(features: NDArray[np.float64], module: TimeModule) -> NDArray[np.float64]:
    """Eqs. 4 to 7 on one clip (N, C, H, W), segment by segment."""
    told, s, n = module.settings, module.stride, len(features)
    weight = module.smooth.weight.detach().numpy()
    groups = weight.shape[0] // weight.shape[1]
    reduced = [layer_by_loops(feature, module.reduce) for feature in features]
    smoothed = [conv_by_loops(feature, weight, groups=groups) for feature in reduced]
    earlier = smoothed if told.diff_conv == "both" else reduced

    def difference(later: int, before: int) -> NDArray[np.float64]:
        inside = before >= 0 and later < n
        if not inside and told.boundary == "zero_diff":
            return np.zeros_like(smoothed[0])
        minuend = smoothed[later] if later < n else 0 * smoothed[0]
        return minuend - (earlier[before] if before >= 0 else 0 * smoothed[0])

    def gate(d: NDArray[np.float64], direction: int) -> NDArray[np.float64]:
        paths, expand = module.paths[direction], module.expands[direction]
        coarse = nearest(layer_by_loops(halve(d), paths.get_submodule("coarse")), d.shape[-1])
        h = d + layer_by_loops(d, paths.get_submodule("fine")) + coarse
        return np.asarray(1 / (1 + np.exp(-layer_by_loops(h, expand))))

    out = np.empty_like(features)
    for i, feature in enumerate(features):
        both = gate(difference(i, i - s), 0) + gate(difference(i + s, i), -1)
        out[i] = feature + feature * (both / 2 - (0.5 if told.center_gate else 0))
    return out


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"diff_conv": "one"},
        {"boundary": "zero_diff"},
        {"center_gate": True},
        {"tm_conv": "depthwise", "tm_share_dirs": "both"},
        {"tm_share_dirs": "paths"},
        {"tm_share_dirs": "none", "diff_conv": "one", "boundary": "zero_diff"},
    ],
)
def test_the_time_module_is_eqs_4_to_7_in_float64(stride: int, settings: dict[str, Any]) -> None:
    made = TimeModule(32, stride=stride, settings=time_settings(**settings))
    module = unsettle(made, seed=stride)
    assert isinstance(module, TimeModule)
    features = draw(2 * 4, 32, 5, 5, dtype=torch.float64)
    told = module(features).detach().numpy().reshape(2, 4, 32, 5, 5)
    for clip, wanted in zip(features.numpy().reshape(2, 4, 32, 5, 5), told, strict=True):
        np.testing.assert_allclose(time_by_loops(clip, module), wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("train", [False, True])
def test_without_change_in_time_features_grow_by_half_or_stay(train: bool) -> None:
    still = draw(2, 1, 32, 4, 4).expand(2, 4, 32, 4, 4).flatten(0, 1)
    for center_gate, growth in ((False, 1.5), (True, 1.0)):
        settings = time_settings(boundary="zero_diff", center_gate=center_gate)
        module = TimeModule(32, stride=1, settings=settings).train(train)
        assert torch.equal(module(still), growth * still)
    inner = TimeModule(32, stride=1, settings=time_settings()).eval()(still).view(2, 4, 32, 4, 4)
    still = still.view(2, 4, 32, 4, 4)
    assert torch.equal(inner[:, 1:3], 1.5 * still[:, 1:3])
    assert not torch.allclose(inner[:, 0], 1.5 * still[:, 0])  # the end sees zero features


def test_a_gate_keeps_signs_and_lies_between_once_and_twice() -> None:
    module = unsettle(TimeModule(32, stride=1, settings=time_settings()))
    features = draw(8, 32, 4, 4, dtype=torch.float64)
    growth = module(features) / features
    assert growth.min() >= 1 and growth.max() <= 2 and growth.std() > 0.1


def test_gradients_of_differences_are_those_of_small_steps() -> None:
    smooth = nn.Conv2d(2, 2, 3, padding=1, bias=False).double()
    features = draw(8, 2, 3, 3, dtype=torch.float64).requires_grad_()
    for settings in ({}, {"diff_conv": "one", "boundary": "zero_diff"}):
        told = time_settings(**settings)
        torch.autograd.gradcheck(
            lambda x, told=told: differences(x, smooth, stride=1, settings=told), features
        )
