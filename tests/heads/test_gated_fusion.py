"""Residual gated cross fusion."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kinestore.heads import TrainingConfig, create, fit, predict_logits
from kinestore.heads.gated_fusion import GatedFusion
from kinestore.store import UsageError


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def fusion(visual: int = 3, language: int = 2) -> GatedFusion:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return GatedFusion(visual, language)


def rows(num_rows: int, width: int) -> Tensor:
    return torch.randn(num_rows, width, generator=torch.Generator().manual_seed(1))


def test_counts_for_slow_and_blip_are_the_reconstructions() -> None:
    # W 2048*512+512 + 768*512+512 = 1049088 + 393728, two LayerNorms 4*512 = 2048,
    # cross 2*(512*512+512) = 525312, gates 2*(1024*512+512) = 1049600: together 3019776;
    # perceptron 1024*512+512 + 512*256+256 + 256*101+101 = 682085
    with torch.device("meta"):
        head = create("gated_fusion", in_features=2816, num_classes=101, widths=(2048, 768))
    fused, perceptron = head.children()
    assert (count(fused), count(perceptron), count(head)) == (3_019_776, 682_085, 3_701_861)


def test_counts_for_image_and_text_of_blip() -> None:
    # The other reading: [CLS] of BLIP's image and the embedding of its caption, 768 each.
    # W 2*(768*512+512) = 787456, LayerNorms 2048, cross 525312, gates 1049600: 2364416
    with torch.device("meta"):
        head = create("gated_fusion", in_features=1536, num_classes=101, widths=(768, 768))
    fused, perceptron = head.children()
    assert (count(fused), count(perceptron), count(head)) == (2_364_416, 682_085, 3_046_501)


def reference(weights: dict[str, Tensor], row: Tensor, widths: tuple[int, int]) -> Tensor:
    """[v'; t'] of one row by the equations of the docstring."""

    def linear(name: str, x: Tensor) -> Tensor:
        return weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]

    def layer_norm(name: str, x: Tensor) -> Tensor:
        unit = (x - x.mean()) / (x.var(correction=0) + 1e-5).sqrt()
        return weights[f"{name}.weight"] * unit + weights[f"{name}.bias"]

    def sigmoid(x: Tensor) -> Tensor:
        return 1 / (1 + torch.exp(-x))

    v = layer_norm("visual.1", linear("visual.0", row[: widths[0]]))
    t = layer_norm("language.1", linear("language.0", row[widths[0] :]))
    gate_v = sigmoid(linear("visual_gate", torch.cat([v, t])))
    gate_t = sigmoid(linear("language_gate", torch.cat([v, t])))
    to_v = torch.tanh(linear("language_to_visual", t))
    to_t = torch.tanh(linear("visual_to_language", v))
    return torch.cat([v + gate_v * to_v, t + gate_t * to_t])


def test_fusion_follows_the_equations() -> None:
    fused, some = fusion().double(), rows(4, 5).double()
    generator = torch.Generator().manual_seed(2)
    for parameter in fused.parameters():  # a LayerNorm starts from 1 and 0, which hides mistakes
        nn.init.normal_(parameter, std=0.3, generator=generator)
    wanted = torch.stack([reference(fused.state_dict(), row, (3, 2)) for row in some])
    # float64 sums of up to 1024 terms: 1e-10 leaves two digits of room
    torch.testing.assert_close(fused(some), wanted, atol=1e-10, rtol=0)


def test_logits_are_the_perceptron_of_the_fusion() -> None:
    head = create("gated_fusion", in_features=5, num_classes=4, widths=[3, 2], hidden=(8,))
    fused, perceptron = head.children()
    logits = head(rows(6, 5))
    assert logits.shape == (6, 4)
    assert torch.equal(logits, perceptron(fused(rows(6, 5))))
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in head.parameters())


def test_closed_gates_leave_the_tokens_as_they_are() -> None:
    fused = fusion()
    for gate in (fused.visual_gate, fused.language_gate):
        nn.init.zeros_(gate.weight)
        nn.init.constant_(gate.bias, -torch.inf)  # sigmoid(-inf) = 0
    assert torch.equal(fused(rows(4, 5)), torch.cat(fused.tokens(rows(4, 5)), -1))


def test_open_gates_add_the_whole_message() -> None:
    fused = fusion()
    for gate in (fused.visual_gate, fused.language_gate):
        nn.init.zeros_(gate.weight)
        nn.init.constant_(gate.bias, torch.inf)  # sigmoid(inf) = 1
    v, t = fused.tokens(rows(4, 5))
    visual, _ = fused(rows(4, 5)).split(512, -1)
    assert torch.equal(visual, v + fused.language_to_visual(t).tanh())


def test_gates_lie_between_zero_and_one() -> None:
    fused = fusion()
    for gate in fused.gates(*fused.tokens(rows(64, 5))):
        assert gate.shape == (64, 512)
        assert 0 < gate.min() < 0.5 < gate.max() < 1


@pytest.mark.parametrize("changed", [slice(0, 3), slice(3, 5)], ids=["visual", "language"])
def test_a_change_of_one_modality_changes_both_halves(changed: slice) -> None:
    fused, before = fusion(), rows(4, 5)
    after = before.clone()
    after[:, changed] = before[:, changed].flip(0)  # each row gets another's modality
    moved = (fused(after) - fused(before)).abs().reshape(4, 2, 512).amax(-1)
    assert (moved > 1e-2).all()


def test_attention_to_one_token_is_the_value_whatever_the_query() -> None:
    queries, key, value = rows(7, 16), rows(1, 16), rows(1, 16) * 3
    seen = nn.functional.scaled_dot_product_attention(queries[None], key[None], value[None])
    assert torch.equal(seen[0], value.expand(7, 16))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_label_that_needs_both_modalities_is_learned(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(2, (600, 2), generator=generator)
    noise = 0.3 * torch.randn(600, 5, generator=generator)
    some = (2.0 * signs - 1).repeat_interleave(torch.tensor([3, 2]), 1) + noise
    labels = signs[:, 0] ^ signs[:, 1]  # either modality alone says nothing
    head = create(
        "gated_fusion", seed=seed, in_features=5, num_classes=2, widths=(3, 2), hidden=(16,)
    )
    fit(head, some[:200], labels[:200], config=TrainingConfig(epochs=4), seed=seed)
    assert (predict_logits(head, some[200:]).argmax(1) == labels[200:]).float().mean() >= 0.95


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"widths": (5,)}, r"widths=\(5,\): must be two, each 1 or more: of the visual"),
        ({"widths": (2, 2, 1)}, r"widths=\(2, 2, 1\): must be two"),
        ({"widths": (5, 0)}, r"widths=\(5, 0\): must be two, each 1 or more"),
        ({"widths": ()}, r"widths=\(\): must be two"),
        ({"widths": (3, 4)}, r"widths=\(3, 4\): must add up to in_features=5; give the widths"),
        ({"num_classes": 0}, r"num_classes=0: must be 1 or more"),
        ({"hidden": (0,)}, r"hidden=\(0,\): each width must be 1 or more"),
    ],
)
def test_a_wrong_setting_is_named(wrong: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {"in_features": 5, "num_classes": 2, "widths": (3, 2)}
    with pytest.raises(UsageError, match=message):
        create("gated_fusion", **(settings | wrong))
