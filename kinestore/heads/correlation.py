"""A network on frames that exchanges channels between frames and correlates positions.

Source: Fine-Grained Spatio-temporal Feature Learning Network for Video Understanding (FSTFL-Net):
torchvision's ResNet-50 with gate-shift-fuse in each block, and after a stage the spatio-temporal
correlation module. docs/nets-correlation.md explains how each step was interpreted.

Done differently: the module's last ReLU is after the sum with the stage's output, not before it,
and its last norm starts from zero, so that the network starts like one without the module. With
`stc_form="paper"` both are as printed: the ReLU is before the sum, and the norm starts from one.

Shape legend: B batch, T time, H height, W width, K classes, N maps, time outermost (N = T B).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from kinestore.heads._feature_layer import FeatureLayer
from kinestore.heads._frames_validation import check_clips
from kinestore.heads._gate_shift_fuse import GatedStage
from kinestore.heads._resnet import RESNET50, residual_network
from kinestore.heads._sequence_head import check_fractions, check_sizes
from kinestore.heads._spatiotemporal_correlation import SpatioTemporalCorrelation
from kinestore.store import UsageError

STAGES = ("res2", "res3", "res4", "res5")

PLACES = {
    **{stage: (stage,) for stage in STAGES},
    **{f"res2-{last}": STAGES[: last - 1] for last in (3, 4, 5)},
}
"""Positions of the correlation module (Table 6), and the stages before it."""

_FORMS = ("residual", "paper")


def build(
    *,
    num_classes: int,
    stc_at: str | None = "res3",
    max_offset: int = 3,
    max_displacement: int = 4,
    signed: bool = True,
    stc_form: str = "residual",
    gsf_ratio: float = 0.25,
    dropout: float = 0.5,
    layers: Sequence[int] = RESNET50,
    width: int = 64,
    weights: Path | None = None,
) -> "CorrelationNet":
    """Build ResNet-50 with gate-shift-fuse and correlation; logits are averaged over frames.

    Args:
        num_classes: K, 1 or more.
        stc_at: Stage or stages before the correlation module: "res2", "res3", "res4",
            "res5", "res2-3", "res2-4" or "res2-5" (Table 6); None for GSF alone.
        max_offset: Largest distance in time of compared frames, 1 or more.
        max_displacement: Largest distance of compared positions in height and width, 1 or more;
            a position of res3 is 8 pixels.
        signed: Whether previous and next frames have separate features; otherwise each gets the
            mean of the two, which does not distinguish forward from backward motion.
        stc_form: "residual": the module's last norm starts from 0, and its last ReLU is after the
            sum; "paper": the norm starts from 1, and the ReLU is before the sum.
        gsf_ratio: Fraction of a block's channels that are gated, in steps of 1/16, up to 1.
        dropout: Fraction of the pooled features dropped in training, from 0 to below 1; the paper
            uses 0.5, and 0.8 on UCF101.
        layers: Bottlenecks in res2 to res5, each from 1 to 100; the paper's are ResNet-50's.
        width: Channels of the 3x3 convolution in res2, a multiple of 16; ResNet-50 has 64. With
            few layers, 16 is enough to learn on a CPU.
        weights: A file with torchvision's state dict of the backbone, such as ImageNet's; None for
            random weights.

    Returns:
        A `CorrelationNet`.

    Raises:
        UsageError: If a setting is out of range, or the weights do not fit.
    """
    check_sizes(
        {
            "num_classes": num_classes,
            "max_offset": max_offset,
            "max_displacement": max_displacement,
        }
    )
    check_fractions({"dropout": dropout})
    if stc_at is not None and stc_at not in PLACES:
        raise UsageError(f"stc_at={stc_at!r}: must be one of {', '.join(PLACES)}; or None")
    if stc_form not in _FORMS:
        raise UsageError(f"stc_form={stc_form!r}: must be one of {', '.join(_FORMS)}")
    if not 0 < gsf_ratio <= 1 or 16 * gsf_ratio % 1:
        raise UsageError(f"gsf_ratio={gsf_ratio}: must be a multiple of 1/16, above 0 and up to 1")
    trunk = residual_network(layers=layers, width=width, weights=weights)
    layers_of_trunk = (trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4)
    stages = {
        name: GatedStage(layer, ratio=gsf_ratio)
        for name, layer in zip(STAGES, layers_of_trunk, strict=True)
    }
    return CorrelationNet(
        stem=nn.Sequential(trunk.conv1, trunk.bn1, trunk.relu, trunk.maxpool),
        stages=stages,
        correlations={
            place: SpatioTemporalCorrelation(
                layers_of_trunk[STAGES.index(place)][-1].conv3.out_channels,
                max_offset=max_offset,
                max_displacement=max_displacement,
                signed=signed,
                as_printed=stc_form == "paper",
            )
            for place in (PLACES[stc_at] if stc_at else ())
        },
        classifier=nn.Linear(trunk.fc.in_features, num_classes),
        dropout=dropout,
    )


class CorrelationNet(nn.Module):
    """Network from frames to logits; see `build`.

    Attributes:
        stages: res2 to res5, each a `GatedStage`.
        correlations: The correlation modules, by the stage that they follow.
    """

    def __init__(
        self,
        *,
        stem: nn.Module,
        stages: Mapping[str, nn.Module],
        correlations: dict[str, nn.Module],
        classifier: nn.Module,
        dropout: float,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.stages = nn.ModuleDict(dict(stages))
        self.correlations = nn.ModuleDict(correlations)
        self.dropout = nn.Dropout(dropout)
        self.classifier = classifier

    @property
    def feature_layers(self) -> dict[str, FeatureLayer]:
        """Layers with a map for each frame, by stage: its correlation module, or the stage."""
        last = {**self.stages, **self.correlations}
        return {
            name: FeatureLayer(module=last[name], stride=4 << number)
            for number, name in enumerate(self.stages)
        }

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits (B, K).

        Args:
            frames: Normalized pixels, floating point, shape (B, T, 3, H, W), in order of time; the
                paper uses T of 8 or 16, and 224 x 224.

        Raises:
            UsageError: If the shape or the dtype differs.
        """
        check_clips(frames)
        num_frames = frames.shape[1]
        pixels = frames.transpose(0, 1).flatten(0, 1)
        # channels_last is a fifth faster on a CPU, and is kept by all layers
        maps = self.stem(pixels.contiguous(memory_format=torch.channels_last))
        for name, stage in self.stages.items():
            earlier, maps = maps, stage(maps, num_frames)
            if name in self.correlations:
                maps = self.correlations[name](maps, earlier, num_frames=num_frames)
        logits: Tensor = self.classifier(self.dropout(maps.mean((-2, -1))))
        return logits.view(num_frames, -1, logits.shape[-1]).mean(0)
