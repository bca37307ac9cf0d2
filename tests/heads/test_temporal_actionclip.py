"""The temporal head of ActionCLIP: counts as published, masks, and the blocks of CLIP."""

import pytest
import torch
from torch import Tensor, nn

import kinestore as ks
from kinestore.heads import create
from kinestore.heads.temporal_actionclip import TemporalActionClip
from kinestore.store import UsageError


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_temporal_head_counts_as_published_alone_and_with_clip() -> None:
    # positions 77*512 = 39424; a block: 3*(512*512+512) + 512*512+512, norms 4*512, layers
    # 512*2048+2048 + 2048*512+512, together 3152384
    transformers = pytest.importorskip("transformers")
    with torch.device("meta"):
        head = create("temporal_actionclip", in_features=512, num_classes=101)
        config = transformers.CLIPConfig(vision_config={"patch_size": 16})
        clip = transformers.CLIPModel(config)
    assert isinstance(head, TemporalActionClip)
    assert count(head.temporal) == 39_424 + 6 * 3_152_384 == 18_953_728
    assert count(head) == 18_953_728 + 101 * 512 + 1
    assert count(clip) == 149_620_737
    assert count(clip) + count(head.temporal) == 168_574_465
    assert ks.describe("clip").parameters + count(head.temporal) == 170_231_041  # ViT-B/32


def test_describe_counts_its_parameters_and_multiply_adds() -> None:
    found = ks.describe("temporal_actionclip", widths=(512,), num_frames=8, num_classes=101)
    assert found.parameters == 18_953_728 + 101 * 512 + 1
    assert found.macs == 8 * 6 * 12 * 512 * 512 + 101 * 512
    assert found.attention_macs == 6 * 2 * 8 * 8 * 512


def by_hand(head: TemporalActionClip, frames: Tensor) -> Tensor:
    """The logits of one clip (T, D), with torch's own multi-head attention."""
    x = frames + head.temporal.positions[: len(frames)]
    for block in head.temporal.blocks:
        attention = nn.MultiheadAttention(frames.shape[1], block.heads, batch_first=True).double()
        layers = dict(block.named_children())
        qkv, out = layers["queries_keys_values"], layers["out"]
        attention.load_state_dict(
            {
                "in_proj_weight": qkv.weight,
                "in_proj_bias": qkv.bias,
                "out_proj.weight": out.weight,
                "out_proj.bias": out.bias,
            }
        )
        normed = layers["attention_norm"](x)[None]
        x = x + attention(normed, normed, normed)[0][0]
        inner = layers["wide"](layers["feed_forward_norm"](x))
        x = x + layers["narrow"](inner / (1 + torch.exp(-1.702 * inner)))
    mean, vectors = (frames + x).mean(0), head.classifier.weight
    cosines = (vectors @ mean) / vectors.norm(dim=1) / mean.norm()
    scaled: Tensor = head.log_scale.exp() * cosines
    return scaled


@pytest.mark.parametrize("real", [1, 4, 6])
def test_logits_are_those_of_the_equations_on_real_frames_alone(real: int) -> None:
    head = create("temporal_actionclip", in_features=128, num_classes=3, layers=2, seed=1).double()
    assert isinstance(head, TemporalActionClip) and head.temporal.blocks[0].heads == 2
    frames = torch.randn(2, 6, 128, generator=torch.Generator().manual_seed(0)).double()
    mask = torch.arange(6) < torch.tensor([[real], [6]])
    frames[~mask] = torch.nan
    logits = head(frames, mask)
    # float64 sums of 128 terms through two blocks: 1e-9 leaves room
    torch.testing.assert_close(logits[0], by_hand(head, frames[0, :real]), atol=1e-9, rtol=0)
    torch.testing.assert_close(logits[1], by_hand(head, frames[1]), atol=1e-9, rtol=0)
    assert torch.equal(head(frames[1:]), head(frames[1:], mask[1:]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": 0}, "layers=0: must be 1 or more"),
        ({"heads": 0}, "heads=0: must be 1 or more"),
        ({"heads": 3}, "heads=3: must divide the width of a frame, 16"),
        ({"num_classes": 0}, "num_classes=0: must be 1 or more"),
        ({"in_features": 0}, "in_features=0: must be 1 or more"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create("temporal_actionclip", **{"in_features": 16, "num_classes": 2} | settings)


def test_more_frames_than_positions_are_refused() -> None:
    head = create("temporal_actionclip", in_features=16, num_classes=2)
    with pytest.raises(UsageError, match="frames: 78 in a clip, where the head has positions"):
        head(torch.zeros(1, 78, 16))
