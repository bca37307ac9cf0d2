"""The correlation net: counts, golden cases, references from the equations, what it can learn."""

import math
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kinestore.heads import create
from kinestore.heads._correlation_op import correlate, exchanged, surrounded
from kinestore.heads._gate_shift_fuse import GateShiftFuse
from kinestore.heads._resnet import residual_network
from kinestore.heads._spatiotemporal_correlation import SpatioTemporalCorrelation
from kinestore.heads.correlation import PLACES, CorrelationNet
from kinestore.pipeline.synthetic.moving_dots import MotionDots
from kinestore.store import UsageError

SMALL: dict[str, Any] = {"layers": (1, 1, 1, 1), "width": 16, "dropout": 0.0}


def small(num_classes: int = 4, *, seed: int = 0, **settings: Any) -> CorrelationNet:
    net = create("correlation", seed=seed, num_classes=num_classes, **{**SMALL, **settings})
    assert isinstance(net, CorrelationNet)
    return net


def on_paper(num_classes: int = 174, **settings: Any) -> Any:
    """The net with shapes and no numbers."""
    with torch.device("meta"):
        return create("correlation", num_classes=num_classes, **settings)


def module(channels: int = 6, *, seed: int = 0, **settings: Any) -> SpatioTemporalCorrelation:
    """A module whose last norm has learnt something."""
    known: dict[str, Any] = {"max_offset": 3, "max_displacement": 4, "signed": True}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = SpatioTemporalCorrelation(channels, **{**known, **settings})
        nn.init.normal_(made.get_parameter("fusion.22.weight"))
    return made


def switch_on(net: CorrelationNet) -> CorrelationNet:
    """What the modules tell counts, as after a step."""
    for stc in net.correlations.values():
        nn.init.ones_(stc.get_parameter("fusion.22.weight"))
    return net


def gsf(width: int = 8, *, seed: int = 0) -> GateShiftFuse:
    """A module whose norm has learnt something, in float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = GateShiftFuse(width).double()
        nn.init.normal_(made.bn.weight)
        nn.init.normal_(made.bn.bias)
    return made


def count(part: nn.Module) -> int:
    return sum(parameter.numel() for parameter in part.parameters())


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def clips(num_clips: int = 2, num_frames: int = 4, *, size: int = 64, seed: int = 0) -> Tensor:
    return draw(num_clips, num_frames, 3, size, size, seed=seed)


def multiplications(net: Any, *inputs: Tensor) -> dict[str, float]:
    """Multiply-adds that were computed, by operation."""
    with FlopCounterMode(display=False) as counter:
        net(*inputs)
    total = counter.get_flop_counts()["Global"]
    return {str(operation): flops / 2 for operation, flops in total.items()}


# --- as large as published ---


@pytest.mark.parametrize(
    ("num_classes", "plain", "correlated"),
    [
        (174, 23_974_702, 23_994_502),  # printed as 23.97 M and 23.99 M
        (101, 23_825_125, 23_844_925),
        (400, 24_437_776, 24_457_576),
    ],
)
def test_nets_count_as_published(num_classes: int, plain: int, correlated: int) -> None:
    assert count(on_paper(num_classes, stc_at=None)) == plain
    assert count(on_paper(num_classes)) == correlated


@pytest.mark.parametrize(("ratio", "known"), [(0.5, 24_084_206), (1, 24_303_214)])
def test_more_gated_channels_count_as_known(ratio: float, known: int) -> None:
    assert count(on_paper(stc_at=None, gsf_ratio=ratio)) == known


def test_modules_count_as_by_hand() -> None:
    # F = 64: convolution 2 * 32 * 27 + 2, norm 2 * 64, two of 2 * 9 + 1: 29 * 64 + 40
    assert count(GateShiftFuse(64)) == 29 * 64 + 40
    stc = module(512)
    assert count(stc.spatial) == count(stc.temporal) == 81 * 32 + 32 * 8
    # 7 * 8 = 56 channels; convolution and norm: 56 * 49 + 112, 56 * 16 + 32,
    # twice 16 * 9 + 32, 16 * 16 + 32, and last 16 * 9 + 32, 16 * 512 + 1024
    assert count(stc.fusion) == 2856 + 928 + 2 * (176 + 288) + 176 + 9216 == 14_104
    assert count(stc) == 5_696 + 14_104 == 23_994_502 - 23_974_702


@pytest.mark.parametrize("num_frames", [8, 16])
def test_multiplications_are_those_published(num_frames: int) -> None:
    """33.00 G and 1.896 G at 8 frames (printed, with what is not multiplied, 33.4 and 1.9)."""
    frames = torch.empty(1, num_frames, 3, 224, 224, device="meta")
    plain = multiplications(on_paper(stc_at=None).eval(), frames)
    full = multiplications(on_paper().eval(), frames)
    assert sum(plain.values()) == pytest.approx(33.00e9 * num_frames / 8, rel=0.01)
    products = full.pop("aten.bmm")
    layers = sum(full.values()) - sum(plain.values())
    volumes = dict(
        module(512).similarities(
            torch.empty(num_frames, 512, 28, 28, device="meta"),
            torch.empty(num_frames, 256, 56, 56, device="meta"),
            num_frames=num_frames,
        )
    )
    assert sorted(volumes) == [-3, -2, -1, 0, 1, 2, 3]
    assert {tuple(volume.shape) for volume in volumes.values()} == {(num_frames, 28, 28, 81)}
    defined = sum(volume.numel() * (512 if offset else 256) for offset, volume in volumes.items())
    assert defined + layers == pytest.approx(1.896e9 * num_frames / 8, rel=0.01)
    # 2 rows of 28 meet 10 of 32 and 4 zeros; opposite offsets are one product, and none leaves the
    # clip
    pairs = sum(num_frames - offset for offset in (1, 2, 3))
    assert products == 28 * 28 * 324 * (512 * pairs + 256 * num_frames)


# --- correlation ---


def nearest(first: Tensor, second: Tensor, *, reach: int) -> Tensor:
    """The definition of `correlate`, place by place."""
    num, height, width, _ = first.shape
    answer = first.new_zeros(num, height, width, 2 * reach + 1, 2 * reach + 1)
    near = range(-reach, reach + 1)
    for i, j, a, b in product(range(height), range(width), near, near):
        if 0 <= i + a < height and 0 <= j + b < width:
            dots = (first[:, i, j] * second[:, i + a, j + b]).sum(-1)
            answer[:, i, j, a + reach, b + reach] = dots
    return answer


SHAPES = [
    ((2, 9, 7, 5), 4),
    ((1, 3, 2, 4), 4),
    ((1, 6, 30, 3), 2),
    ((2, 4, 5, 3), 0),
    ((1, 1, 1, 2), 3),
]


@pytest.mark.parametrize(("shape", "reach"), SHAPES)
def test_dot_products_and_their_gradients_are_those_of_the_definition(
    shape: tuple[int, ...], reach: int
) -> None:
    first, second = (draw(*shape, seed=s, dtype=torch.float64).requires_grad_() for s in (1, 2))
    around = surrounded(second, reach=reach)
    ours, wanted = correlate(first, around, reach=reach), nearest(first, second, reach=reach)
    # float64 sums of up to 81 terms: 1e-10 leaves four digits of room
    torch.testing.assert_close(ours, wanted, atol=1e-10, rtol=0)
    single = correlate(first.float(), around.float(), reach=reach)
    torch.testing.assert_close(single, wanted.float(), atol=1e-5, rtol=0)  # seven digits
    weights = draw(*wanted.shape, seed=3, dtype=torch.float64)
    grads, wanted_grads = (
        torch.autograd.grad((volume * weights).sum(), (first, second)) for volume in (ours, wanted)
    )
    torch.testing.assert_close(grads, wanted_grads, atol=1e-10, rtol=0)


@pytest.mark.parametrize(("shape", "reach"), SHAPES)
def test_exchanged_maps_give_what_is_read_from_the_first_answer(
    shape: tuple[int, ...], reach: int
) -> None:
    first, second = draw(*shape, seed=1, dtype=torch.float64), draw(*shape, seed=2).double()
    volume = correlate(first, surrounded(second, reach=reach), reach=reach).requires_grad_()
    back = exchanged(volume)
    torch.testing.assert_close(back, nearest(second, first, reach=reach), atol=1e-10, rtol=0)
    torch.testing.assert_close(exchanged(back), volume)  # nothing outside the map was in it
    assert torch.autograd.gradcheck(exchanged, (draw(1, 3, 2, 3, 3).double().requires_grad_(),))


def split(frames: Tensor, num_frames: int) -> Tensor:
    """(T B, ...) to (T, B, ...)."""
    return frames.view(num_frames, -1, *frames.shape[1:])


def by_frame(clips_BTCHW: Tensor) -> Tensor:
    """As modules have it: (T B, C, H, W)."""
    return clips_BTCHW.transpose(0, 1).flatten(0, 1)


def cosines(
    frames: Tensor, others: Tensor, offset: int
) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """Eqs. 1 and 2 with D = 4 and 1e-6: frames (T, C, H, W) with those so much later, by place."""
    num_frames, _, height, width = frames.shape
    near = range(-4, 5)
    for t, i, j, a, b in product(range(num_frames), range(height), range(width), near, near):
        if 0 <= t + offset < num_frames and 0 <= i + a < height and 0 <= j + b < width:
            x, y = frames[t, :, i, j], others[t + offset, :, i + a, j + b]
            yield (t, i, j, 9 * (a + 4) + b + 4), x @ y / ((x @ x + 1e-6) * (y @ y + 1e-6)).sqrt()


@pytest.mark.parametrize("num_frames", [1, 3, 5])
def test_volumes_are_the_cosines_of_the_equation(num_frames: int) -> None:
    maps = draw(2, num_frames, 4, 3, 4, seed=1, dtype=torch.float64)
    earlier = draw(2, num_frames, 2, 6, 8, seed=2, dtype=torch.float64)
    pooled = earlier.view(2, num_frames, 2, 3, 2, 4, 2).mean((-1, -3))
    given = by_frame(maps), by_frame(earlier)
    for offset, volume in module(4).similarities(*given, num_frames=num_frames):
        source = maps if offset else pooled
        wanted = torch.zeros(2, num_frames, 3, 4, 81, dtype=torch.float64)
        for clip in range(2):
            for index, value in cosines(source[clip], source[clip], offset):
                wanted[clip][index] = value
        # float64 sums of four terms: 1e-10 leaves five digits of room
        torch.testing.assert_close(volume, by_frame(wanted), atol=1e-10, rtol=0)
        assert volume.abs().max() <= 1


def test_cosines_by_hand_with_their_signs() -> None:
    # two frames of one place: (3, 4) and (-4, 3), then (3, 4) and (-3, -4), then (3, 4) and (4, 3)
    # cosines: (-12 + 12) / 25 = 0, (-9 - 16) / 25 = -1, (12 + 12) / 25 = 0.96
    later = torch.tensor([[-4.0, 3.0], [-3.0, -4.0], [4.0, 3.0]])
    maps = torch.stack([torch.tensor([3.0, 4.0]).expand(3, 2), later])[..., None, None]
    volumes = dict(
        module(2, max_displacement=1, max_offset=1).similarities(
            maps.flatten(0, 1), maps.flatten(0, 1), num_frames=2
        )
    )
    now, _ = volumes[1].view(2, 3, 9)
    # 1e-6 in 25 and float32
    torch.testing.assert_close(now[:, 4], torch.tensor([0, -1, 0.96]), atol=1e-6, rtol=0)
    _, before = volumes[-1].view(2, 3, 9)
    torch.testing.assert_close(before[:, 4], torch.tensor([0, -1, 0.96]), atol=1e-6, rtol=0)
    assert not now[:, [0, 1, 2, 3, 5, 6, 7, 8]].any()  # outside the frame
    assert not volumes[1].view(2, 3, 9)[1].any()  # after the clip
    assert not volumes[-1].view(2, 3, 9)[0].any()  # before it


def test_a_shift_shows_as_the_displacement_at_which_the_cosine_is_one() -> None:
    still = draw(1, 16, 28, 28)
    maps = torch.cat([still.roll((t, -2 * t), (2, 3)) for t in range(4)])  # a row down, two left
    for offset, volume in module(16).similarities(maps, maps, num_frames=4):
        wanted = 9 * (offset + 4) - 2 * offset + 4
        if abs(2 * offset) <= 4:  # else it is further than what is compared
            inner = volume[max(0, -offset) : 4 - max(0, offset), 8:20, 8:20]
            assert (inner.argmax(-1) == wanted).all()
            # 1e-6 beside a square of 16 channels, of which some are near 3
            torch.testing.assert_close(
                inner[..., wanted], torch.ones(inner.shape[:-1]), atol=1e-5, rtol=0
            )


def test_a_place_is_like_itself_unless_it_is_zero() -> None:
    maps = draw(2, 5, 6, 6)
    maps[0, :, 2, 3] = 0
    _, volume = next(iter(module(5).similarities(maps, maps, num_frames=2)))
    wanted = torch.ones(2, 6, 6)
    wanted[0, 2, 3] = 0
    torch.testing.assert_close(volume[..., 40], wanted, atol=1e-5, rtol=0)
    assert not volume[0, 2, 3].any()


def test_gradients_are_finite_where_vectors_are_zero() -> None:
    maps, earlier = draw(4, 5, 6, 6), draw(4, 3, 12, 12)
    maps[1], earlier[2] = 0, 0
    stc = module(5)
    stc(maps.requires_grad_(), earlier.requires_grad_(), num_frames=4).square().sum().backward()
    for tensor in (maps, earlier, *stc.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
        assert tensor.grad.any()


# --- the module ---


def test_the_module_is_the_sum_of_the_stage_and_the_four_convolutions() -> None:
    stc = module(6).double().eval()
    maps, earlier = draw(6, 6, 5, 4).double(), draw(6, 3, 10, 8).double()
    weights = stc.state_dict()
    features = {}
    for offset, volume in stc.similarities(maps, earlier, num_frames=3):
        kind = "temporal" if offset else "spatial"
        first, second = weights[f"{kind}.0.weight"], weights[f"{kind}.2.weight"]
        features[offset] = ((volume @ first.T).clamp(min=0) @ second.T).clamp(min=0)
    x = torch.cat([features[offset] for offset in (-3, -2, -1, 0, 1, 2, 3)], -1).permute(0, 3, 1, 2)
    assert x.shape == (6, 56, 5, 4)
    for number, kernel in enumerate((7, 3, 3, 3)):
        for at, groups in ((6 * number, x.shape[1]), (6 * number + 3, 1)):
            weight = weights[f"fusion.{at}.weight"]
            x = nn.functional.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=groups)
            x = x / math.sqrt(1 + 1e-5) * weights[f"fusion.{at + 1}.weight"][:, None, None]
            x = x.clamp(min=0) if at < 21 else x  # the last ReLU is behind the sum
        assert weights[f"fusion.{6 * number}.weight"].shape[-1] == kernel
    given = stc(maps, earlier, num_frames=3)
    torch.testing.assert_close(given, (maps + x).clamp(min=0), atol=1e-10, rtol=0)
    assert (given != maps.clamp(min=0)).any()


def backwards(frames: Tensor, num_frames: int) -> Tensor:
    return split(frames, num_frames).flip(0).flatten(0, 1)


def test_a_mean_over_opposite_offsets_cannot_tell_forwards_from_backwards() -> None:
    maps, earlier = draw(10, 6, 9, 9, seed=1).double(), draw(10, 3, 9, 9, seed=2).double()
    for signed in (True, False):
        stc = module(6, signed=signed).double()
        forward = stc.correlation_features(maps, earlier, num_frames=5)
        turned = stc.correlation_features(backwards(maps, 5), backwards(earlier, 5), num_frames=5)
        apart = (forward - backwards(turned, 5)).abs().max()
        assert apart > 0.1 if signed else apart < 1e-10  # float64, after eight norms


def test_before_training_the_module_changes_nothing_and_can_learn() -> None:
    plain, full = small(stc_at=None).eval(), small(stc_at="res2-5").eval()
    missing, unknown = full.load_state_dict(plain.state_dict(), strict=False)
    assert not unknown
    assert {name.split(".")[0] for name in missing} == {"correlations"}
    assert torch.equal(plain(clips()), full(clips()))
    full.train()(clips()).square().sum().backward()
    for stc in full.correlations.values():
        grad = stc.get_parameter("fusion.22.weight").grad
        assert grad is not None
        assert grad.any()


def test_the_printed_form_starts_apart_from_gsf_and_every_parameter_learns_at_once() -> None:
    net, plain = small(stc_form="paper").eval(), small(stc_at=None).eval()
    net.load_state_dict(plain.state_dict(), strict=False)  # the same but for the module
    assert not torch.equal(net(clips()), plain(clips()))
    net.train()(clips()).square().sum().backward()
    module_ = net.correlations["res3"]
    assert all(p.grad is not None and p.grad.any() for p in module_.parameters())


def test_the_printed_form_adds_features_that_are_not_negative() -> None:
    settings: dict[str, Any] = {"max_offset": 1, "max_displacement": 1, "signed": True}
    printed = SpatioTemporalCorrelation(6, **settings, as_printed=True).eval()
    maps, earlier = torch.rand(4, 6, 5, 5), torch.rand(4, 3, 5, 5)
    features = printed.correlation_features(maps, earlier, num_frames=4)
    assert features.min() == 0 < features.max()  # what a ReLU leaves
    assert torch.equal(printed(maps, earlier, num_frames=4), features + maps)


def test_both_forms_of_the_module_have_the_same_parameters() -> None:
    shapes = [
        {name: tensor.shape for name, tensor in on_paper(stc_form=form).state_dict().items()}
        for form in ("residual", "paper")
    ]
    assert shapes[0] == shapes[1]


def test_after_a_step_every_parameter_learns() -> None:
    net = small(stc_at="res2-3")
    switch_on(net)
    net(clips()).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


# --- gate, shift, fuse ---


def reference_gsf(made: GateShiftFuse, maps: Tensor, num_frames: int) -> Tensor:
    """The authors' steps on (B, C, T, H, W), with one convolution over space and time."""
    x = split(maps, num_frames).permute(1, 2, 0, 3, 4)
    gated, rest = x[:, : made.width], x[:, made.width :]
    bn = made.bn
    normed = (gated - gated.mean((0, 2, 3, 4), keepdim=True)) / torch.sqrt(
        gated.var((0, 2, 3, 4), keepdim=True, correction=0) + bn.eps
    )
    active = (normed * bn.weight[:, None, None, None] + bn.bias[:, None, None, None]).clamp(min=0)
    kernel = made.taps.weight.view(2, 3, -1, 3, 3).transpose(1, 2)
    gates = nn.functional.conv3d(active, kernel, made.bias, padding=1, groups=2).tanh()
    halves = []
    for number, half in enumerate(gated.chunk(2, 1)):
        passed = gates[:, number, None] * half
        kept = half - passed
        moved = torch.zeros_like(passed)
        if number == 0:
            moved[:, :, :-1] = passed[:, :, 1:]
        else:
            moved[:, :, 1:] = passed[:, :, :-1]
        picture = torch.stack([moved.mean((-1, -2)), kept.mean((-1, -2))], 1)
        share = made.fuse[number](picture).sigmoid()[:, 0, ..., None, None]
        fused = moved * share + kept * (1 - share)
        quarters = fused.chunk(2, 1)
        halves.append(torch.stack(quarters, 2).flatten(1, 2))
    return torch.cat([*halves, rest], 1).permute(2, 0, 1, 3, 4).flatten(0, 1)


@pytest.mark.parametrize("num_frames", [1, 3])
@pytest.mark.parametrize("width", [8, 12])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gsf_and_its_gradients_are_those_of_the_authors_steps(
    num_frames: int, width: int, layout: torch.memory_format
) -> None:
    made, maps = gsf(width), draw(2 * num_frames, 12, 4, 5).double().requires_grad_()
    wanted = reference_gsf(made, maps, num_frames)
    ours = made(maps.clone(memory_format=layout), num_frames=num_frames)
    torch.testing.assert_close(ours, wanted, atol=1e-10, rtol=0)
    weights = draw(*wanted.shape, seed=3).double()
    grads, wanted_grads = (
        torch.autograd.grad((maps_ * weights).sum(), (maps, *made.parameters()))
        for maps_ in (ours, wanted)
    )
    torch.testing.assert_close(grads, wanted_grads, atol=1e-10, rtol=0)


def test_closed_gates_keep_what_is_not_let_in() -> None:
    made, maps = gsf(8), draw(4, 8, 2, 2).double()
    nn.init.zeros_(made.taps.weight)
    nn.init.zeros_(made.bias)  # tanh(0) = 0: nothing passes, all is kept
    given = made(maps.clone(), num_frames=2)
    for number, half in enumerate(split(maps, 2).chunk(2, 2)):
        means = half.mean((-1, -2)).permute(1, 2, 0)  # (B, F / 2, T)
        share = made.fuse[number](torch.stack([torch.zeros_like(means), means], 1)).sigmoid()
        wanted = half * (1 - share[:, 0].permute(2, 0, 1))[..., None, None]
        in_turns = torch.stack(wanted.chunk(2, 2), 3).flatten(2, 3).flatten(0, 1)
        torch.testing.assert_close(given.chunk(2, 1)[number], in_turns, atol=1e-12, rtol=0)


def test_open_gates_move_channels_by_a_frame_by_hand() -> None:
    made = GateShiftFuse(4)
    nn.init.zeros_(made.taps.weight)
    made.bias.data = torch.tensor([torch.inf, -torch.inf])  # gates 1 and -1
    for fuse in made.fuse:
        nn.init.zeros_(fuse.get_parameter("weight"))
        nn.init.zeros_(fuse.get_parameter("bias"))  # sigmoid(0): a half of either
    # five channels of three frames of one place; the fifth is not gated
    x = torch.tensor([[1.0, 2, 3, 4, 5], [-6, 7, 8, -9, 10], [11, 12, -13, 14, 15]])
    given = made(x[..., None, None].clone(), num_frames=3)[..., 0, 0]
    # first half: y = x from the frame after, r = 0: half of the next frame, then of nothing
    # second half: y = -x from the frame before, r = 2 x: x less half of the frame before
    wanted = [
        [-3, 3.5, 3, 4, 5],
        [5.5, 6, 8 - 1.5, -9 - 2, 10],
        [0, 0, -13 - 4, 14 + 4.5, 15],
    ]
    assert given.tolist() == wanted


def test_channels_of_a_half_take_turns() -> None:
    made = GateShiftFuse(8)
    nn.init.zeros_(made.taps.weight)
    nn.init.zeros_(made.bias)
    for fuse in made.fuse:
        nn.init.zeros_(fuse.get_parameter("weight"))
        nn.init.zeros_(fuse.get_parameter("bias"))
    given = made.eval()(torch.arange(10.0).view(1, 10, 1, 1), num_frames=1).flatten()
    assert (2 * given).tolist() == [0, 2, 1, 3, 4, 6, 5, 7, 16, 18]  # a half of what is gated


# --- the net ---


def test_a_clip_is_answered_alike_alone_and_among_others() -> None:
    net = switch_on(small().eval())
    alone = torch.cat([net(clip[None]) for clip in clips(3)])
    torch.testing.assert_close(net(clips(3)), alone, atol=1e-5, rtol=1e-5)  # float32, other sums


def without_gates(net: CorrelationNet) -> CorrelationNet:
    """Each channel stays in its frame."""
    for part in net.modules():
        if isinstance(part, GateShiftFuse):
            nn.init.zeros_(part.taps.weight)
            nn.init.zeros_(part.bias)
            for fuse in part.fuse:
                nn.init.zeros_(fuse.get_parameter("weight"))
    return net


def test_the_order_of_frames_matters_to_gates_and_to_correlation_alone() -> None:
    forward, mixed = clips(), clips()[:, [2, 0, 3, 1]]
    frames_alone = without_gates(small(stc_at=None))
    torch.testing.assert_close(frames_alone(forward), frames_alone(mixed), atol=1e-5, rtol=0)
    for net in (small(stc_at=None), switch_on(without_gates(small()))):
        assert (net(forward) - net(mixed)).abs().max() > 1e-3


@pytest.mark.parametrize("num_frames", [1, 2, 8])
def test_a_net_takes_as_many_frames_as_there_are(num_frames: int) -> None:
    assert small()(clips(2, num_frames, size=40)).shape == (2, 4)


def test_a_net_runs_in_mixed_precision_and_in_any_layout() -> None:
    net = switch_on(small())
    wanted = net(clips())
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(clips())
    torch.autograd.backward(logits.float().sum())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    # bfloat16 holds two to three digits, and norms over few places spread what is lost
    torch.testing.assert_close(logits.float(), wanted, atol=0.1, rtol=0)
    again = net.to(memory_format=torch.channels_last)(clips())
    torch.testing.assert_close(again, wanted, atol=1e-3, rtol=0)  # other sums


@pytest.mark.parametrize("place", PLACES)
def test_modules_are_where_table_6_has_them(place: str) -> None:
    net = small(stc_at=place)
    first, _, last = place.removeprefix("res").partition("-")
    stages = [f"res{number}" for number in range(int(first), int(last or first) + 1)]
    assert list(net.correlations) == stages
    assert net(clips(size=33)).isfinite().all()  # maps of odd sizes
    # what res2 is compared with is the stem's output, as large as its own
    channels = {"res2": 256, "res3": 512, "res4": 1024, "res5": 2048}
    extra = sum(14_104 + 5_696 + 18 * (channels[stage] - 512) for stage in stages)
    assert count(on_paper(stc_at=place)) == 23_974_702 + extra


def test_the_trunk_starts_from_torchvisions_weights(tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        theirs = torchvision.models.resnet50(num_classes=3)
    torch.save(theirs.state_dict(), tmp_path / "resnet50.pth")
    net = create("correlation", num_classes=5, weights=tmp_path / "resnet50.pth")
    assert isinstance(net, CorrelationNet)
    blocks = net.get_submodule("stages.res4")
    assert torch.equal(blocks.get_parameter("5.conv2.weight"), theirs.layer3[5].conv2.weight)
    assert torch.equal(net.get_parameter("stem.0.weight"), theirs.conv1.weight)
    assert net.classifier.weight.shape == (5, 2048)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_classes": 0}, r"num_classes=0: must be 1 or more"),
        ({"stc_at": "res1"}, r"stc_at='res1': must be one of res2, .*res2-5; or None"),
        ({"stc_at": "none"}, r"stc_at='none': must be one of res2"),
        ({"stc_form": "printed"}, r"stc_form='printed': must be one of residual, paper"),
        ({"max_offset": 0}, r"max_offset=0: must be 1 or more"),
        ({"max_displacement": 0}, r"max_displacement=0: must be 1 or more"),
        ({"gsf_ratio": 0}, r"gsf_ratio=0: must be a multiple of 1/16, above 0 and up to 1"),
        ({"gsf_ratio": 0.3}, r"gsf_ratio=0.3: must be a multiple of 1/16"),
        ({"gsf_ratio": 1.0625}, r"gsf_ratio=1.0625: must be a multiple of 1/16"),
        ({"dropout": 1}, r"dropout=1: must be 0 or more and below 1"),
        ({"width": 8}, r"width=8: must be a multiple of 16"),
        ({"layers": (1, 1, 1)}, r"layers=\(1, 1, 1\): must be four"),
        ({"weights": "/nowhere"}, r"weights /nowhere: no such file"),
    ],
)
def test_a_wrong_setting_is_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        small(**wrong)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (torch.zeros(4, 3, 64, 64), r"shape \(4, 3, 64, 64\), must be \(clips, frames, 3, height"),
        (torch.zeros(1, 4, 64, 64, 3), r"shape \(1, 4, 64, 64, 3\).*pixels come last"),
        (torch.zeros(1, 0, 3, 64, 64), r"shape \(1, 0, 3, 64, 64\).*none of them 0"),
        (torch.zeros(1, 4, 3, 64, 64, dtype=torch.uint8), r"torch.uint8, must be floating; div"),
    ],
)
def test_wrong_frames_are_named(frames: Tensor, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        small()(frames)


# --- what only motion tells ---


def dots(start: int, stop: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Four directions: every third of ten frames, 64 x 64, so that dots move 4.5 to 7.8 pixels."""
    pixels, labels = MotionDots(num_frames=10, size=64, seed=seed).batch(start, stop)
    return (pixels[:, ::3].permute(0, 1, 4, 2, 3).float() / 255 - 0.5) / 0.2, labels


class Alone(nn.Module):
    """What the module tells of stages of a frozen network with random weights, and nothing else."""

    def __init__(self, *, signed: bool, seed: int) -> None:
        super().__init__()
        self.stc = module(128, seed=seed, signed=signed)
        self.classifier = nn.Linear(128, 4)

    def forward(self, maps: Tensor, earlier: Tensor) -> Tensor:
        num_frames = maps.shape[1]
        told = self.stc.correlation_features(
            by_frame(maps), by_frame(earlier), num_frames=num_frames
        )
        logits: Tensor = self.classifier(split(told.mean((-2, -1)), num_frames).mean(0))
        return logits


def stages(frames: Tensor, *, seed: int) -> tuple[Tensor, Tensor]:
    """What a random network has of each frame by itself at res3, and at res2."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        trunk = residual_network(layers=(1, 1, 1, 1), width=16)
    with torch.no_grad():
        stem = nn.Sequential(trunk.conv1, trunk.bn1, trunk.relu, trunk.maxpool)
        earlier = trunk.layer1(stem(frames.flatten(0, 1)))
        maps = trunk.layer2(earlier)
    num_clips = len(frames)
    return maps.view(num_clips, -1, *maps.shape[1:]), earlier.view(
        num_clips, -1, *earlier.shape[1:]
    )


def learn(
    net: nn.Module, inputs: tuple[Tensor, ...], labels: Tensor, *, epochs: int, rate: float
) -> nn.Module:
    """AdamW in batches of 16, with a rate that rises and falls."""
    optimiser = torch.optim.AdamW(net.parameters(), rate)
    num_steps = epochs * len(labels) // 16
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=num_steps)
    generator = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for rows in torch.randperm(len(labels), generator=generator).view(-1, 16):
            loss = nn.functional.cross_entropy(net(*(each[rows] for each in inputs)), labels[rows])
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
    return net.eval()


def answers(net: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    with torch.inference_mode():
        logits: Tensor = net(*inputs)
        return logits.argmax(1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_correlations_alone_tell_directions_and_their_means_no_sense(seed: int) -> None:
    frames, labels = dots(0, 712, seed=seed)
    maps, earlier = stages(frames, seed=seed)
    known, asked = (maps[:512], earlier[:512]), (maps[512:], earlier[512:])
    found = {}
    for signed in (True, False):
        net = learn(Alone(signed=signed, seed=seed), known, labels[:512], epochs=8, rate=1e-2)
        found[signed] = answers(net, asked)
    wanted = labels[512:]
    assert (found[True] == wanted).float().mean() >= 0.9
    # right, down, left, up: the axis is the label modulo 2
    axis = found[False] % 2 == wanted % 2
    right = (found[False] == wanted)[axis].float().mean()
    assert abs(right - 0.5) <= 3 * 0.5 / math.sqrt(int(axis.sum()))  # a coin's
