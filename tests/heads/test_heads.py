"""Heads by name, their parameter counts, scores and standardisation."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from kinestore import heads
from kinestore.heads import Scores, Standardizer, create, score
from kinestore.heads.support.standardizer import combine, moments_of
from kinestore.store import UsageError


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("num_classes", "published"), [(1, 1_573_889), (51, 1_586_739), (101, 1_599_589)]
)
def test_mlp_on_2816_features_counts_as_in_flamest(num_classes: int, published: int) -> None:
    # by hand for one class: 2816*512+512 + 512*256+256 + 256+1 = 1442304 + 131328 + 257
    assert count(create("mlp", in_features=2816, num_classes=num_classes)) == published


@pytest.mark.parametrize(
    ("hidden", "published"),
    [
        ((256, 256), 812_901),
        ((1024, 512), 3_461_221),
        ((1024, 512, 256), 3_566_693),
        ((1024,) * 3, 5_087_333),
    ],
)
def test_other_hidden_widths_count_as_in_table_6(hidden: tuple[int, ...], published: int) -> None:
    assert count(create("mlp", in_features=2816, num_classes=101, hidden=hidden)) == published


def test_mlp_without_hidden_layers_is_linear() -> None:
    head = create("mlp", in_features=3, num_classes=2, hidden=())
    a, b = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    origin = head(torch.zeros(3))
    # float32 sums of three terms: 1e-6 is several units in the last place
    torch.testing.assert_close(
        head(a + b) - origin, head(a) + head(b) - 2 * origin, atol=1e-6, rtol=0
    )


NARROW = {"layers": (1, 1, 1, 1), "width": 16}

LITTLE: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "mlp": ({}, (64, 5)),
    "gated_fusion": ({"widths": (3, 2)}, (64, 5)),
    "temporal_actionclip": ({"layers": 1}, (64, 4, 5)),
    "temporal_rnn": ({"units": 16, "dense": 16}, (64, 4, 5)),
    "temporal_transformer": ({"dense": 16}, (64, 4, 5)),
    "c3d": ({"num_frames": 2, "size": 32}, (4, 2, 3, 32, 32)),
    "cnn_rnn": ({"trunk": "resnet18", "units": 16, "dense": 16}, (4, 2, 3, 32, 32)),
    "cnn_transformer": ({"trunk": "resnet18", "dense": 16}, (4, 2, 3, 32, 32)),
    "correlation": (NARROW, (2, 4, 3, 64, 64)),
    "differential": ({"num_segments": 3, **NARROW}, (2, 3, 5, 3, 64, 64)),
}
"""Settings of small ones, and what they take."""


@pytest.mark.parametrize("name", heads.names())
def test_every_head_can_be_built_and_learns_from_every_parameter(name: str) -> None:
    settings, shape = LITTLE[name]
    width = {} if heads.takes_frames(name) else {"in_features": 5}
    head = create(name, num_classes=3, **width, **settings)
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(head.parameters(), lr=1e-3)
    still = {name for name, _ in head.named_parameters()}
    for _ in range(2):  # a branch whose last scale starts from zero learns from the second step on
        optimizer.zero_grad()
        logits = head(inputs)
        assert logits.shape == (shape[0], 3)
        logits.square().sum().backward()
        still -= {n for n, p in head.named_parameters() if p.grad is not None and p.grad.any()}
        optimizer.step()
    assert still == set()


def test_a_head_takes_frames_whose_build_has_no_in_features() -> None:
    temporal = {"temporal_actionclip", "temporal_rnn", "temporal_transformer"}
    vectors = {"gated_fusion", "mlp", *temporal}
    assert {name for name in heads.names() if not heads.takes_frames(name)} == vectors
    with pytest.raises(UsageError, match=r"head='mpl': must be one of"):
        heads.takes_frames("mpl")


def test_names_are_the_public_modules_that_define_build() -> None:
    assert "mlp" in heads.names()
    assert not [name for name in heads.names() if name.startswith("_")]


def test_the_seed_decides_the_first_weights_and_the_global_generator_stays() -> None:
    before = torch.get_rng_state()
    first, again, other = (create("mlp", in_features=4, num_classes=2, seed=s) for s in (7, 7, 8))
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("mpl", {}, r"head='mpl': must be one of .*mlp"),
        ("_fit", {}, r"head='_fit': must be one of"),
        ("mlp", {"in_features": 3}, r"num_classes is missing: head 'mlp' takes in_features, num"),
        (
            "mlp",
            {"in_features": 3, "num_classes": 2, "depth": 9},
            r"depth=9: head 'mlp' takes in_features, num_classes, hidden",
        ),
        ("mlp", {"in_features": 0, "num_classes": 2}, r"in_features=0: must be 1 or more"),
        ("mlp", {"in_features": 3, "num_classes": 0}, r"num_classes=0: must be 1 or more"),
        (
            "mlp",
            {"in_features": 3, "num_classes": 2, "hidden": (4, 0)},
            r"hidden=\(4, 0\): each width must be 1 or more",
        ),
        ("mlp", {"in_features": 3, "num_classes": 2, "seed": -1}, r"seed=-1: must be from 0"),
    ],
)
def test_a_wrong_request_is_named(name: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create(name, **settings)  # type: ignore[arg-type]


def logits_for(predicted: list[int], num_classes: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(predicted), num_classes).float()


def test_scores_of_four_rows_by_hand() -> None:
    # truth 0 0 1 2, predicted 0 1 1 1. Class 0: precision 1/1, recall 1/2, F1 2/3;
    # class 1: 1/3, 1/1, 1/2; class 2: never predicted, so 0, 0, 0. Class 3 does not occur.
    scores = score(logits_for([0, 1, 1, 1], 4), torch.tensor([0, 0, 1, 2]), 4)
    assert scores.top1 == 2 / 4
    assert scores.macro_precision == pytest.approx((1 + 1 / 3 + 0) / 3)
    assert scores.macro_recall == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert scores.macro_f1 == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    wanted = [[1, 1, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert scores.confusion.tolist() == wanted


def test_top5_counts_a_row_whose_class_ranks_fifth_and_not_sixth() -> None:
    ranked = torch.arange(7, 0, -1).float().repeat(2, 1)  # class 0 first, class 6 last
    assert score(ranked, torch.tensor([4, 5]), 7).top5 == 0.5
    assert score(ranked[:, :3], torch.tensor([0, 2]), 3).top5 == 1.0  # fewer than five classes


def test_fractions_are_all_the_scores_but_the_matrix() -> None:
    scores = score(logits_for([0, 1], 2), torch.tensor([0, 1]), 2)
    assert set(scores.fractions()) == set(Scores.__dataclass_fields__) - {"confusion"}
    assert set(scores.fractions().values()) == {1.0}


def test_logits_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match=r"shape \(2, 3\) for 2 labels and num_classes=4"):
        score(torch.zeros(2, 3), torch.tensor([0, 1]), 4)
    with pytest.raises(UsageError, match="for 0 labels"):
        score(torch.zeros(0, 3), torch.tensor([], dtype=torch.int64), 3)


def rows(seed: int, num_rows: int = 50) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(num_rows, 6)) * 3 + 100).astype(np.float32)


@pytest.mark.parametrize("cuts", [[25], [1, 2, 40], [10, 20, 30, 40]])
def test_merged_moments_equal_those_of_all_rows(cuts: list[int]) -> None:
    whole = rows(0)
    merged = combine([moments_of(part) for part in np.split(whole, cuts)])
    assert merged.count == 50
    # float64 sums of 50 terms: 1e-12 leaves three digits of room
    np.testing.assert_allclose(merged.mean, whole.astype(np.float64).mean(0), rtol=1e-12)
    np.testing.assert_allclose(merged.m2 / 50, whole.astype(np.float64).var(0), rtol=1e-12)


def test_two_moments_merge_by_hand() -> None:
    # rows 1 3 (mean 2, m2 2) and 9 (mean 9, m2 0): mean 13/3, m2 2 + 7^2 * 2*1/3
    merged = combine(
        [moments_of(np.array([[1], [3]], np.float32)), moments_of(np.array([[9]], np.float32))]
    )
    assert merged.mean[0] == pytest.approx(13 / 3)
    assert merged.m2[0] == pytest.approx(2 + 49 * 2 / 3)


def test_standardised_columns_have_mean_zero_and_deviation_one() -> None:
    ready = Standardizer.from_moments(moments_of(rows(1))).apply(rows(1))
    assert ready.dtype == np.float32
    # float32 holds seven digits
    np.testing.assert_allclose(ready.mean(0, dtype=np.float64), 0, atol=1e-6)
    np.testing.assert_allclose(ready.std(0, dtype=np.float64), 1, atol=1e-6)


@pytest.mark.parametrize("level", [0.0, 0.1, -1e7])
def test_a_column_that_never_varied_becomes_zero_even_for_rows_where_it_does(level: float) -> None:
    flat = np.full((7, 1), level, dtype=np.float32)
    standardizer = Standardizer.from_moments(moments_of(flat))
    assert standardizer.apply(np.array([[5.0], [level]], np.float32)).tolist() == [[0.0], [0.0]]


def test_moments_of_nothing_and_rows_of_another_width_are_refused() -> None:
    with pytest.raises(UsageError, match=r"shape \(0, 3\), must be \(rows, width\) with a row"):
        moments_of(np.zeros((0, 3), np.float32))
    with pytest.raises(UsageError, match=r"parts=\[\]: must hold one"):
        combine([])
    with pytest.raises(UsageError, match=r"shape \(1, 2\), must be \(rows, 6\) as measured"):
        Standardizer.from_moments(moments_of(rows(0))).apply(np.zeros((1, 2), np.float32))
