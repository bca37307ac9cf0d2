"""An image network on each frame, and a recurrent network over the frames, trained end to end.

Source: Video Action Recognition Collaborative Learning with Dynamics via PSO-ConvNet Transformer,
2023, section 2.3 and Table 2; details as in `temporal_rnn`.
"""

from pathlib import Path

from torch import nn

from kinestore.heads import temporal_rnn
from kinestore.heads._frames_to_head import TrunkAndHead
from kinestore.heads._trunk import FrameTrunk


def build(
    *,
    num_classes: int,
    trunk: str = "densenet201",
    cell: str = "gru",
    units: int = 2048,
    dense: int = 1024,
    pixels: str = "imagenet",
    weights: Path | None = None,
) -> nn.Module:
    """Build an image network of torchvision under a `temporal_rnn`.

    The paper has 4 frames of 224 x 224, densenet201 or resnet152.

    Args:
        num_classes: K, 1 or more.
        trunk: Name of an image network of torchvision.
        cell: As in `temporal_rnn`.
        units: As in `temporal_rnn`.
        dense: As in `temporal_rnn`.
        pixels: Colors that the trunk takes: "imagenet" as torchvision's weights expect them,
            "signed" for -1 to 1 as the paper has it, or "raw" for 0 to 255 as its code has it.
        weights: A file with torchvision's state dict of the trunk, such as ImageNet's; None for
            random weights.

    Returns:
        A `TrunkAndHead`.

    Raises:
        UsageError: If a setting is out of range, or the weights do not fit.
    """
    frames = FrameTrunk(trunk, weights=weights, pixels=pixels)
    head = temporal_rnn.build(
        in_features=frames.width, num_classes=num_classes, cell=cell, units=units, dense=dense
    )
    return TrunkAndHead(frames, head)
