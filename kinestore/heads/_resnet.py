"""torchvision's ResNet with Bottleneck blocks, the backbone of networks on frames."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kinestore.store import UsageError
from kinestore.store.io.tensors import read_tensors

RESNET50 = (3, 4, 6, 3)
"""Numbers of Bottlenecks in res2, res3, res4 and res5."""

MOST_BLOCKS, MOST_WIDTH = 100, 1024
"""Limits far above any published network, since the settings of a run are not trusted."""


def residual_network(
    *, layers: Sequence[int] = RESNET50, width: int = 64, weights: Path | None = None
) -> Any:
    """Build a `torchvision.models.ResNet`: the stride of a stage's first block is on its 3x3.

    Args:
        layers: Numbers of Bottlenecks in res2, res3, res4 and res5, each from 1 to 100.
        width: Channels of the 3x3 convolution in res2, a multiple of 16 up to 1024. Each later
            stage has twice as many, and the output of a stage four times as many. The stem has 64.
        weights: A state dict of this network, with a classifier of any size, such as
            torchvision's for ImageNet; None for random weights.

    Raises:
        UsageError: If a number is out of range, or the file is missing, is no state dict, or has a
            missing or unexpected key or another shape.
    """
    from torchvision.models.resnet import Bottleneck, ResNet  # takes a second to import

    if len(layers) != 4 or not 1 <= min(layers) <= max(layers) <= MOST_BLOCKS:
        raise UsageError(
            f"layers={tuple(layers)}: must be four, each from 1 to {MOST_BLOCKS}: the blocks of "
            "res2 to res5"
        )
    if not 16 <= width <= MOST_WIDTH or width % 16:
        raise UsageError(
            f"width={width}: must be a multiple of 16, {MOST_WIDTH} at most; ResNet-50 has 64"
        )
    # ResNet has 64 channels in res2 for every width, times the expansion: the output is 4 widths.
    scaled = {"expansion": width // 16}
    block = Bottleneck if width == 64 else type("ScaledBottleneck", (Bottleneck,), scaled)
    state = {} if weights is None else read_tensors(Path(weights))
    num_outputs = state["fc.bias"].numel() if "fc.bias" in state else 1
    trunk = ResNet(block, list(layers), num_classes=num_outputs, width_per_group=width)
    if weights is None:
        return trunk
    try:
        trunk.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise UsageError(f"weights {weights}: do not fit the network ({reason})") from error
    return trunk
