"""The loop that trains a net: its steps, what it can be stopped and cut into, and how it fails."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kinestore.heads.training.loop import Training
from kinestore.heads.training.lr_schedule import Schedule, read_schedule
from kinestore.heads.training.processes import ONE_PROCESS
from kinestore.pipeline.training.config import EvaluationViews
from kinestore.pipeline.training.networks.activation_checkpointing import checkpoint_stages
from kinestore.pipeline.training.networks.clip_data import predict_clips
from kinestore.pipeline.training.networks.data.clip_samples import ClipSamples
from kinestore.store import KinestoreError, UsageError
from tests.helpers.jobs import network_config
from tests.helpers.tiny_networks import FLAT, Tiny, examples, noise, tiny, trained


def weights(net: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in net.parameters()])


def same(a: nn.Module, b: nn.Module) -> bool:
    first, second = a.state_dict(), b.state_dict()
    return all(torch.equal(first[name], second[name]) for name in first)


def test_the_cosine_after_a_warm_up_by_hand() -> None:
    cosine = Schedule()
    factors = [cosine.factor(epoch, epochs=6, warmup=2) for epoch in range(6)]
    # 1/3 and 2/3; then (1 + cos(pi k / 4)) / 2 for k = 0, 1, 2, 3
    wanted = [1 / 3, 2 / 3, 1, (1 + 2**-0.5) / 2, 0.5, (1 - 2**-0.5) / 2]
    np.testing.assert_allclose(factors, wanted, atol=1e-15)


def test_steps_and_constants_by_hand() -> None:
    steps = read_schedule("steps:2-4")
    factors = [steps.factor(epoch, epochs=6, warmup=0) for epoch in range(6)]
    np.testing.assert_allclose(factors, [1, 1, 0.1, 0.1, 0.01, 0.01], rtol=1e-12)
    assert read_schedule("constant").factor(5, epochs=6, warmup=0) == 1
    settings = network_config(epochs=4, learning_rate=0.2, schedule="cosine")
    assert settings.learning_rate_of(3) == pytest.approx(0.1)


@pytest.mark.parametrize(
    "text",
    ["linear", "steps", "steps:", "steps:0", "steps:4-2", "steps:2-2", "cosine:3", "steps:x"],
)
def test_schedules_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match=f"schedule='{text}': must be cosine, constant, steps"):
        network_config(schedule=text)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"epochs": -1}, "epochs=-1: must be 0 or more"),
        ({"batch_size": 0}, "batch_size=0: must be 1 or more"),
        ({"accumulate": 0}, "accumulate=0: must be 1 or more"),
        ({"learning_rate": 0.0}, "learning_rate=0.0: must be above 0"),
        ({"learning_rate": float("inf")}, "learning_rate=inf: must be above 0 and finite"),
        ({"clip_gradients": 0.0}, "clip_gradients=0.0: must be above 0"),
        ({"weight_decay": -1.0}, "weight_decay=-1.0: must be 0 or more and finite"),
        ({"momentum": 1.0}, "momentum=1.0: must be 0 or more and below 1"),
        ({"warmup": -1}, "warmup=-1: must be 0 or more"),
        ({"precision": "half"}, "precision='half': must be float32 or bfloat16"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        network_config(**settings)


@pytest.mark.parametrize(
    ("looks", "said"),
    [
        ({"num_clips": 0}, "num_clips=0: must be 1 or more"),
        ({"num_crops": 2}, "num_crops=2: must be 1 or 3"),
    ],
)
def test_looks_out_of_range(looks: dict[str, int], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        EvaluationViews(**looks)


def gradient(
    net: nn.Module, given: ClipSamples, *, epoch: int, weigh: Tensor | None = None
) -> list[Tensor]:
    """Of the mean loss over all clips as an epoch shows them, in one plain pass."""
    shown = given.epoch(np.arange(len(given)), number=epoch, seed=0)
    (pictures,) = shown.inputs([range(len(given))], torch.device("cpu"))
    labels = shown.labels
    loss = nn.functional.cross_entropy(net(pictures), labels, weigh)
    return list(torch.autograd.grad(loss, list(net.parameters())))


@pytest.mark.parametrize("weigh", [None, torch.tensor([0.5, 3.0, 1.0], dtype=torch.float64)])
def test_two_steps_follow_the_equations(weigh: Tensor | None) -> None:
    given, net, reference = examples(noise(6)), tiny(), tiny()
    how: dict[str, Any] = {**FLAT, "learning_rate": 0.05, "weight_decay": 0.2, "batch_size": 6}
    trained(net, given, epochs=2, class_weights=weigh, **how)
    velocity = [torch.zeros_like(parameter) for parameter in reference.parameters()]
    for epoch in (1, 2):
        slopes = gradient(reference, given, epoch=epoch, weigh=weigh)
        for v, g, p in zip(velocity, slopes, reference.parameters(), strict=True):
            decay = 0.2 if p.ndim > 1 else 0.0  # biases do not decay
            v.mul_(0.9).add_(g + decay * p.detach())
            p.data -= 0.05 * v
    torch.testing.assert_close(weights(net), weights(reference), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("num_clips", "accumulate"), [(8, 2), (8, 4), (7, 2), (5, 4)])
def test_accumulated_passes_equal_one_pass(num_clips: int, accumulate: int) -> None:
    given, whole, parts = examples(noise(num_clips)), tiny(), tiny()
    how: dict[str, Any] = {**FLAT, "learning_rate": 0.5, "batch_size": 8}
    trained(whole, given, epochs=2, **how)
    trained(parts, given, epochs=2, accumulate=accumulate, **how)
    assert not torch.equal(weights(whole), weights(tiny()))
    torch.testing.assert_close(weights(parts), weights(whole), rtol=0, atol=1e-10)


def test_long_gradients_are_cut_to_length() -> None:
    given, net = examples(noise(6)), tiny()
    with torch.no_grad():
        net.classifier.weight.mul_(1e6)
    before = weights(net)
    (length,) = [float(torch.cat([g.flatten() for g in gradient(net, given, epoch=1)]).norm())]
    assert length > 40
    how: dict[str, Any] = {**FLAT, "learning_rate": 0.5, "weight_decay": 0.0, "batch_size": 6}
    trained(net, given, **{**how, "clip_gradients": 20.0})
    moved = float((weights(net) - before).norm())
    assert moved == pytest.approx(0.5 * 20, rel=1e-5)


def test_each_epoch_shows_every_clip_once_in_an_order_of_its_own() -> None:
    seen: list[int] = []

    class Watched(Tiny):
        def forward(self, frames: Tensor) -> Tensor:
            seen.extend(frames.flatten(1).double().sum(1).round(decimals=6).tolist())
            return super().forward(frames)

    torch.manual_seed(0)
    net = Watched()
    given = examples(noise(11))
    trained(net, given, epochs=2, batch_size=4, **FLAT)
    first, second = seen[:11], seen[11:]
    assert len(set(first)) == 11 and len(second) == 11
    rows = [Counter(given.augment(row, epoch=1, seed=0).seed for row in range(11))]
    assert max(rows[0].values()) == 1
    plain = given.epoch(np.arange(11), number=1, seed=0)
    (shown,) = plain.inputs([range(11)], torch.device("cpu"))
    wanted = shown.flatten(1).double().sum(1).round(decimals=6).tolist()
    assert sorted(first) == sorted(wanted) and first != wanted


@pytest.mark.parametrize(("num_clips", "sizes"), [(13, [3, 3, 3, 4]), (8, [4, 4]), (3, [3])])
def test_no_step_is_left_with_a_clip_or_two(num_clips: int, sizes: list[int]) -> None:
    seen: list[int] = []

    class Watched(Tiny):
        def forward(self, frames: Tensor) -> Tensor:
            seen.append(len(frames))
            return super().forward(frames)

    trained(Watched(), examples(noise(num_clips)), epochs=1, batch_size=4, **FLAT)
    assert seen == sizes


@pytest.mark.parametrize("stop", [1, 3])
def test_training_goes_on_from_a_state_to_the_same_bits(stop: int) -> None:
    given = examples(noise(9))
    how: dict[str, Any] = {"batch_size": 4, "learning_rate": 0.1, "warmup": 1}
    whole = tiny(dropout=0.5)
    undisturbed = trained(whole, given, epochs=5, **how)
    first = tiny(dropout=0.5)
    state = trained(first, given, epochs=stop, **how).state()
    state = {name: tensor.clone() for name, tensor in state.items()}
    torch.manual_seed(99)  # a new process has another global state
    second = tiny(seed=3, dropout=0.5)
    training = trained(second, given, epochs=0, **how)
    training.restore(state)
    for number in range(stop + 1, 6):
        training.epoch(number, np.arange(9))
    assert same(whole, second)
    kept, again = undisturbed.state(), training.state()
    assert kept.keys() == again.keys() and "optimizer.momentum_buffer.conv.weight" in kept
    assert all(torch.equal(kept[name], again[name]) for name in kept)


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    given = examples(noise(6))
    outcomes = []
    for seed in (1, 2):
        net = tiny(dropout=0.5)
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        trained(net, given, batch_size=2)
        assert torch.equal(torch.get_rng_state(), before)
        outcomes.append(net)
    assert same(*outcomes)


class Staged(nn.Module):
    """Two stages with norms and dropout, as a residual network has them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv3d(3, 4, 3)
        self.stages = nn.Sequential(
            nn.Sequential(nn.Conv3d(4, 6, (1, 3, 3)), nn.BatchNorm3d(6), nn.ReLU()),
            nn.Sequential(nn.Conv3d(6, 6, (1, 3, 3)), nn.BatchNorm3d(6), nn.Dropout(0.3)),
        )
        self.classifier = nn.Linear(6, 3)
        self.double()

    def forward(self, frames: Tensor) -> Tensor:
        maps = self.stages(self.stem(frames.double().transpose(1, 2)))
        logits: Tensor = self.classifier(maps.mean((2, 3, 4)))
        return logits


def staged() -> Staged:
    torch.manual_seed(0)
    return Staged()


CLIP = torch.zeros(1, 4, 3, 10, 10)


def test_recomputed_stages_train_to_the_same_bits() -> None:
    given = examples(noise(6))
    plain, recomputed = staged(), staged()
    assert checkpoint_stages(recomputed, CLIP) == ["stages.0", "stages.1"]
    how: dict[str, Any] = {"batch_size": 3, "learning_rate": 0.1}
    trained(plain, given, epochs=2, **how)
    trained(recomputed, given, epochs=2, **how)
    # batch norm's running statistics and its count of batches among them
    assert same(plain, recomputed)
    assert int(plain.state_dict()["stages.0.1.num_batches_tracked"]) == 4


def test_recomputed_stages_hold_less() -> None:
    def held(net: nn.Module) -> int:
        sizes: list[int] = []

        def pack(tensor: Tensor) -> Tensor:
            sizes.append(tensor.nbytes)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            net.train()(torch.zeros(2, 4, 3, 10, 10)).sum()
        return sum(sizes)

    recomputed = staged()
    checkpoint_stages(recomputed, CLIP)
    assert held(recomputed) < 0.7 * held(staged())


def test_nets_that_cannot_be_recomputed_are_refused() -> None:
    with pytest.raises(UsageError, match=r"checkpointing: the network has no nn\.Sequential"):
        checkpoint_stages(tiny(), CLIP)

    class Reaching(Staged):
        def forward(self, frames: Tensor) -> Tensor:
            maps = self.stem(frames.double().transpose(1, 2))
            for stage in self.stages.children():
                for layer in stage.children():
                    maps = layer(maps)
            logits: Tensor = self.classifier(maps.mean((2, 3, 4)))
            return logits

    with pytest.raises(UsageError, match=r"the network does not call stages\.0 as a whole"):
        checkpoint_stages(Reaching(), CLIP)


class FailsAt(Tiny):
    """Gives NaN from some training batch on."""

    def __init__(self, batch: int) -> None:
        super().__init__()
        self.left = batch

    def forward(self, frames: Tensor) -> Tensor:
        self.left -= self.training
        return super().forward(frames) * (float("nan") if self.left <= 0 else 1.0)


def test_a_loss_that_is_no_number_names_the_epoch() -> None:
    with pytest.raises(KinestoreError, match="epoch=3: training diverged, its loss or gradient is"):
        trained(FailsAt(5), examples(noise(4)), epochs=4, batch_size=2)


def test_logits_are_the_mean_over_looks() -> None:
    class ByBrightness(nn.Module):
        def forward(self, frames: Tensor) -> Tensor:
            return frames.mean((1, 3, 4))

    source = noise(5)
    given = examples(source, size=6)
    logits = predict_clips(
        ByBrightness(),
        given,
        np.array([4, 1, 2]),
        num_classes=3,
        views=EvaluationViews(num_clips=2, num_crops=3),
        training=network_config(batch_size=4),
        processes=ONE_PROCESS,
    )
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    for row, answer in zip([4, 1, 2], logits, strict=True):
        frames = torch.from_numpy(source.testing(source.clip_ids[row], num_clips=1)[0]) / 255
        # of 12 x 12 frames, cuts of 6 begin 3 below the top, and 0, 3 and 6 from the left
        cuts = torch.stack([frames[:, 3:9, left : left + 6] for left in (0, 3, 6)])
        torch.testing.assert_close(answer, ((cuts - mean) / std).mean((0, 1, 2, 3)))


def test_bfloat16_trains_near_float32() -> None:
    given = examples(noise(6))
    nets = []
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(4 * 3 * 100, 3))
        trained(net, given, precision=precision, learning_rate=1e-3, batch_size=6, **FLAT)
        nets.append(weights(net))
    assert nets[1].dtype == torch.float32  # parameters and steps keep all digits
    torch.testing.assert_close(*nets, rtol=0, atol=2e-3)
    assert not torch.equal(*nets)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_net_learns_what_colour_tells(seed: int) -> None:
    source = noise(24)
    for number, clip in enumerate(source.clip_ids):
        source.training(clip, seed=0)[..., number % 3] //= 4
    given = examples(source)
    net = tiny(seed)
    how = network_config(epochs=15, batch_size=8, learning_rate=0.1)
    training = Training(net, given.subset(np.arange(18)), config=how, seed=seed)
    losses = [training.epoch(number, np.arange(18)).loss for number in range(1, 16)]
    assert losses[-1] < 0.5 * losses[0]
    unseen = np.arange(18, 24)
    logits = predict_clips(
        net,
        given,
        unseen,
        num_classes=3,
        views=EvaluationViews(),
        training=how,
        processes=ONE_PROCESS,
    )
    assert logits.argmax(1).tolist() == [0, 1, 2, 0, 1, 2]
