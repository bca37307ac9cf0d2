"""A transformer encoder over the frames of a clip, and a classifier on the maximum over time.

Source: Video Action Recognition Collaborative Learning with Dynamics via PSO-ConvNet Transformer,
2023, section 2.2 (Eqs. 8 to 11, Figure 2) and Table 2; details that the text omits are from the
authors' Keras notebooks, with the same parameter counts. Each attention head is as wide as a frame
(key_dim = D), so that H of them are H * D wide inside, not D.

Done differently:
    The maximum over time ignores padded frames, while GlobalMaxPooling1D includes them.
    Weights use torch's default initialization, not Glorot's.

Shape legend: B batch, T time, D width, K classes, H attention heads.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from kinestore.heads._sequence_head import check_fractions, check_sizes, classifier, real_frames
from kinestore.store import UsageError

_EPSILON = 1e-3
"""Constant that Keras' LayerNormalization adds to a variance."""


def build(
    *,
    in_features: int,
    num_classes: int,
    num_frames: int | None = None,
    heads: int = 4,
    layers: int = 1,
    dense: int | None = 1024,
    feed_forward: int = 64,
    positions: str = "sinusoidal",
    attention_dropout: float = 0.3,
    noise: float = 0.1,
    dropout: float = 0.4,
) -> nn.Module:
    """Build positions, encoder blocks, maximum over time, noise, Linear, ReLU, dropout, Linear.

    Table 5 is best with 6 heads and a feed_forward of 32 or 64, on 10 frames.

    Args:
        in_features: D, width of a frame, 1 or more.
        num_classes: K, 1 or more.
        num_frames: Length of the longest sequence, 1 or more, only for learned positions; the
            others take any length.
        heads: H, 1 or more.
        layers: Encoder blocks, 1 or more.
        dense: Width of the classifier's hidden layer, 1 or more; None for no hidden layer and no
            noise, as in the paper's transfer runs (their dropout is 0.5).
        feed_forward: Width of a block's hidden layer, 1 or more.
        positions: "sinusoidal" as in Eq. 8; "learned", one vector per position, as in the
            notebooks; or "none", which ignores the order of the frames.
        attention_dropout: Fraction of the attention weights dropped in training, from 0 to below 1.
        noise: Standard deviation of the noise added to the maximum in training, 0 or more.
        dropout: Fraction of the hidden layer dropped in training, from 0 to below 1.

    Returns:
        A `TemporalTransformer`.

    Raises:
        UsageError: If a setting is out of range, or num_frames is missing.
    """
    check_sizes({"in_features": in_features, "heads": heads, "layers": layers})
    check_sizes({"feed_forward": feed_forward})
    check_fractions({"attention_dropout": attention_dropout})
    if positions not in _POSITIONS:
        raise UsageError(f"positions={positions!r}: must be one of {', '.join(_POSITIONS)}")
    return TemporalTransformer(
        in_features=in_features,
        positions=_POSITIONS[positions](in_features, num_frames),
        blocks=[
            EncoderBlock(in_features, heads, feed_forward, attention_dropout) for _ in range(layers)
        ],
        classifier=classifier(
            width=in_features, num_classes=num_classes, dense=dense, noise=noise, dropout=dropout
        ),
    )


class TemporalTransformer(nn.Module):
    """Network from frames to logits; see `build`.

    Attributes:
        in_features: D.
        positions: Adds the position encoding.
        blocks: Encoder blocks.
        classifier: Layers from the maximum over time to the logits.
    """

    def __init__(
        self,
        *,
        in_features: int,
        positions: nn.Module,
        blocks: list["EncoderBlock"],
        classifier: nn.Module,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.positions = positions
        self.blocks = nn.ModuleList(blocks)
        self.classifier = classifier

    def forward(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return logits (B, K), which do not depend on padded frames.

        Args:
            frames: float32, shape (B, T, D), T 1 or more.
            mask: True where a frame is real, bool, shape (B, T); None if all are.

        Raises:
            UsageError: If a shape or the mask's dtype differs, a clip has no real frame, or
                there are more frames than learned positions.
        """
        encoded: Tensor = self.positions(real_frames(frames, mask, in_features=self.in_features))
        for block in self.blocks:
            encoded = block(encoded, mask)
        if mask is not None:
            encoded = encoded.masked_fill(~mask[..., None], -torch.inf)
        logits: Tensor = self.classifier(encoded.amax(1))
        return logits


class EncoderBlock(nn.Module):
    """Self-attention, then two layers with GELU between; each has a residual and a norm.

    Attributes:
        heads: H.
        dropout: Fraction of the attention weights dropped in training.
    """

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.queries_keys_values = nn.Linear(width, 3 * heads * width)
        self.out = nn.Linear(heads * width, width)
        self.attention_norm = nn.LayerNorm(width, eps=_EPSILON)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, feed_forward), nn.GELU(), nn.Linear(feed_forward, width)
        )
        self.feed_forward_norm = nn.LayerNorm(width, eps=_EPSILON)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map (B, T, D) to the same shape; frames with a mask (B, T) of False are ignored."""
        x = self.attention_norm(x + self._attend(x, mask))
        normed: Tensor = self.feed_forward_norm(x + self.feed_forward(x))
        return normed

    def _attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Compute Eqs. 9 to 11, scaled by the square root of D, which is the width of a head."""
        split = self.queries_keys_values(x).unflatten(-1, (3, self.heads, -1))  # (B, T, 3, H, D)
        queries, keys, values = split.permute(2, 0, 3, 1, 4)
        seen = scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=None if mask is None else mask[:, None, None, :],
            dropout_p=self.dropout if self.training else 0.0,
        )
        out: Tensor = self.out(seen.transpose(1, 2).flatten(2))
        return out


class SinusoidalPositions(nn.Module):
    """Adds sines and cosines of the position, for any number of frames.

    Source: Eq. 8, as in Attention Is All You Need, 2017, section 3.5.
    """

    def forward(self, frames: Tensor) -> Tensor:
        """Map (B, T, D) to the same shape."""
        _, num_frames, width = frames.shape
        places = torch.arange(num_frames, device=frames.device, dtype=frames.dtype)
        powers = torch.arange(0, width, 2, device=frames.device, dtype=frames.dtype) / width
        angles = places[:, None] / 10_000**powers
        waves = torch.stack([angles.sin(), angles.cos()], -1).flatten(1)
        return frames + waves[:, :width]  # an odd width ends on a sine


class LearnedPositions(nn.Module):
    """Adds one learned vector per position, initialized within 0.05 of zero as Keras' Embedding.

    Attributes:
        vectors: float32, shape (num_frames, D).
    """

    def __init__(self, width: int, num_frames: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.empty(num_frames, width).uniform_(-0.05, 0.05))

    def forward(self, frames: Tensor) -> Tensor:
        """Map (B, T, D) to the same shape, T up to num_frames."""
        longest, num_frames = len(self.vectors), frames.shape[1]
        if num_frames > longest:
            raise UsageError(
                f"frames: {num_frames} in a clip, where positions are learned for {longest}; "
                f"build the head with num_frames={num_frames}"
            )
        return frames + self.vectors[:num_frames]


def _learned(width: int, num_frames: int | None) -> nn.Module:
    if num_frames is None:
        raise UsageError(
            "num_frames is missing: learned positions need the longest sequence's number of "
            "frames; give it, or take positions='sinusoidal'"
        )
    check_sizes({"num_frames": num_frames})
    return LearnedPositions(width, num_frames)


_POSITIONS: dict[str, Callable[[int, int | None], nn.Module]] = {
    "sinusoidal": lambda width, num_frames: SinusoidalPositions(),
    "learned": _learned,
    "none": lambda width, num_frames: nn.Identity(),
}
