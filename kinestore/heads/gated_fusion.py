"""Residual gated cross fusion of two modalities, followed by a multi-layer perceptron.

Source: FLAMeST (Federated Multimodal Fusion for Action Recognition; TMLR submission 5468), section
6.5 and Table 9. Its appendix A.5, which defines the fusion, is lost: this is our interpretation,
and no published parameter count allows a comparison with the authors'. The features decide which
of the paper's two readings it is: `slow,blip` fuses a CNN with a vision-language model (section
3.5, 3,701,861 parameters for 101 classes), `blip-image,blip-text` image and text embeddings
(section 6.5, 3,046,501).

    v = LN(W_v e_cnn), t = LN(W_t e_vlm)                 both 512 wide
    g_v = sigmoid(U_v [v; t]), g_t = sigmoid(U_t [v; t])
    v' = v + g_v * tanh(W_tv t), t' = t + g_t * tanh(W_vt v)
    logits = MLP([v'; t'])

The cross message is a linear map, although the paper calls this gated attention: a modality is one
token here, and softmax over one key always gives it the weight 1.

Shape legend: B batch, K classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kinestore.heads.mlp import build as build_mlp
from kinestore.store import UsageError

_TOKEN_WIDTH = 512
"""Width of a modality's token."""


def build(
    *, in_features: int, num_classes: int, widths: Sequence[int], hidden: Sequence[int] = (512, 256)
) -> nn.Module:
    """Build fusion, Linear, ReLU, ..., Linear: (B, in_features) float32 -> logits (B, K).

    Args:
        in_features: Width of a row, the sum of the widths.
        num_classes: K, 1 or more.
        widths: Widths of the two modalities that are concatenated in a row, each 1 or more: the
            visual one first, the vision-language one second.
        hidden: Width of each hidden layer, each 1 or more; empty for a linear classifier.

    Returns:
        A `GatedFusion` and the perceptron after it.

    Raises:
        UsageError: If a setting is out of range, or the widths are not two that add up to
            in_features.
    """
    if len(widths) != 2 or min(widths) < 1:
        raise UsageError(
            f"widths={tuple(widths)}: must be two, each 1 or more: of the visual modality and of "
            "the vision-language one"
        )
    if sum(widths) != in_features:
        raise UsageError(
            f"widths={tuple(widths)}: must add up to in_features={in_features}; "
            "give the widths of the two modalities in the order of the columns"
        )
    return nn.Sequential(
        GatedFusion(*widths),
        build_mlp(in_features=2 * _TOKEN_WIDTH, num_classes=num_classes, hidden=hidden),
    )


class GatedFusion(nn.Module):
    """Maps two concatenated modalities to two concatenated tokens, each with a gated message.

    Attributes:
        widths: Widths of the visual and the vision-language modality in a row.
    """

    def __init__(self, visual: int, language: int) -> None:
        super().__init__()
        self.widths = (visual, language)
        self.visual = nn.Sequential(nn.Linear(visual, _TOKEN_WIDTH), nn.LayerNorm(_TOKEN_WIDTH))
        self.language = nn.Sequential(nn.Linear(language, _TOKEN_WIDTH), nn.LayerNorm(_TOKEN_WIDTH))
        self.visual_gate = nn.Linear(2 * _TOKEN_WIDTH, _TOKEN_WIDTH)
        self.language_gate = nn.Linear(2 * _TOKEN_WIDTH, _TOKEN_WIDTH)
        self.language_to_visual = nn.Linear(_TOKEN_WIDTH, _TOKEN_WIDTH)
        self.visual_to_language = nn.Linear(_TOKEN_WIDTH, _TOKEN_WIDTH)

    def tokens(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the normalized tokens v and t, each (B, 512), of rows (B, in_features)."""
        visual, language = torch.split(rows, list(self.widths), -1)
        return self.visual(visual), self.language(language)

    def gates(self, v: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gates g_v and g_t for the other modality, from 0 to 1, each (B, 512)."""
        both = torch.cat([v, t], -1)
        return self.visual_gate(both).sigmoid(), self.language_gate(both).sigmoid()

    def forward(self, rows: Tensor) -> Tensor:
        """Map rows (B, in_features) to [v'; t'], shape (B, 1024)."""
        v, t = self.tokens(rows)
        gate_v, gate_t = self.gates(v, t)
        return torch.cat(
            [
                v + gate_v * self.language_to_visual(t).tanh(),
                t + gate_t * self.visual_to_language(v).tanh(),
            ],
            -1,
        )
