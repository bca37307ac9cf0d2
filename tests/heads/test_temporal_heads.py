"""Heads that read a sequence: the transformer encoder and the recurrent ones."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kinestore.heads import TrainingConfig, create, fit, predict_logits
from kinestore.heads._sequence_head import GaussianNoise
from kinestore.heads.support.step_mask import join_mask, takes_joined_mask
from kinestore.heads.temporal_rnn import TemporalRnn
from kinestore.heads.temporal_transformer import SinusoidalPositions, TemporalTransformer
from kinestore.store import UsageError

SMALL: dict[str, dict[str, Any]] = {
    "sinusoidal": {"positions": "sinusoidal", "heads": 2, "feed_forward": 16},
    "learned": {"positions": "learned", "num_frames": 6, "heads": 2, "feed_forward": 16},
    "none": {"positions": "none", "heads": 2, "feed_forward": 16},
    "gru": {"cell": "gru", "units": 16},
    "lstm": {"cell": "lstm", "units": 16},
    "both ways": {"cell": "lstm", "units": 16, "bidirectional": True},
}
"""One of each kind, small."""

RECURRENT = ["gru", "lstm", "both ways"]


def small(kind: str, *, seed: int = 0, **settings: Any) -> nn.Module:
    name = "temporal_rnn" if kind in RECURRENT else "temporal_transformer"
    wanted = {"in_features": 16, "num_classes": 2, "dense": 32, **SMALL[kind], **settings}
    return create(name, seed=seed, **wanted)


def exact(kind: str, **settings: Any) -> nn.Module:
    """In evaluation mode, in float64, with every weight away from its first value."""
    head = small(kind, **settings).double().eval()
    generator = torch.Generator().manual_seed(3)
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    return head


def clips(num_clips: int = 5, num_frames: int = 6, width: int = 16, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_clips, num_frames, width, generator=generator)


def first_real(*lengths: int, num_frames: int = 6) -> Tensor:
    return torch.arange(num_frames) < torch.tensor(lengths)[:, None]


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


# Published counts.


@pytest.mark.parametrize(
    ("width", "heads", "encoder", "after"),
    [
        # queries, keys, values 3*(1920*7680+7680) = 44259840, out 7680*1920+1920 = 14747520,
        # norms 4*1920 = 7680, feed-forward 1920*64+64 + 64*1920+1920 = 247744;
        # classifier 1920*1024+1024 + 1024*101+101 = 1967104 + 103525
        (1920, 4, 59_262_784, 2_070_629),
        (1920, 6, 88_765_504, 2_070_629),
        (2048, 4, 67_407_936, 2_201_701),
    ],
)
def test_transformer_counts_as_published(width: int, heads: int, encoder: int, after: int) -> None:
    sizes = {"in_features": width, "num_classes": 101, "heads": heads}
    with torch.device("meta"):
        head = create("temporal_transformer", **sizes)
        learned = create("temporal_transformer", positions="learned", num_frames=4, **sizes)
    assert isinstance(head, TemporalTransformer)
    assert (count(head.blocks), count(head.classifier)) == (encoder, after)
    assert count(head) == encoder + after
    assert count(learned) - count(head) == 4 * width


def test_two_layers_count_twice() -> None:
    with torch.device("meta"):
        head = create("temporal_transformer", in_features=1920, num_classes=101, layers=2)
    assert count(head) == 2 * 59_262_784 + 2_070_629


@pytest.mark.parametrize(
    ("cell", "width", "recurrent", "published"),
    [
        # 3*2048*(1920+2048+2); state to dense 2048*1024+1024 = 2098176; last 1024*101+101 = 103525
        ("gru", 1920, 24_391_680, 26_593_381),
        # 4*2048*(1920+2048+1): one bias a gate
        ("lstm", 1920, 32_514_048, 34_715_749),
        ("lstm", 1024, 25_174_016, 27_375_717),
    ],
)
def test_recurrent_counts_as_published(
    cell: str, width: int, recurrent: int, published: int
) -> None:
    with torch.device("meta"):
        head = create("temporal_rnn", in_features=width, num_classes=101, cell=cell)
    assert isinstance(head, TemporalRnn)
    assert (count(head.cell), count(head)) == (recurrent, published)
    assert count(head.classifier) == 2_098_176 + 103_525


# References from the equations, which see real frames alone.


def linear(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def layer_norm(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    unit = (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-3).sqrt()
    return unit * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def classify(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    return linear(weights, "classifier.4", linear(weights, "classifier.1", x).clamp(min=0))


def encode(weights: dict[str, Tensor], block: str, x: Tensor, num_heads: int) -> Tensor:
    width, seen = x.shape[1], []
    projected = linear(weights, f"{block}.queries_keys_values", x)
    queries, keys, values = projected.split(num_heads * width, -1)  # type: ignore[no-untyped-call]
    for start in range(0, num_heads * width, width):  # a head at a time, each D wide
        q, k, v = (part[:, start : start + width] for part in (queries, keys, values))
        exponents = torch.exp(q @ k.T / math.sqrt(width))
        seen.append(exponents / exponents.sum(1, keepdim=True) @ v)
    x = layer_norm(
        weights, f"{block}.attention_norm", x + linear(weights, f"{block}.out", torch.cat(seen, 1))
    )
    inner = linear(weights, f"{block}.feed_forward.0", x)
    inner = inner * (1 + torch.special.erf(inner / math.sqrt(2))) / 2
    return layer_norm(
        weights, f"{block}.feed_forward_norm", x + linear(weights, f"{block}.feed_forward.2", inner)
    )


def waves(width: int, num_frames: int) -> Tensor:
    """Eq. 8, an entry at a time."""
    table = torch.empty(num_frames, width, dtype=torch.float64)
    for place in range(num_frames):
        for column in range(width):
            angle = place / 10_000 ** (2 * (column // 2) / width)
            table[place, column] = math.cos(angle) if column % 2 else math.sin(angle)
    return table


@pytest.mark.parametrize("kind", ["sinusoidal", "learned", "none"])
def test_transformer_follows_the_equations(kind: str) -> None:
    head, some = exact(kind, layers=2), clips(3).double()
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [0, 1, 1, 0, 0, 1]]).bool()
    weights, places = head.state_dict(), torch.zeros(6, 16, dtype=torch.float64)
    if kind != "none":
        places = waves(16, 6) if kind == "sinusoidal" else weights["positions.vectors"]
    wanted = []
    for clip, real in zip(some, mask, strict=True):
        x = (clip + places)[real]
        for block in ("blocks.0", "blocks.1"):
            x = encode(weights, block, x, num_heads=2)
        wanted.append(classify(weights, x.max(0).values))
    # float64 sums of up to 32 terms: 1e-10 leaves room for weights that make logits of tens
    torch.testing.assert_close(head(some, mask), torch.stack(wanted), atol=1e-10, rtol=0)


def gru_step(weights: dict[str, Tensor], after: str, x: Tensor, h: Tensor) -> Tensor:
    """Keras' GRU with reset_after=True: two biases, and r outside the product with W_h."""
    given = weights[f"cell.weight_ih{after}"] @ x + weights[f"cell.bias_ih{after}"]
    kept = weights[f"cell.weight_hh{after}"] @ h + weights[f"cell.bias_hh{after}"]
    (r_x, z_x, n_x), (r_h, z_h, n_h) = given.reshape(3, -1), kept.reshape(3, -1)
    r, z = torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)
    return z * h + (1 - z) * torch.tanh(n_x + r * n_h)


def last_gru(weights: dict[str, Tensor], after: str, clip: Tensor, units: int) -> Tensor:
    h = torch.zeros(units, dtype=torch.float64)
    for x in clip:
        h = gru_step(weights, after, x, h)
    return h


def last_lstm(weights: dict[str, Tensor], after: str, clip: Tensor, units: int) -> Tensor:
    """Eqs. 17 to 22; the one bias is the last column of the weights on the frames."""
    h = c = torch.zeros(units, dtype=torch.float64)
    w_x, w_h = weights[f"cell.weight_ih{after}"], weights[f"cell.weight_hh{after}"]
    for x in clip:
        i, f, new, o = (w_x[:, :-1] @ x + w_h @ h + w_x[:, -1]).reshape(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(new)
        h = torch.sigmoid(o) * torch.tanh(c)
    return h


@pytest.mark.parametrize("kind", RECURRENT)
def test_recurrent_heads_follow_the_equations(kind: str) -> None:
    head, some, lengths = exact(kind), clips(3).double(), (4, 6, 1)
    weights, last = head.state_dict(), last_gru if kind == "gru" else last_lstm
    wanted = []
    for clip, length in zip(some, lengths, strict=True):
        states = [last(weights, "_l0", clip[:length], 16)]
        if kind == "both ways":
            states.append(last(weights, "_l0_reverse", clip[:length].flip(0), 16))
        wanted.append(classify(weights, torch.cat(states)))
    # float64 sums of up to 32 terms over 6 steps: 1e-10 leaves two digits of room
    mask = first_real(*lengths)
    torch.testing.assert_close(head(some, mask), torch.stack(wanted), atol=1e-10, rtol=0)


def test_two_places_of_eq_8_by_hand() -> None:
    # D = 4: place 0 is sin 0, cos 0, sin 0, cos 0; place 1 is sin 1, cos 1, then over
    # 10000^(2/4) = 100: sin .01, cos .01
    added = SinusoidalPositions()(torch.zeros(1, 2, 4))
    wanted = [[[0, 1, 0, 1], [0.841471, 0.540302, 0.0099998, 0.99995]]]
    torch.testing.assert_close(added, torch.tensor(wanted), atol=1e-6, rtol=0)  # six digits given


def test_an_odd_width_ends_on_a_sine() -> None:
    torch.testing.assert_close(
        SinusoidalPositions()(torch.zeros(1, 7, 5, dtype=torch.float64))[0], waves(5, 7)
    )


@pytest.mark.parametrize(
    ("cell", "candidate", "wanted"),
    # All weights 0 but the candidate's on the frame, 1: every gate is sigmoid(0) = 1/2. Frames
    # atanh .8, atanh -.6, so candidates .8, -.6, and a third one that is padding.
    # GRU: .8/2 = .4, then .4/2 - .6/2 = -.1. LSTM: the same for c, and h = tanh(-.1)/2.
    [("gru", 2, -0.1), ("lstm", 2, math.tanh(-0.1) / 2)],
)
def test_two_steps_by_hand(cell: str, candidate: int, wanted: float) -> None:
    head = create("temporal_rnn", in_features=1, num_classes=1, cell=cell, units=1, dense=1)
    assert isinstance(head, TemporalRnn)
    for weight in head.cell.parameters():
        nn.init.zeros_(weight)
    with torch.no_grad():
        head.cell.get_parameter("weight_ih_l0")[candidate, 0] = 1
    frames = torch.tensor([[[math.atanh(0.8)], [math.atanh(-0.6)], [9.0]]])
    state = head.last_state(frames, torch.tensor([[True, True, False]]))
    assert state.item() == pytest.approx(wanted, abs=1e-6)  # float32 holds seven digits


# Masks.


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("padding", [0.0, -1e30, math.nan, math.inf])
def test_padding_of_any_value_changes_no_bit(kind: str, padding: float) -> None:
    head, some, mask = small(kind), clips(), first_real(6, 1, 3, 5, 2)
    padded = some.masked_fill(~mask[..., None], padding)
    assert torch.equal(head.eval()(padded, mask), head(some, mask))
    head.train()(padded, mask).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


@pytest.mark.parametrize("kind", SMALL)
def test_a_padded_clip_has_the_logits_of_the_clip_alone(kind: str) -> None:
    head, some, lengths = exact(kind), clips().double(), (6, 1, 3, 5, 2)
    alone = [head(clip[None, :n])[0] for clip, n in zip(some, lengths, strict=True)]
    # float64 sums in another order: 1e-10 leaves room for logits of tens
    torch.testing.assert_close(
        head(some, first_real(*lengths)), torch.stack(alone), atol=1e-10, rtol=0
    )


@pytest.mark.parametrize("kind", SMALL)
def test_a_mask_that_is_true_everywhere_is_no_mask(kind: str) -> None:
    head, some = exact(kind), clips().double()
    everywhere = torch.ones(5, 6, dtype=torch.bool)
    torch.testing.assert_close(head(some, everywhere), head(some), atol=1e-10, rtol=0)


def with_holes() -> Tensor:
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [0, 1, 0, 1, 1, 0], [0, 0, 0, 0, 0, 1]])
    return mask.bool()


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("garbage", [5.0, -1e30, math.nan])
def test_garbage_in_holes_changes_no_bit(kind: str, garbage: float) -> None:
    head, some, mask = small(kind).eval(), clips(3), with_holes()
    changed = some.masked_fill(~mask[..., None], garbage)
    assert torch.equal(head(changed, mask), head(some, mask))


@pytest.mark.parametrize("kind", RECURRENT)
def test_a_recurrent_head_carries_its_state_over_holes(kind: str) -> None:
    head, some, mask = exact(kind), clips(3).double(), with_holes()
    alone = [head(clip[None, real])[0] for clip, real in zip(some, mask, strict=True)]
    torch.testing.assert_close(head(some, mask), torch.stack(alone), atol=1e-10, rtol=0)


@pytest.mark.parametrize("kind", SMALL)
def test_a_joined_mask_reaches_the_head(kind: str) -> None:
    head, some, mask = small(kind).eval(), clips(3), with_holes()
    wanted = head(some, mask)
    garbage = some.masked_fill(~mask[..., None], math.nan)
    joined = join_mask(garbage, mask.numpy())
    names = list(head.state_dict())
    assert joined.shape == (3, 6, 17) and joined.isfinite().all()
    assert torch.equal(takes_joined_mask(head)(joined), wanted)
    assert list(head.state_dict()) == names


def test_a_row_without_any_frame_is_refused() -> None:
    mask = with_holes().numpy()
    mask[1] = False
    with pytest.raises(UsageError, match="mask: row 1 has no step with a frame; leave the clip"):
        join_mask(clips(3), mask)


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize(
    ("shape", "mask", "message"),
    [
        ((2, 16), None, r"frames: shape \(2, 16\), must be \(clips, frames, 16\) with a frame"),
        ((2, 0, 16), None, r"frames: shape \(2, 0, 16\), must be"),
        ((2, 6, 15), None, r"frames: shape \(2, 6, 15\), must be .* build the head with in_feat"),
        ((2, 6, 16), first_real(6, 0), "mask: clip 1 of the batch has no real frame; leave it out"),
        ((2, 6, 16), first_real(6), r"of shape \(1, 6\), must be torch.bool of shape \(2, 6\)"),
        ((2, 6, 16), first_real(6, 6).float(), r"mask: torch.float32 of .* must be torch.bool"),
    ],
)
def test_wrong_frames_and_masks_are_named(
    kind: str, shape: tuple[int, ...], mask: Tensor | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        small(kind)(torch.zeros(shape), mask)


def test_more_frames_than_learned_places_are_refused() -> None:
    head = small("learned")
    assert head(clips(num_frames=2)).shape == (5, 2)
    with pytest.raises(UsageError, match=r"frames: 7 in a clip, .* learned for 6; .*num_frames=7"):
        head(clips(num_frames=7))


# Order.


def test_without_positions_the_order_of_the_frames_is_lost() -> None:
    shuffled = clips().double()[:, [3, 0, 5, 1, 4, 2]]
    head = exact("none")
    # float64 sums in another order
    torch.testing.assert_close(head(shuffled), head(clips().double()), atol=1e-10, rtol=0)


@pytest.mark.parametrize("kind", sorted(SMALL.keys() - {"none"}))
def test_otherwise_the_order_of_the_frames_counts(kind: str) -> None:
    shuffled = clips()[:, [3, 0, 5, 1, 4, 2]]
    head = small(kind).eval()
    assert ((head(shuffled) - head(clips())).abs().amax(1) > 1e-4).all()


def order_task(seed: int, num_clips: int) -> tuple[Tensor, Tensor]:
    """Shape A then B, or B then A, with the change at any frame: either shape is as frequent."""
    shapes = np.random.default_rng(seed).normal(size=(2, 16))
    rng = np.random.default_rng([seed, num_clips])
    labels = np.arange(num_clips) % 2
    after = np.arange(6) >= rng.integers(1, 6, size=(num_clips, 1))
    shown = shapes[(after ^ (labels[:, None] == 1)).astype(np.int64)]
    noisy = shown + 0.3 * rng.normal(size=shown.shape)
    return torch.from_numpy(noisy.astype(np.float32)), torch.from_numpy(labels)


def order_accuracy(kind: str, seed: int) -> float:
    head, (some, labels) = small(kind, seed=seed), order_task(seed, 256)
    settings = TrainingConfig(epochs=12, learning_rate=1e-2, weight_decay=0)
    fit(head, some, labels, config=settings, seed=seed)
    fresh, truth = order_task(seed, 1000)
    return (predict_logits(head, fresh).argmax(1) == truth).float().mean().item()


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("kind", ["sinusoidal", "learned", "gru", "lstm"])
def test_the_order_of_two_shapes_is_learned(kind: str, seed: int) -> None:
    assert order_accuracy(kind, seed) >= 0.95


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_without_positions_the_order_of_two_shapes_stays_at_chance(seed: int) -> None:
    # three deviations of 1000 fair coins: 3 * sqrt(1/4/1000) = .047
    assert abs(order_accuracy("none", seed) - 1 / 2) <= 3 * math.sqrt(1 / 4 / 1000)


# Randomness.


@pytest.mark.parametrize("kind", SMALL)
def test_the_seed_decides_the_first_weights(kind: str) -> None:
    first, again, other = (small(kind, seed=seed).state_dict() for seed in (7, 7, 8))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["classifier.1.weight"], other["classifier.1.weight"])


@pytest.mark.parametrize("kind", SMALL)
def test_evaluation_draws_nothing_and_training_from_the_global_generator(kind: str) -> None:
    head, some, mask = small(kind), clips(), first_real(6, 1, 3, 5, 2)
    before = torch.get_rng_state()
    assert torch.equal(head.eval()(some, mask), head(some, mask))
    assert torch.equal(torch.get_rng_state(), before)

    def in_training(seed: int) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            logits: Tensor = head.train()(some, mask)
            return logits

    assert torch.equal(in_training(0), in_training(0))
    assert not torch.equal(in_training(0), in_training(1))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("sinusoidal", "attention_dropout"),
        ("sinusoidal", "noise"),
        ("sinusoidal", "dropout"),
        ("gru", "input_dropout"),
        ("gru", "noise"),
        ("gru", "dropout"),
    ],
)
def test_each_disturbance_works_alone_and_none_is_left_when_all_are_zero(
    kind: str, name: str
) -> None:
    inside = "input_dropout" if kind == "gru" else "attention_dropout"
    still: dict[str, Any] = {inside: 0.0, "noise": 0.0, "dropout": 0.0}
    calm, moved = (small(kind, **settings).train() for settings in (still, still | {name: 0.5}))
    assert torch.equal(calm(clips()), calm(clips()))
    assert not torch.equal(moved(clips()), moved(clips()))


def test_noise_has_its_deviation_in_training_alone() -> None:
    noise, level = GaussianNoise(0.1), torch.full((100_000,), 2.0)
    assert torch.equal(noise.eval()(level), level)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        added = noise.train()(level) - level
    # three deviations of the estimates: .1 / sqrt(n), and .1 / sqrt(2 n)
    assert abs(added.mean()) <= 3 * 0.1 / math.sqrt(100_000)
    assert abs(added.std() - 0.1) <= 3 * 0.1 / math.sqrt(200_000)


def test_input_dropout_takes_a_column_from_all_frames_and_spares_the_bias() -> None:
    head = small("lstm", input_dropout=0.5).train()
    assert isinstance(head, TemporalRnn)
    steps: list[Tensor] = []
    head.cell.register_forward_pre_hook(lambda _, given: steps.append(given[0]))
    head(torch.ones(5, 6, 16))
    assert torch.equal(steps[0][..., 16], torch.ones(5, 6))
    columns = steps[0][..., :16]
    assert set(columns.flatten().tolist()) == {0.0, 2.0}  # kept ones grow by 1 / (1 - .5)
    assert torch.equal(columns, columns[:, :1].expand(5, 6, 16))


# Use.


@pytest.mark.parametrize("kind", SMALL)
def test_one_clip_of_one_frame_has_logits_and_every_weight_learns(kind: str) -> None:
    head = small(kind, num_classes=3)
    logits = head.eval()(clips(1, 1))
    assert logits.shape == (1, 3)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()
    head.train()(clips()).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in head.parameters())


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("temporal_transformer", {"in_features": 0}, "in_features=0: must be 1 or more"),
        ("temporal_transformer", {"num_classes": 0}, "num_classes=0: must be 1 or more"),
        ("temporal_transformer", {"heads": 0}, "heads=0: must be 1 or more"),
        ("temporal_transformer", {"layers": 0}, "layers=0: must be 1 or more"),
        ("temporal_transformer", {"dense": 0}, "dense=0: must be 1 or more"),
        ("temporal_transformer", {"feed_forward": 0}, "feed_forward=0: must be 1 or more"),
        ("temporal_transformer", {"attention_dropout": 1.0}, "attention_dropout=1.0: must be 0"),
        ("temporal_transformer", {"dropout": -0.1}, "dropout=-0.1: must be 0 or more and below 1"),
        ("temporal_transformer", {"noise": -1.0}, "noise=-1.0: must be 0 or more and finite"),
        ("temporal_transformer", {"noise": math.nan}, "noise=nan: must be 0 or more and finite"),
        (
            "temporal_transformer",
            {"positions": "rotary"},
            "positions='rotary': must be one of sinusoidal, learned, none",
        ),
        (
            "temporal_transformer",
            {"positions": "learned"},
            "num_frames is missing: learned positions need .* or take positions='sinusoidal'",
        ),
        (
            "temporal_transformer",
            {"positions": "learned", "num_frames": 0},
            "num_frames=0: must be 1 or more",
        ),
        ("temporal_rnn", {"in_features": 0}, "in_features=0: must be 1 or more"),
        ("temporal_rnn", {"num_classes": 0}, "num_classes=0: must be 1 or more"),
        ("temporal_rnn", {"units": 0}, "units=0: must be 1 or more"),
        ("temporal_rnn", {"dense": 0}, "dense=0: must be 1 or more"),
        ("temporal_rnn", {"cell": "rnn"}, "cell='rnn': must be one of gru, lstm"),
        ("temporal_rnn", {"input_dropout": 1.5}, "input_dropout=1.5: must be 0 or more and below"),
        ("temporal_rnn", {"noise": math.inf}, "noise=inf: must be 0 or more and finite"),
    ],
)
def test_a_wrong_setting_is_named(name: str, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create(name, **({"in_features": 4, "num_classes": 2} | wrong))
