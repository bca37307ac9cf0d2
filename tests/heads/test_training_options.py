"""The settings of training, each against torch's own or a step by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kinestore import heads
from kinestore.heads.training.config import TrainingConfig
from kinestore.heads.training.feature_samples import FeatureSamples, fit
from kinestore.heads.training.loop import Training
from kinestore.heads.training.lr_schedule import read_schedule
from kinestore.heads.training.optimizer import classifier_of
from kinestore.store import UsageError

SEEDS = (0, 1, 2)
RATE, DECAY, STEPS = 0.05, 0.1, 4


def net(seed: int) -> nn.Sequential:
    """Two linear layers with a batch norm between them, in float64."""
    torch.manual_seed(seed)
    layers = nn.Linear(4, 5, bias=False), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3)
    return nn.Sequential(*layers).double()


def rows(seed: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(9, 4))), torch.from_numpy(rng.integers(0, 3, 9))


def learnt(seed: int, **settings: Any) -> nn.Module:
    """The net after some steps, each on all rows."""
    model = net(seed)
    config = TrainingConfig(
        **{"epochs": STEPS, "batch_size": 9, "learning_rate": RATE, "weight_decay": DECAY}
        | settings
    )
    fit(model, *rows(seed), config=config, seed=seed)
    return model


def by_torch(
    seed: int,
    optimizer: Callable[[nn.Module], torch.optim.Optimizer],
    *,
    loss: nn.Module | None = None,
    before_step: Callable[[nn.Module], object] = lambda model: None,
) -> nn.Module:
    """The net after the same steps of one of torch's optimizers."""
    model, criterion = net(seed), loss or nn.CrossEntropyLoss()
    steps = optimizer(model)
    features, labels = rows(seed)
    for _ in range(STEPS):
        steps.zero_grad()
        torch.autograd.backward(criterion(model(features), labels))
        before_step(model)
        steps.step()
    return model


def assert_close(one: nn.Module, other: nn.Module) -> None:
    """Sums run in another order, by which the last bits differ."""
    torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=1e-11)


def sgd(**how: Any) -> Callable[[nn.Module], torch.optim.Optimizer]:
    """torch's SGD without weight decay of biases and norms."""

    def build(model: nn.Module) -> torch.optim.Optimizer:
        large = [p for p in model.parameters() if p.ndim > 1]
        small = [p for p in model.parameters() if p.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": large, "weight_decay": DECAY}, {"params": small}]
        return torch.optim.SGD(groups, lr=RATE, **how)

    return build


OPTIMIZERS: dict[str, tuple[dict[str, Any], Callable[[nn.Module], torch.optim.Optimizer]]] = {
    "adam": (
        {"optimizer": "adam"},
        lambda model: torch.optim.Adam(model.parameters(), lr=RATE, weight_decay=DECAY),
    ),
    "adamw": (
        {"optimizer": "adamw"},
        lambda model: torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY),
    ),
    "plain sgd": ({"optimizer": "sgd", "momentum": 0.0}, sgd()),
    "momentum": ({"optimizer": "sgd", "momentum": 0.8}, sgd(momentum=0.8)),
    "nesterov": (
        {"optimizer": "sgd", "momentum": 0.8, "nesterov": True},
        sgd(momentum=0.8, nesterov=True),
    ),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimizer_takes_the_steps_of_torchs_own(name: str, seed: int) -> None:
    settings, optimizer = OPTIMIZERS[name]
    assert_close(learnt(seed, **settings), by_torch(seed, optimizer))


@pytest.mark.parametrize("seed", SEEDS)
def test_label_smoothing_is_torchs_and_is_not_in_the_losses_reported(seed: int) -> None:
    wanted = by_torch(seed, sgd(momentum=0.9), loss=nn.CrossEntropyLoss(label_smoothing=0.2))
    assert_close(learnt(seed, optimizer="sgd", label_smoothing=0.2), wanted)
    features, labels = rows(seed)
    config = TrainingConfig(epochs=1, batch_size=9, label_smoothing=0.2)
    (epoch,) = fit(net(seed), features, labels, config=config, seed=0)
    plain = nn.functional.cross_entropy(net(seed)(features), labels)
    assert epoch.loss == pytest.approx(plain.item(), abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_gradients_are_clipped_by_their_norm_over_all_parameters_or_not(seed: int) -> None:
    def clip(model: nn.Module) -> None:
        norm = sum(float((p.grad**2).sum()) for p in model.parameters() if p.grad is not None)
        for p in model.parameters():
            assert p.grad is not None
            p.grad *= min(1, 0.05 / (norm**0.5 + 1e-6))

    clipped = by_torch(seed, sgd(momentum=0.9), before_step=clip)
    assert_close(learnt(seed, optimizer="sgd", clip_gradients=0.05), clipped)
    free = learnt(seed, optimizer="sgd", clip_gradients=None)
    assert_close(free, by_torch(seed, sgd(momentum=0.9)))
    assert not torch.allclose(free.get_parameter("0.weight"), clipped.get_parameter("0.weight"))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_classifiers_multiplier_by_a_step_of_sgd_by_hand(seed: int) -> None:
    settings: dict[str, Any] = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0}
    moved = learnt(seed, epochs=1, classifier_lr=5.0, **settings)
    first, (features, labels) = net(seed), rows(seed)
    torch.autograd.backward(nn.functional.cross_entropy(first(features), labels))
    for name, weight in first.named_parameters():
        assert weight.grad is not None
        rate = RATE * (5 if name.startswith("3.") else 1)
        wanted = weight.detach() - rate * weight.grad
        torch.testing.assert_close(moved.get_parameter(name).detach(), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_a_frozen_trunk_keeps_its_bits_and_gets_no_gradient(optimizer: str, seed: int) -> None:
    first, moved = net(seed).state_dict(), learnt(seed, optimizer=optimizer, freeze="trunk")
    for name, tensor in moved.state_dict().items():
        assert torch.equal(tensor, first[name]) == (not name.startswith("3.")), name
    for name, weight in moved.named_parameters():
        assert (weight.grad is None) == (not name.startswith("3.")), name


@pytest.mark.parametrize("seed", SEEDS)
def test_a_frozen_trunk_gives_the_classifier_the_features_of_evaluation(seed: int) -> None:
    settings: dict[str, Any] = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0}
    moved = learnt(seed, epochs=1, freeze="trunk", **settings)
    first, (features, labels) = net(seed).eval(), rows(seed)
    torch.autograd.backward(nn.functional.cross_entropy(first(features), labels))
    grad = first.get_parameter("3.weight").grad
    assert grad is not None
    wanted = first.get_parameter("3.weight").detach() - RATE * grad
    torch.testing.assert_close(moved.get_parameter("3.weight").detach(), wanted, atol=1e-12, rtol=0)


def test_training_with_a_multiplier_and_a_frozen_trunk_goes_on_to_the_same_bits() -> None:
    features, labels = rows(0)
    config = TrainingConfig(
        epochs=6, batch_size=4, optimizer="sgd", classifier_lr=3.0, freeze="trunk", nesterov=True
    )

    def training() -> Training:
        samples = FeatureSamples(features=features, labels=labels)
        return Training(net(0), samples, config=config, seed=0)

    whole, first, rest = training(), training(), training()
    for number in range(1, 7):
        whole.epoch(number, np.arange(9))
        (first if number < 4 else rest).epoch(number, np.arange(9))
        if number == 3:
            rest.restore(first.state())
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, rest.model.state_dict()[name]), name


CLASSIFIERS: dict[str, dict[str, Any]] = {
    "mlp": {"in_features": 6},
    "gated_fusion": {"in_features": 6, "widths": (3, 3)},
    "temporal_actionclip": {"in_features": 6},
    "temporal_rnn": {"in_features": 6},
    "temporal_transformer": {"in_features": 6, "num_frames": 4},
    "differential": {"layers": (1, 1, 1, 1), "width": 16},
    "correlation": {"layers": (1, 1, 1, 1), "width": 16},
    "c3d": {"num_frames": 2, "size": 32},
    "cnn_rnn": {"trunk": "resnet18", "units": 8},
    "cnn_transformer": {"trunk": "resnet18"},
}


@pytest.mark.parametrize("name", heads.names())
def test_the_classifier_of_each_head_gives_one_output_for_each_class(name: str) -> None:
    settings = {k: v for k, v in CLASSIFIERS[name].items() if k in heads.settings_of(name)}
    model = heads.create(name, num_classes=7, **settings)
    _, layer = classifier_of(model)
    assert layer.out_features == 7
    assert [m.out_features for m in model.modules() if isinstance(m, nn.Linear)].count(7) == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"optimizer": "rmsprop"}, "optimizer='rmsprop': must be adam or adamw or sgd"),
        ({"nesterov": True}, "nesterov=True: needs optimizer='sgd' and a momentum above 0"),
        ({"optimizer": "sgd", "momentum": 0.0, "nesterov": True}, "nesterov=True: needs"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0: must be 0 or more and below 1"),
        ({"label_smoothing": float("nan")}, "label_smoothing=nan: must be"),
        ({"classifier_lr": 0.0}, "classifier_lr=0.0: must be above 0 and finite"),
        ({"freeze": "head"}, "freeze='head': must be trunk"),
        ({"standardize": "all"}, "standardize='all': must be train or none"),
        ({"schedule": "decay"}, "schedule='decay': must be cosine"),
        ({"schedule": "decay:0"}, "schedule='decay:0': must be .* above 0 and up to 1"),
        ({"schedule": "decay:1.1"}, "schedule='decay:1.1': must be .* above 0 and up to 1"),
        ({"schedule": "decay:nan"}, "schedule='decay:nan': must be"),
    ],
)
def test_settings_that_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        TrainingConfig(**settings)


def test_a_warm_up_as_long_as_the_training_is_refused_before_it_starts() -> None:
    config = TrainingConfig(epochs=5, warmup=5)
    with pytest.raises(UsageError, match="warmup=5: must be 0 or more and below epochs=5"):
        fit(net(0), *rows(0), config=config, seed=0)


def test_a_decay_by_hand() -> None:
    decay = read_schedule("decay:0.5")
    factors = [decay.factor(epoch, epochs=9, warmup=2) for epoch in range(5)]
    np.testing.assert_allclose(factors, [1 / 3, 2 / 3, 1, 0.5, 0.25])


def test_a_head_without_a_linear_layer_has_no_trunk() -> None:
    with pytest.raises(UsageError, match="has no linear layer, and so no classifier"):
        classifier_of(nn.Sequential(nn.Conv2d(3, 4, 1)))
