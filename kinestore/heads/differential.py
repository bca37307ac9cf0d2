"""A network on frames that computes motion from differences within and between segments.

Source: Video Action Recognition Method Based on Personalized Federated Learning and Spatiotemporal
Features, 2025, section 3.1 (Eqs. 1 to 7). The backbone is torchvision's ResNet-50. The paper gives
no widths: this is a reconstruction that has its "about 25.6 M" parameters. With the placement of
the temporal modules in TDN, on which the paper is based, it would be 24.2 M. docs/nets.md explains
how each equation was interpreted.

Shape legend: B batch, N segments, C channels, H height, W width, K classes; a segment is 5 frames.
"""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from kinestore.heads._feature_layer import FeatureLayer
from kinestore.heads._local_difference import SEGMENT_LENGTH, LocalModule
from kinestore.heads._resnet import RESNET50, residual_network
from kinestore.heads._sequence_head import check_fractions, check_sizes
from kinestore.heads._temporal_difference import TimeModule, TimeSettings
from kinestore.store import UsageError

LEAST_SIZE = 33
"""Smallest side in pixels: res5 then is 2 x 2, which a temporal module can pool."""


def build(
    *,
    num_classes: int,
    num_segments: int = 8,
    local_input: str = "center_diff_smooth",
    diff_reduce: str = "mean",
    fusion_weights: Sequence[float] = (1.0, 1.0),
    strides: Sequence[int] = (1, 1, 2),
    diff_conv: str = "both",
    boundary: str = "zero_feature",
    center_gate: bool = False,
    tm_place: str = "stage",
    tm_reduction: int = 16,
    tm_conv: str = "full",
    tm_share_dirs: str = "expand",
    dropout: float = 0.5,
    layers: Sequence[int] = RESNET50,
    width: int = 64,
    weights: Path | None = None,
) -> "DifferentialNet":
    """Build the local module, res3 to res5 with temporal modules, pooling, and the classifier.

    Args:
        num_classes: K, 1 or more.
        num_segments: N, 1 or more; the paper uses 8 and 16, and 3 in its figures.
        local_input: Input of the difference branch (Table 1): "concat_frames", "adjacent_diff",
            "center_diff" or "center_diff_smooth"; or "none" for no such branch.
        diff_reduce: "mean" (the text) or "sum" (Eq. 1) over the four smoothed differences.
        fusion_weights: Weights of the frame's and of the difference's features in their sum; TDN
            has (0.5, 0.5).
        strides: s of the temporal modules of res3, res4 and res5 (Table 2), each 1 or more and
            below N; empty for no temporal modules.
        diff_conv: Whether Conv is applied to "both" segments of a difference (Eq. 4) or only to the
            later "one" (the text, and TDN).
        boundary: "zero_feature" subtracts from zero where there is no segment; with "zero_diff" the
            difference is zero there, as in TDN.
        center_gate: Subtract 1/2 from the gate, as TDN: static features are then unchanged.
        tm_place: A temporal module after each "stage", or in each "block" after its first
            convolution, as TDN.
        tm_reduction: Factor by which the temporal module reduces the channels, 1 or more.
        tm_conv: Conv of Eq. 4: "full", or "depthwise" as TDN.
        tm_share_dirs: Layers that the two directions share: the last 1x1 convolution ("expand"),
            the 3x3 convolutions ("paths"), "both" or "none".
        dropout: Fraction of the pooled features dropped in training, from 0 to below 1.
        layers: Bottlenecks in res2 to res5, each from 1 to 100; the paper's are ResNet-50's.
        width: Channels of the 3x3 convolution in res2, a multiple of 16; other stages scale with
            it. ResNet-50 has 64. With layers (1, 1, 1, 1), 16 is enough to learn on a CPU.
        weights: A file with torchvision's state dict of the backbone, such as ImageNet's;
            they also initialize the difference branch. None for random weights.

    Returns:
        A `DifferentialNet`.

    Raises:
        UsageError: If a setting is out of range, or the weights do not fit.
    """
    check_sizes({"num_classes": num_classes})
    check_fractions({"dropout": dropout})
    time = TimeSettings(
        num_segments=num_segments,
        tm_reduction=tm_reduction,
        tm_conv=tm_conv,
        tm_share_dirs=tm_share_dirs,
        diff_conv=diff_conv,
        boundary=boundary,
        center_gate=center_gate,
    )
    _check_strides(strides, num_segments)
    if tm_place not in _PLACES:
        raise UsageError(f"tm_place={tm_place!r}: must be one of {', '.join(_PLACES)}")
    trunk = residual_network(layers=layers, width=width, weights=weights)
    local = LocalModule(
        trunk, local_input=local_input, diff_reduce=diff_reduce, fusion_weights=fusion_weights
    )
    if weights is not None:
        local.inflate()
    stages = OrderedDict(res3=trunk.layer2, res4=trunk.layer3, res5=trunk.layer4)
    if strides:
        _PLACES[tm_place](stages, strides, time)
    return DifferentialNet(
        local=local,
        stages=nn.Sequential(stages),
        classifier=nn.Linear(trunk.fc.in_features, num_classes),
        dropout=dropout,
        num_segments=num_segments,
    )


class DifferentialNet(nn.Module):
    """Network from frames to logits; see `build`.

    Attributes:
        private: Parts that stay with a client in personalized federated learning (section 3.1).
        public: Parts that clients share.
        num_segments: N.
    """

    private = ("local",)
    public = ("stages", "classifier")

    def __init__(
        self,
        *,
        local: nn.Module,
        stages: nn.Module,
        classifier: nn.Module,
        dropout: float,
        num_segments: int,
    ) -> None:
        super().__init__()
        self.num_segments = num_segments
        self.local = local
        self.stages = stages
        self.dropout = nn.Dropout(dropout)
        self.classifier = classifier

    @property
    def feature_layers(self) -> dict[str, FeatureLayer]:
        """Layers with a map for each segment, by stage; a stage includes its temporal module."""
        stages = {"res2": self.local, **dict(self.stages.named_children())}
        return {
            name: FeatureLayer(module=stage, stride=4 << number)
            for number, (name, stage) in enumerate(stages.items())
        }

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits (B, K).

        Args:
            frames: Normalized pixels, floating point, shape (B, N, 5, 3, H, W), H and W 33 or more;
                segments and the frames within in order of time.

        Raises:
            UsageError: If the shape or the dtype differs.
        """
        self._check_frames(frames)
        pooled = self.stages(self.local(frames.flatten(0, 1))).mean((-2, -1))
        logits: Tensor = self.classifier(self.dropout(pooled))  # (B * N, K)
        return logits.view(-1, self.num_segments, logits.shape[-1]).mean(1)

    def _check_frames(self, frames: Tensor) -> None:
        wanted = (self.num_segments, SEGMENT_LENGTH, 3)
        fits = frames.ndim == 6 and tuple(frames.shape[1:4]) == wanted
        if not fits or min(frames.shape[-2:]) < LEAST_SIZE:
            raise UsageError(
                f"frames: shape {tuple(frames.shape)}, must be (clips, {self.num_segments}, "
                f"{SEGMENT_LENGTH}, 3, height, width) with sides of {LEAST_SIZE} or more; sample "
                f"num_segments={self.num_segments} segments of {SEGMENT_LENGTH} frames per clip"
            )
        if not frames.is_floating_point():
            raise UsageError(
                f"frames: {frames.dtype}, must be floating; divide by 255 and normalize first"
            )


def _check_strides(strides: Sequence[int], num_segments: int) -> None:
    if len(strides) not in (0, 3):
        raise UsageError(
            f"strides={tuple(strides)}: must be three, of res3, res4 and res5; or none"
        )
    if not all(1 <= stride < num_segments for stride in strides):
        raise UsageError(
            f"strides={tuple(strides)}: each must be 1 or more and below num_segments="
            f"{num_segments}; take more segments, or no temporal modules with strides=()"
        )


def _after_stages(
    stages: "OrderedDict[str, Any]", strides: Sequence[int], settings: TimeSettings
) -> None:
    """Add a temporal module after each stage."""
    for (name, stage), stride in zip(list(stages.items()), strides, strict=True):
        module = TimeModule(stage[-1].bn3.num_features, stride=stride, settings=settings)
        stages[name] = nn.Sequential(OrderedDict(blocks=stage, time=module))


def _in_blocks(
    stages: "OrderedDict[str, Any]", strides: Sequence[int], settings: TimeSettings
) -> None:
    """Add a temporal module in each block, between the first ReLU and the second convolution."""
    for stage, stride in zip(stages.values(), strides, strict=True):
        for block in stage:
            module = TimeModule(block.bn1.num_features, stride=stride, settings=settings)
            block.conv2 = nn.Sequential(OrderedDict(time=module, conv=block.conv2))


_PLACES = {"stage": _after_stages, "block": _in_blocks}
