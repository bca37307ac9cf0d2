"""An image network on each frame, and a transformer encoder over the frames, trained end to end.

Source: Video Action Recognition Collaborative Learning with Dynamics via PSO-ConvNet Transformer,
2023, Figure 2 and Table 2; details as in `temporal_transformer`.
"""

from pathlib import Path

from torch import nn

from kinestore.heads import temporal_transformer
from kinestore.heads._frames_to_head import TrunkAndHead
from kinestore.heads._trunk import FrameTrunk


def build(
    *,
    num_classes: int,
    num_frames: int = 4,
    trunk: str = "densenet201",
    heads: int = 4,
    positions: str = "sinusoidal",
    dense: int | None = 1024,
    pixels: str = "imagenet",
    weights: Path | None = None,
) -> nn.Module:
    """Build an image network of torchvision under a `temporal_transformer`.

    The paper has 4 frames of 224 x 224, densenet201 or resnet152.

    Args:
        num_classes: K, 1 or more.
        num_frames: Frames of a clip, 1 or more; for learned positions.
        trunk: Name of an image network of torchvision.
        heads: As in `temporal_transformer`.
        positions: As in `temporal_transformer`.
        dense: As in `temporal_transformer`.
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
    head = temporal_transformer.build(
        in_features=frames.width,
        num_classes=num_classes,
        num_frames=num_frames,
        heads=heads,
        positions=positions,
        dense=dense,
    )
    return TrunkAndHead(frames, head)
