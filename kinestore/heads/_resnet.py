"""torchvision's ResNet with Bottleneck blocks, the backbone of networks on frames."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kinestore.heads.support.state_dict import COUNTER, find_misfit, without_prefix
from kinestore.store import UsageError
from kinestore.store.io.tensors import read_tensors

RESNET50 = (3, 4, 6, 3)
"""Numbers of Bottlenecks in res2, res3, res4 and res5."""

_CLASSIFIERS = {"fc", "new_fc", "fc_cls", "cls_head", "classifier", "head", "last_linear"}
"""Modules after the backbone, as torchvision, TSN, MMAction2 and others name them."""

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
        weights: A state dict of this network, such as torchvision's for ImageNet; None for random
            weights. Names may have a common prefix, such as "backbone."; a classifier is not used,
            and may be absent.

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
    trunk = ResNet(block, list(layers), num_classes=1, width_per_group=width)
    if weights is None:
        return trunk
    own = {name: array for name, array in trunk.state_dict().items() if not _is_top(name)}
    found = without_prefix(state, [name for name in own if not name.endswith(COUNTER)])
    found = {name: array for name, array in found.items() if not _is_top(name)}
    if (fault := find_misfit(found, own)) is not None:
        raise UsageError(
            f"weights {weights}: do not fit the network: {fault}; give weights of a ResNet with "
            f"layers={tuple(layers)} and width={width}"
        )
    trunk.load_state_dict(found, strict=False)
    return trunk


def _is_top(name: str) -> bool:
    """Return whether a tensor belongs to a classifier."""
    return bool(_CLASSIFIERS & set(name.split(".")[:-1]))
