"""A network on frames that reads motion from differences: within segments, and between them.

Source: Video Action Recognition Method Based on Personalized Federated Learning and Spatiotemporal
Features, 2025, section 3.1 (Eqs. 1 to 7). The trunk is torchvision's ResNet-50. The paper gives no
widths: this is a reconstruction that meets its "about 25.6 M" parameters, where TDN's placement of
the time modules, which it builds upon, gives 24.2 M. docs/nets.md tells how each equation was read.

Shape legend: B batch, N segments, C channels, H height, W width, K classes; a segment is 5 frames.
"""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from kinestore.heads._feature_layer import FeatureLayer
from kinestore.heads._local_difference import NUM_FRAMES, LocalModule
from kinestore.heads._resnet import RESNET50, residual_network
from kinestore.heads._sequence_head import check_fractions, check_sizes
from kinestore.heads._temporal_difference import TimeModule, TimeSettings
from kinestore.store import UsageError

LEAST_SIZE = 33
"""Pixels of a side: res5 then gives 2 x 2, of which a time module can take means."""


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
    """Local module, res3 to res5 with time modules, means over space, logits, their mean over time.

    Args:
        num_classes: K, 1 or more.
        num_segments: N, 1 or more; the paper has 8 and 16, and 3 in its figures.
        local_input: What the difference branch reads (Table 1): "concat_frames", "adjacent_diff",
            "center_diff" or "center_diff_smooth"; or "none", and there is no such branch.
        diff_reduce: "mean" (the text) or "sum" (Eq. 1) over the four smoothed differences.
        fusion_weights: Of the frame's features and of the difference's, where they are added; TDN
            has (0.5, 0.5).
        strides: s of the time modules of res3, res4 and res5 (Table 2), each 1 or more and below
            N; empty for no time modules.
        diff_conv: Whether Conv is on "both" segments that are subtracted (Eq. 4) or on the later
            "one" alone (the text, and TDN).
        boundary: "zero_feature" subtracts from zero where there is no segment; "zero_diff" has no
            difference there, as TDN.
        center_gate: Subtract 1/2 from the gate, as TDN: no change in time then changes nothing.
        tm_place: A time module after each "stage", or in each "block" after its first convolution,
            as TDN.
        tm_reduction: Channels of a place by those of its differences, 1 or more.
        tm_conv: Conv of Eq. 4: "full", or "depthwise" as TDN.
        tm_share_dirs: What the two directions share: the 1x1 that widens again ("expand"), the
            3x3s ("paths"), "both" or "none".
        dropout: Share of the pooled features dropped in training, from 0 to below 1.
        layers: Bottlenecks in res2 to res5, each from 1 to 100; the paper's are ResNet-50's.
        width: Of the 3x3 in res2, a multiple of 16, and with it of all stages; ResNet-50 has 64.
            With layers (1, 1, 1, 1), 16 learns on a CPU.
        weights: A file with torchvision's state dict of the trunk, such as ImageNet's; the
            difference branch starts from it too. None for random weights.

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
    """Frames to logits; `build` has the parts.

    Attributes:
        private: Parts that stay with a client in personalised federated learning (section 3.1).
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
        """What gives a map for each segment, by stage; a stage's time module is within."""
        stages = {"res2": self.local, **dict(self.stages.named_children())}
        return {
            name: FeatureLayer(module=stage, stride=4 << number)
            for number, (name, stage) in enumerate(stages.items())
        }

    def forward(self, frames: Tensor) -> Tensor:
        """Logits (B, K).

        Args:
            frames: Normalised pixels, floating, shape (B, N, 5, 3, H, W), H and W 33 or more;
                segments and the frames within in order of time.

        Raises:
            UsageError: If the shape or the dtype is another.
        """
        self._check_frames(frames)
        pooled = self.stages(self.local(frames.flatten(0, 1))).mean((-2, -1))
        logits: Tensor = self.classifier(self.dropout(pooled))  # (B * N, K)
        return logits.view(-1, self.num_segments, logits.shape[-1]).mean(1)

    def _check_frames(self, frames: Tensor) -> None:
        wanted = (self.num_segments, NUM_FRAMES, 3)
        fits = frames.ndim == 6 and tuple(frames.shape[1:4]) == wanted
        if not fits or min(frames.shape[-2:]) < LEAST_SIZE:
            raise UsageError(
                f"frames: shape {tuple(frames.shape)}, must be (clips, {self.num_segments}, "
                f"{NUM_FRAMES}, 3, height, width) with sides of {LEAST_SIZE} or more; sample "
                f"num_segments={self.num_segments} segments of {NUM_FRAMES} frames from each clip"
            )
        if not frames.is_floating_point():
            raise UsageError(
                f"frames: {frames.dtype}, must be floating; divide by 255 and normalise first"
            )


def _check_strides(strides: Sequence[int], num_segments: int) -> None:
    if len(strides) not in (0, 3):
        raise UsageError(
            f"strides={tuple(strides)}: must be three, of res3, res4 and res5; or none"
        )
    if not all(1 <= stride < num_segments for stride in strides):
        raise UsageError(
            f"strides={tuple(strides)}: each must be 1 or more and below num_segments="
            f"{num_segments}; take more segments, or no time modules with strides=()"
        )


def _after_stages(
    stages: "OrderedDict[str, Any]", strides: Sequence[int], settings: TimeSettings
) -> None:
    """A time module behind each stage."""
    for (name, stage), stride in zip(list(stages.items()), strides, strict=True):
        module = TimeModule(stage[-1].bn3.num_features, stride=stride, settings=settings)
        stages[name] = nn.Sequential(OrderedDict(blocks=stage, time=module))


def _in_blocks(
    stages: "OrderedDict[str, Any]", strides: Sequence[int], settings: TimeSettings
) -> None:
    """A time module in each block, between its first convolution's ReLU and its second one."""
    for stage, stride in zip(stages.values(), strides, strict=True):
        for block in stage:
            module = TimeModule(block.bn1.num_features, stride=stride, settings=settings)
            block.conv2 = nn.Sequential(OrderedDict(time=module, conv=block.conv2))


_PLACES = {"stage": _after_stages, "block": _in_blocks}
