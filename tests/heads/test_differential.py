"""The differential net: what it counts, keeps, loads and refuses, and what it can learn."""

import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kinestore.federated import ServerState
from kinestore.federated.strategies import personal
from kinestore.heads._local_difference import LOCAL_INPUTS
from kinestore.heads._resnet import residual_network
from kinestore.heads._temporal_difference import TimeModule
from kinestore.heads.differential import DifferentialNet
from kinestore.pipeline.training.model_spec import read_head
from kinestore.store import Features, UsageError
from tests.helpers.differentials import clips, count, draw, on_paper, small, unsettle
from tests.helpers.motion_learning import (
    ADJACENT,
    ONE_FRAME,
    SHUFFLED,
    SMOOTHED,
    WHOLE,
    Case,
    MotionScores,
    learn,
)

# How large it is.


@pytest.mark.parametrize(
    ("num_classes", "published"),
    [(1000, 25_557_032), (400, 24_327_632), (174, 23_864_558), (101, 23_714_981), (51, 23_612_531)],
)
def test_the_trunk_counts_as_resnet_50(num_classes: int, published: int) -> None:
    with torch.device("meta"):
        trunk = residual_network()
    parts = [trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4]
    assert count(trunk.conv1, trunk.bn1) == 9_536
    assert [count(part) for part in parts] == [215_808, 1_219_584, 7_098_368, 14_964_736]
    without_classifier = count(trunk) - count(trunk.fc)
    assert without_classifier == 23_508_032
    assert without_classifier + 2048 * num_classes + num_classes == published


def test_parameters_of_the_default_net_by_part() -> None:
    net = on_paper()
    assert count(net) == 25_605_541  # the paper's "about 25.6 M"
    assert count(net.local) == 450_688
    assert count(net.local.stem) == count(net.local.diff_stem) == 9_536
    assert count(net.local.res2) == count(net.local.diff_res2) == 215_808
    assert count(net.stages, net.classifier) == 25_154_853
    # 2Cc + 2c + 9c^2 + 4 (9c^2 + 2c) + 2C with C = 512, 1024, 2048 and c = C / 16
    assert [count(stage.time) for stage in net.stages] == [80_192, 318_080, 1_266_944]
    assert count(net.classifier) == 2049 * 101
    assert [stage.time.stride for stage in net.stages] == [1, 1, 2]


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        ({"tm_share_dirs": "paths"}, 25_568_805),
        ({"tm_share_dirs": "both", "tm_conv": "depthwise"}, 25_026_053),
        ({"local_input": "center_diff"}, 25_605_541 + 28_224),
        ({"local_input": "adjacent_diff"}, 25_605_541 + 28_224),
        ({"local_input": "concat_frames"}, 25_605_541 + 12 * 64 * 49),
        # what the two directions share is counted once more: 3 x (C c + 2 C) = 351,232 in all
        ({"tm_share_dirs": "none"}, 25_605_541 + 351_232),
        # TDN's placement, which leaves the paper's 25.6 M behind
        (
            {
                "tm_place": "block",
                "tm_conv": "depthwise",
                "tm_share_dirs": "both",
                "local_input": "adjacent_diff",
            },
            24_222_277,
        ),
        ({"tm_reduction": 8, "tm_share_dirs": "both", "tm_conv": "depthwise"}, 26_878_757),
        ({"strides": ()}, 25_605_541 - 80_192 - 318_080 - 1_266_944),
        ({"strides": (), "local_input": "none"}, 23_714_981),  # ResNet-50 with 101 classes
        ({"layers": (3, 4, 23, 3)}, 25_605_541 + 17 * 1_117_184),  # ResNet-101
    ],
)
def test_parameters_of_other_readings(settings: dict[str, Any], parameters: int) -> None:
    assert count(on_paper(**settings)) == parameters


def multiply_adds(net: nn.Module, *, num_segments: int = 8) -> float:
    """Of convolutions and the linear layer, a segment of 224 x 224."""
    with FlopCounterMode(display=False) as counter:
        net.eval()(torch.empty(1, num_segments, 5, 3, 224, 224, device="meta"))
    return int(counter.get_total_flops()) / 2 / num_segments


def test_multiply_adds_of_a_segment() -> None:
    net = on_paper()
    assert multiply_adds(net) == pytest.approx(4.474e9, rel=1e-3)
    for stage in net.stages:  # as Caffe has it, on the first 1x1
        stage.blocks[0].conv1.stride, stage.blocks[0].conv2.stride = (2, 2), (1, 1)
    assert multiply_adds(net) == pytest.approx(4.243e9, rel=1e-3)
    plain = on_paper(num_classes=1000, strides=(), local_input="none")
    assert multiply_adds(plain) == pytest.approx(4.0871e9 + 2.048e6, rel=1e-4)


def test_sizes_on_the_way() -> None:
    net = on_paper()
    seen: dict[str, tuple[int, ...]] = {}
    steps = ["stem", "diff_stem.0", "diff_stem", "diff_res2"]
    steps = ["local", *(f"local.{step}" for step in steps), "stages.res3", "stages.res4", "stages"]
    for step in steps:
        net.get_submodule(step).register_forward_hook(
            lambda _, __, out, step=step: seen.update({step: tuple(out.shape[1:])})
        )
    assert net(torch.empty(2, 8, 5, 3, 224, 224, device="meta")).shape == (2, 101)
    assert seen == {
        "local.stem": (64, 56, 56),
        "local.diff_stem.0": (64, 56, 56),  # of pooled 112 x 112
        "local.diff_stem": (64, 28, 28),
        "local.diff_res2": (256, 28, 28),
        "local": (256, 56, 56),
        "stages.res3": (512, 28, 28),
        "stages.res4": (1024, 14, 14),
        "stages": (2048, 7, 7),
    }


# The whole net.


def test_without_time_modules_a_clip_and_its_reverse_are_one() -> None:
    frames = clips()
    blind, seeing = small(strides=()).eval(), small().eval()
    backwards = frames.flip(1, 2)
    # the means over segments add the same float32 numbers in another order
    torch.testing.assert_close(blind(frames), blind(backwards), rtol=0, atol=1e-5)
    assert not torch.allclose(seeing(frames), seeing(backwards), rtol=0, atol=1e-3)


def test_segments_matter_in_their_order_to_time_modules_alone() -> None:
    frames, order = clips(), [2, 0, 1]
    off, on = small(strides=()).eval(), small().eval()
    # a mean of three float32 numbers in another order
    torch.testing.assert_close(off(frames), off(frames[:, order]), rtol=0, atol=1e-5)
    assert not torch.allclose(on(frames), on(frames[:, order]), rtol=0, atol=1e-3)


def test_clips_of_a_batch_do_not_touch_each_other() -> None:
    frames, net = clips(3), unsettle(small())
    alone = torch.cat([net(clip[None].double()) for clip in frames])
    torch.testing.assert_close(net(frames.double()), alone, rtol=1e-9, atol=1e-9)


def test_in_blocks_a_time_module_stands_between_relu_and_the_second_convolution() -> None:
    net = small(tm_place="block").eval()
    block = net.stages.get_submodule("res3.0")
    x = draw(3, 64, 16, 16)
    out = block.relu(block.bn1(block.conv1(x)))  # type: ignore[operator]
    out = block.get_submodule("conv2.time")(out)
    out = block.relu(block.bn2(block.get_submodule("conv2.conv")(out)))  # type: ignore[operator]
    out = block.bn3(block.conv3(out)) + block.downsample(x)  # type: ignore[operator]
    torch.testing.assert_close(block(x), out.relu(), rtol=0, atol=0)
    deep = on_paper(tm_place="block", strides=(1, 2, 3), num_segments=8)
    strides = [m.stride for m in deep.modules() if isinstance(m, TimeModule)]
    assert strides == [1] * 4 + [2] * 6 + [3] * 3


@pytest.mark.parametrize(
    "settings",
    [
        {"local_input": "concat_frames", "diff_conv": "one"},
        {"local_input": "adjacent_diff", "boundary": "zero_diff", "diff_conv": "one"},
        {"local_input": "center_diff", "center_gate": True},
        {"local_input": "none", "tm_place": "block", "tm_reduction": 4},
        {"diff_reduce": "sum", "fusion_weights": (0.5, 0.5), "tm_share_dirs": "none"},
        {"strides": (), "num_segments": 1},
        {"strides": (2, 1, 2), "tm_conv": "depthwise", "tm_share_dirs": "both", "width": 32},
    ],
)
def test_every_switch_leaves_a_net_that_learns_from_every_parameter(
    settings: dict[str, Any],
) -> None:
    net = small(**settings)
    logits = net(clips(2, net.num_segments))
    assert logits.shape == (2, 4)
    nn.functional.cross_entropy(logits, torch.tensor([0, 3])).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


def test_channels_last_is_kept_on_the_way_and_gives_the_same() -> None:
    net, frames = small(dropout=0.0).eval(), clips()
    plain = net(frames)
    net = net.to(memory_format=torch.channels_last)
    lost: list[str] = []

    def look(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: Any, out: Tensor) -> None:
            has_places = out.ndim == 4 and out.shape[-1] > 1
            if has_places and not out.is_contiguous(memory_format=torch.channels_last):
                lost.append(name)

        return hook

    for name, module in net.named_modules():
        module.register_forward_hook(look(name))
    # other kernels add float32 numbers in another order, over twenty layers
    torch.testing.assert_close(net(frames), plain, rtol=1e-3, atol=1e-4)
    assert lost == []


@pytest.mark.parametrize("size", [33, 50, 65])
def test_sides_need_not_divide(size: int) -> None:
    net = small().eval()
    assert net(clips(1, size=size)).isfinite().all()


# What stays with a client.


def test_only_public_tensors_leave_a_client() -> None:
    net = on_paper()
    state = net.state_dict()
    start = ServerState(
        arrays=state,
        parameters=frozenset(name for name, _ in net.named_parameters()),
        num_clients=20,
        per_round=4,
    )
    sent = personal.build(private=DifferentialNet.private).init(start)
    assert set(sent.arrays) == {name for name in state if not name.startswith("local.")}
    named = personal.build(public=DifferentialNet.public).init(start)
    assert set(named.arrays) == set(sent.arrays)
    parameters = sum(state[name].numel() for name in sent.parameters)
    assert parameters == 25_154_853
    # a batch norm of c channels has 2 c float32 besides its parameters, and an int64
    norms = [m for name, m in net.named_modules()
             if isinstance(m, nn.BatchNorm2d) and not name.startswith("local.")]  # fmt: skip
    buffers = sum(4 * 2 * norm.num_features + 8 for norm in norms)
    payload = sum(array.numel() * array.element_size() for array in sent.arrays.values())
    assert payload == 4 * parameters + buffers


# Weights from a file.


def test_the_trunk_has_the_names_and_shapes_of_torchvisions() -> None:
    with torch.device("meta"):
        ours, theirs = residual_network().state_dict(), torchvision.models.resnet50().state_dict()
    classifier = {"fc.weight", "fc.bias"}  # of any size
    shapes = [
        {name: tensor.shape for name, tensor in state.items() if name not in classifier}
        for state in (ours, theirs)
    ]
    assert shapes[0] == shapes[1]
    assert ours.keys() == theirs.keys()


def small_state(tmp_path: Path, *, num_outputs: int = 1) -> tuple[Path, dict[str, Tensor]]:
    state = dict(residual_network(layers=(1, 1, 1, 1), width=16).state_dict())
    return tmp_path / "trunk.pth", {
        **state,
        "fc.weight": torch.zeros(num_outputs, 512),
        "fc.bias": torch.zeros(num_outputs),
    }


@pytest.mark.parametrize("tm_place", ["stage", "block"])
def test_weights_fill_the_trunk_and_the_difference_branch(tmp_path: Path, tm_place: str) -> None:
    path, state = small_state(tmp_path, num_outputs=1000)
    torch.save(state, path)
    filled = small(weights=path, tm_place=tm_place).state_dict()
    places = {
        "conv1": ["local.stem.0"],
        "bn1": ["local.stem.1"],
        "layer1": ["local.res2", "local.diff_res2"],
        "layer2": ["stages.res3", "stages.res3.blocks"],
        "layer3": ["stages.res4", "stages.res4.blocks"],
        "layer4": ["stages.res5", "stages.res5.blocks"],
    }
    found = 0
    for name, tensor in state.items():
        part, _, rest = name.partition(".")
        rests = (rest, rest.replace("conv2", "conv2.conv"))
        for ours in {f"{place}.{rest}" for place in places.get(part, []) for rest in rests}:
            if ours in filled:
                found += 1
                assert torch.equal(filled[ours], tensor)
    branch = sum(name.startswith("layer1.") for name in state)
    assert found == len(state) - len(("fc.weight", "fc.bias")) + branch
    new = set(filled) - {name for name in filled if "time" not in name and "diff_stem" not in name}
    assert len(filled) == found + len(new) + len(("classifier.weight", "classifier.bias"))
    assert filled["classifier.weight"].shape == (4, 512)


@pytest.mark.parametrize("local_input", ["adjacent_diff", "concat_frames", "none"])
def test_the_difference_stem_is_inflated_to_its_channels(tmp_path: Path, local_input: str) -> None:
    path, state = small_state(tmp_path)
    torch.save(state, path)
    net = small(local_input=local_input, weights=path)
    if local_input == "none":
        assert not any(name.startswith("local.diff_") for name in net.state_dict())
        return
    inflated = net.get_parameter("local.diff_stem.0.weight")
    wanted = state["conv1.weight"].mean(1, keepdim=True).expand_as(inflated)
    assert torch.equal(inflated, wanted) and inflated.shape[1] == LOCAL_INPUTS[local_input][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"layer1.0.bn2.bias": None},
            r"do not fit the network: the file lacks 'layer1\.0\.bn2\.bias' ",
        ),
        ({"layer1.9.bn2.bias": torch.zeros(3)}, r"has an unknown 'layer1\.9\.bn2\.bias' "),
        (
            {"conv1.weight": torch.zeros(64, 1, 7, 7)},
            r"another shape of 'conv1\.weight' \(\(64, 1, 7, 7\) in the file, \(64, 3, 7, 7\)",
        ),
        ({"conv1.weight": 3}, r"trunk\.pth: not a state dict of tensors"),
    ],
)
def test_weights_that_do_not_fit_stop_the_load(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path, state = small_state(tmp_path)
    changed = {k: v for k, v in {**state, **change}.items() if v is not None}
    torch.save(changed, path)
    with pytest.raises(UsageError, match=message):
        small(weights=path)


def test_a_file_that_is_no_state_dict_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.pth: no such file"):
        small(weights=tmp_path / "absent.pth")
    (tmp_path / "noise.pth").write_bytes(b"no weights")
    with pytest.raises(UsageError, match=r"noise\.pth: not a state dict of tensors \("):
        small(weights=tmp_path / "noise.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(UsageError, match=r"list\.pth: not a state dict of tensors$"):
        small(weights=tmp_path / "list.pth")
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Path.cwd, protocol=2))
    with pytest.raises(UsageError, match=r"evil\.pth: not a state dict of tensors \("):
        small(weights=tmp_path / "evil.pth")


# Wrong requests.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_classes": 0}, r"num_classes=0: must be 1 or more"),
        ({"num_segments": 0, "strides": ()}, r"num_segments=0: must be 1 or more"),
        ({"local_input": "diff"}, r"local_input='diff': must be one of concat_frames, .*, none"),
        ({"diff_reduce": "max"}, r"diff_reduce='max': must be 'mean' or 'sum'"),
        (
            {"diff_reduce": "sum", "local_input": "none"},
            r"diff_reduce='sum': local_input='none' reduces nothing; leave it out",
        ),
        ({"fusion_weights": (1.0,)}, r"fusion_weights=\(1\.0,\): must be two"),
        ({"strides": (1, 2)}, r"strides=\(1, 2\): must be three, of res3, res4 and res5; or none"),
        (
            {"strides": (1, 2, 3)},
            r"strides=\(1, 2, 3\): each must be 1 or more and below num_segments=3; take more seg",
        ),
        ({"strides": (0, 1, 1)}, r"strides=\(0, 1, 1\): each must be 1 or more"),
        ({"diff_conv": "none"}, r"diff_conv='none': must be one of both, one"),
        ({"boundary": "zero"}, r"boundary='zero': must be one of zero_feature, zero_diff"),
        ({"tm_place": "net"}, r"tm_place='net': must be one of stage, block"),
        ({"tm_conv": "1x1"}, r"tm_conv='1x1': must be one of full, depthwise"),
        ({"tm_share_dirs": "all"}, r"tm_share_dirs='all': must be one of none, expand, paths, bo"),
        ({"tm_reduction": 0}, r"tm_reduction=0: must be 1 or more"),
        ({"tm_reduction": 7}, r"tm_reduction=7: must divide 128, the channels of a stage; take a"),
        ({"dropout": 1.0}, r"dropout=1\.0: must be 0 or more and below 1"),
        ({"layers": (1, 1, 1)}, r"layers=\(1, 1, 1\): must be four, each from 1 to 100"),
        ({"layers": (1, 1, 0, 1)}, r"layers=\(1, 1, 0, 1\): must be four, each from 1 to 100"),
        ({"layers": (10**9, 1, 1, 1)}, r"must be four, each from 1 to 100"),
        ({"width": 16 * 10**6}, r"width=16000000: must be a multiple of 16, 1024 at most"),
        ({"width": 24}, r"width=24: must be a multiple of 16, 1024 at most; ResNet-50 has 64"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        small(**settings)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (torch.zeros(1, 4, 5, 3, 64, 64), r"shape \(1, 4, 5, 3, 64, 64\), must be \(clips, 3, 5,"),
        (torch.zeros(1, 3, 4, 3, 64, 64), r"must be \(clips, 3, 5, 3, height, width\)"),
        (torch.zeros(1, 15, 3, 64, 64), r"sample num_segments=3 segments of 5 frames"),
        (torch.zeros(1, 3, 5, 3, 64, 32), r"with sides of 33 or more"),
        (torch.zeros(1, 3, 5, 3, 64, 64, dtype=torch.uint8), r"torch\.uint8, must be floating; di"),
    ],
)
def test_frames_that_the_net_cannot_take_are_told(frames: Tensor, message: str) -> None:
    with pytest.raises(UsageError, match=f"frames: {message}" if "uint8" in message else message):
        small()(frames)


def test_features_are_refused_in_one_sentence() -> None:
    rows = Features(
        features=np.zeros((2, 4), np.float32), labels=np.arange(2), clip_ids=["a", "b"],
        groups=[None, None], splits=[None, None], uris=["", ""], classes=["x", "y"], views=["v"],
        missing=[], widths=[4],
    )  # fmt: skip
    message = r"head='differential': takes frames, and these are features; take one of .*mlp"
    with pytest.raises(UsageError, match=message):
        read_head("differential").create(rows, seed=0)


# What it learns of dots that move in four directions, from 400 clips' scores for each seed.

SEEDS = (0, 1, 2)
CHANCE = {"top1": (1 / 4, math.sqrt(1 / 4 * 3 / 4 / 400)), "sense": (1 / 2, math.sqrt(1 / 4 / 400))}
"""Mean and standard deviation of guessing."""


def is_chance(scores: MotionScores, name: str) -> bool:
    mean, sigma = CHANCE[name]
    return bool(abs(getattr(scores, name) - mean) < 3 * sigma)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("case", [WHOLE, ADJACENT])
def test_time_modules_or_adjacent_differences_learn_the_direction(case: Case, seed: int) -> None:
    assert learn(case, seed=seed).top1 >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_the_local_module_alone_learns_the_axis_and_not_the_sense(seed: int) -> None:
    scores = learn(SMOOTHED, seed=seed)
    assert scores.axis >= 0.9 and is_chance(scores, "sense")


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_shuffled_frames_leave_the_sense_at_chance(seed: int) -> None:
    assert is_chance(learn(SHUFFLED, seed=seed), "sense")


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_one_frame_leaves_the_direction_at_chance(seed: int) -> None:
    assert is_chance(learn(ONE_FRAME, seed=seed), "top1")
