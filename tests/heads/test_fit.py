"""The one training loop."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kinestore.heads import Epoch, TrainingConfig, create, fit, predict_logits
from kinestore.heads.support.seeds import derive_seed
from kinestore.heads.support.validation import check_rows, to_features, to_labels
from kinestore.store import UsageError


def problem(seed: int, num_rows: int = 60, num_classes: int = 3) -> tuple[Tensor, Tensor]:
    """Blobs around one random centre a class, far apart."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num_rows) % num_classes
    centres = rng.normal(size=(num_classes, 8)) * 3
    features = (centres[labels] + rng.normal(size=(num_rows, 8))).astype(np.float32)
    return torch.from_numpy(features), torch.from_numpy(labels)


def reference(
    weight: np.ndarray[Any, Any],
    features: Tensor,
    labels: Tensor,
    settings: TrainingConfig,
    seed: int,
) -> np.ndarray[Any, Any]:
    """Adam (Kingma and Ba, 2015, Algorithm 1) with L2 on a linear softmax classifier, float64."""
    x, y = features.double().numpy(), np.eye(len(weight))[labels.numpy()]
    first, second, step = np.zeros_like(weight), np.zeros_like(weight), 0
    num_batches = -(-len(x) // settings.batch_size)
    for epoch in range(1, settings.epochs + 1):
        order = np.random.default_rng(derive_seed("order", seed, epoch)).permutation(len(x))
        for rows in np.array_split(order, num_batches):
            exponents = np.exp(x[rows] @ weight.T)
            shares = exponents / exponents.sum(1, keepdims=True)
            gradient = (shares - y[rows]).T @ x[rows] / len(rows) + settings.weight_decay * weight
            step += 1
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            ratio = (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
            weight = weight - settings.learning_rate * ratio
    return weight


def test_fit_follows_adams_equations() -> None:
    features, labels = problem(0)
    settings = TrainingConfig(epochs=3, batch_size=16, learning_rate=1e-2, weight_decay=0.1)
    model = nn.Linear(8, 3, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.linspace(-1, 1, 24).reshape(3, 8))
    wanted = reference(model.weight.detach().numpy().copy(), features, labels, settings, seed=5)
    fit(model, features.double(), labels, config=settings, seed=5)
    # both in float64: twelve steps of rounding
    np.testing.assert_allclose(model.weight.detach().numpy(), wanted, atol=1e-10)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_fit_learns_what_can_be_learnt(seed: int) -> None:
    features, labels = problem(seed)
    model = create("mlp", in_features=8, num_classes=3, hidden=(16,), seed=seed)
    settings = TrainingConfig(epochs=30, learning_rate=1e-2)
    epochs = fit(model, features[:45], labels[:45], config=settings, seed=seed)
    assert [epoch.number for epoch in epochs] == list(range(1, 31))
    assert epochs[-1].loss < epochs[0].loss / 4
    unseen = predict_logits(model, features[45:]).argmax(1) == labels[45:]
    assert unseen.double().mean() >= 0.9  # chance is 1/3


def fitted(seed: int, *, init_seed: int = 0, disturb: bool = False) -> Tensor:
    features, labels = problem(0)
    head = create("mlp", in_features=8, num_classes=3, hidden=(16,), seed=init_seed)
    model = nn.Sequential(nn.Dropout(0.5), head)
    if disturb:
        torch.rand(17)
    fit(model, features, labels, config=TrainingConfig(epochs=2, batch_size=7), seed=seed)
    return nn.utils.parameters_to_vector(model.parameters())


def test_the_seed_decides_every_bit_whatever_the_global_generator_does() -> None:
    # dropout is in it, which draws from the global generator
    assert torch.equal(fitted(3), fitted(3, disturb=True))
    assert not torch.equal(fitted(3), fitted(4))


def test_fit_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    fitted(0)
    assert torch.equal(torch.get_rng_state(), before)


def test_epoch_figures_are_means_over_rows_not_over_batches() -> None:
    # a step of 1e-30 changes nothing, so that the epoch's figures are those of the first weights;
    # 60 rows in batches of 9 and 8, which a mean over batches would weigh alike
    features, labels = problem(1)
    model = create("mlp", in_features=8, num_classes=3)
    logits = predict_logits(model, features)
    settings = TrainingConfig(epochs=1, batch_size=9, learning_rate=1e-30)
    (epoch,) = fit(model, features, labels, config=settings, seed=0)
    assert epoch.loss == pytest.approx(float(nn.functional.cross_entropy(logits, labels)), rel=1e-5)
    assert epoch.accuracy == pytest.approx(float((logits.argmax(1) == labels).double().mean()))


def test_on_epoch_may_evaluate_without_changing_what_is_learnt() -> None:
    features, labels = problem(0)
    seen: list[Epoch] = []

    def learn(evaluate: bool) -> Tensor:
        model = nn.Sequential(nn.Dropout(0.5), create("mlp", in_features=8, num_classes=3))

        def on_epoch(epoch: Epoch) -> None:
            seen.append(epoch)
            predict_logits(model, features)

        settings = TrainingConfig(epochs=2)
        hook = on_epoch if evaluate else None
        fit(model, features, labels, config=settings, seed=0, on_epoch=hook)
        assert not model.training
        return nn.utils.parameters_to_vector(model.parameters())

    assert torch.equal(learn(evaluate=True), learn(evaluate=False))
    assert [epoch.number for epoch in seen] == [1, 2]


def test_predictions_in_small_batches_are_the_same_rows() -> None:
    features, _ = problem(0)
    model = create("mlp", in_features=8, num_classes=3)
    # another batch size may sum in another order: a few units in float32's last place
    whole = predict_logits(model, features)
    torch.testing.assert_close(
        predict_logits(model, features, batch_size=7), whole, atol=1e-6, rtol=0
    )


def test_derived_seeds_differ_by_purpose_round_and_client() -> None:
    seeds = [
        derive_seed("client", 0, 1, 2),
        derive_seed("client", 0, 2, 1),
        derive_seed("client", 0, 12),
        derive_seed("client", 1, 1, 2),
        derive_seed("sample", 0, 1, 2),
        derive_seed("client", 0, 1),
    ]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed("client", 0, 1, 2) == derive_seed("client", 0, 1, int(np.int64(2)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": -1}, "epochs=-1: must be 0 or more"),
        ({"batch_size": 0}, "batch_size=0: must be 1 or more"),
        ({"learning_rate": 0.0}, "learning_rate=0.0: must be above 0 and finite"),
        ({"learning_rate": float("nan")}, "learning_rate=nan: must be above 0"),
        ({"weight_decay": -0.1}, "weight_decay=-0.1: must be 0 or more"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TrainingConfig(**settings)


def test_rows_and_labels_must_go_together() -> None:
    model = create("mlp", in_features=8, num_classes=3)
    features, labels = problem(0)
    with pytest.raises(UsageError, match="features: 60 rows with 59 labels"):
        fit(model, features, labels[1:], config=TrainingConfig(), seed=0)
    with pytest.raises(UsageError, match="features: 0 rows with 0 labels"):
        fit(model, features[:0], labels[:0], config=TrainingConfig(), seed=0)
    with pytest.raises(UsageError, match="seed=-3"):
        fit(model, features, labels, config=TrainingConfig(), seed=-3)


def test_check_rows_names_a_wrong_width_and_a_label_without_output() -> None:
    model = create("mlp", in_features=8, num_classes=3)
    features, labels = problem(0)
    assert check_rows(model, features, labels) == 3
    with pytest.raises(UsageError, match=r"test: width 5 does not fit .* with in_features=5"):
        check_rows(model, features[:, :5], labels, name="test")
    with pytest.raises(UsageError, match="features: label=3: must be from 0 to 2"):
        check_rows(model, features, labels + 1)
    with pytest.raises(UsageError, match="features: label=-1: must be from 0 to 2"):
        check_rows(model, features, labels - 1)
    with pytest.raises(UsageError, match=r"sequence of shape \(1, 8\), .* as VIEW:stats, or take"):
        check_rows(model, features[:, None], labels)


def test_to_features_takes_a_read_only_map_and_refuses_nan() -> None:
    array = np.ones((4, 3), np.float32)
    array.setflags(write=False)
    assert to_features(array).shape == (4, 3)  # torch warns of read-only memory; pytest would fail
    frozen = np.arange(4)
    frozen.setflags(write=False)
    assert to_labels(frozen).tolist() == [0, 1, 2, 3]
    bad = np.ones((4, 3), np.float32)
    bad[2, 1] = np.nan
    with pytest.raises(UsageError, match="features: row 2 holds NaN or infinity, as 1 of 4"):
        to_features(bad)
    assert to_features(np.ones((2, 3, 4), np.float32)).shape == (2, 3, 4)
    with pytest.raises(UsageError, match=r"shape \(2,\), must be \(rows, width\) or \(rows, f"):
        to_features(np.ones(2, np.float32))
