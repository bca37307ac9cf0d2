"""The temporal transformer of ActionCLIP over frame embeddings, and cosines with class vectors.

Source: ActionCLIP: A New Paradigm for Video Action Recognition, 2021, section 3.3 ("Transf"), and
the authors' code: learned positions for 77 frames, six blocks as in CLIP, the frames added, the
mean over time. With 512 columns, as CLIP ViT-B has, that is 18,953,728 parameters; the class
vectors and their scale are K * 512 + 1 more.

Done differently:
    A class is one learned vector, where the authors take the text embeddings of 16 sentences; so
    the loss is the cross-entropy over classes, not that of both directions.
    The mean over time leaves out padded frames, and attention does not see them.

Shape legend: B batch, T time, D width, K classes, H attention heads.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize, scaled_dot_product_attention

from kinestore.heads._sequence_head import check_sizes, real_frames
from kinestore.store import UsageError

_MOST_FRAMES = 77
"""Positions that are learned: the length of CLIP's texts."""

_HEAD_WIDTH = 64
"""Columns of an attention head in CLIP."""


def build(
    *, in_features: int, num_classes: int, layers: int = 6, heads: int | None = None
) -> nn.Module:
    """Build positions, transformer blocks, mean over time, and scaled cosines with class vectors.

    Args:
        in_features: D, width of a frame, 1 or more.
        num_classes: K, 1 or more.
        layers: Transformer blocks, 1 or more.
        heads: H, which divides the width; None for one for each 64 columns, as in CLIP.

    Returns:
        A `TemporalActionClip`.

    Raises:
        UsageError: If a setting is out of range.
    """
    heads = max(1, in_features // _HEAD_WIDTH) if heads is None else heads
    sizes = {"in_features": in_features, "num_classes": num_classes, "layers": layers}
    check_sizes({**sizes, "heads": heads})
    if in_features % heads:
        raise UsageError(
            f"heads={heads}: must divide the width of a frame, {in_features}; give another number"
        )
    return TemporalActionClip(in_features, num_classes, layers, heads)


class TemporalActionClip(nn.Module):
    """Network from frames to logits; see `build`.

    Attributes:
        in_features: D.
        temporal: Transformer over the frames.
        log_scale: Logarithm of what the cosines are multiplied by; starts as in CLIP.
        classifier: Its weights are the class vectors, shape (K, D).
    """

    def __init__(self, in_features: int, num_classes: int, layers: int, heads: int) -> None:
        super().__init__()
        self.in_features = in_features
        self.temporal = TemporalBlocks(in_features, layers, heads)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.classifier = nn.Linear(in_features, num_classes, bias=False)

    def forward(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return logits (B, K), which do not depend on padded frames.

        Args:
            frames: float32, shape (B, T, D), T from 1 to 77.
            mask: True where a frame is real, bool, shape (B, T); None if all are.

        Raises:
            UsageError: If a shape or the mask's dtype differs, a clip has no real frame, or there
                are more than 77 frames.
        """
        frames = real_frames(frames, mask, in_features=self.in_features)
        if frames.shape[1] > _MOST_FRAMES:
            raise UsageError(
                f"frames: {frames.shape[1]} in a clip, where the head has positions for "
                f"{_MOST_FRAMES}; extract fewer"
            )
        seen = frames + self.temporal(frames, mask)
        kept = torch.ones_like(seen[..., :1]) if mask is None else mask[..., None].to(seen.dtype)
        mean = (seen * kept).sum(1) / kept.sum(1)
        cosines = linear(normalize(mean, dim=-1), normalize(self.classifier.weight, dim=-1))
        return self.log_scale.exp() * cosines


class TemporalBlocks(nn.Module):
    """Adds learned positions and applies the blocks of a transformer.

    Attributes:
        positions: float32, shape (77, D).
        blocks: The blocks in order.
    """

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.empty(_MOST_FRAMES, width).normal_(std=0.02))
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(layers))

    def forward(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """Map (B, T, D) to the same shape; frames with a mask (B, T) of False are ignored."""
        seen = frames + self.positions[: frames.shape[1]]
        for block in self.blocks:
            seen = block(seen, mask)
        return seen


class _Block(nn.Module):
    """Self-attention, then two layers with a quick GELU between, each after a norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self._attend(self.attention_norm(x), mask)
        inner = self.wide(self.feed_forward_norm(x))
        out: Tensor = x + self.narrow(inner * torch.sigmoid(1.702 * inner))
        return out

    def _attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        split = self.queries_keys_values(x).unflatten(-1, (3, self.heads, -1))
        queries, keys, values = split.permute(2, 0, 3, 1, 4)  # (B, H, T, D / H) each
        seen = scaled_dot_product_attention(
            queries, keys, values, attn_mask=None if mask is None else mask[:, None, None, :]
        )
        out: Tensor = self.out(seen.transpose(1, 2).flatten(2))
        return out
