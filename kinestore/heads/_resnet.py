"""torchvision's ResNet with Bottleneck blocks, the backbone of networks on frames."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from kinestore.store import UsageError
from kinestore.store.io.tensors import read_tensors

RESNET50 = (3, 4, 6, 3)
"""Numbers of Bottlenecks in res2, res3, res4 and res5."""

_CLASSIFIERS = {"fc", "new_fc", "fc_cls", "cls_head", "classifier", "head", "last_linear"}
"""Modules after the backbone, as torchvision, TSN, MMAction2 and others name them."""

_COUNTER = "num_batches_tracked"
"""A tensor that files of early versions of torch do not have, and that nothing here reads."""

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
    classifier = {name: array for name, array in trunk.state_dict().items() if _is_top(name)}
    try:
        trunk.load_state_dict({**_backbone(state, trunk.state_dict()), **classifier})
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise UsageError(f"weights {weights}: do not fit the network ({reason})") from error
    return trunk


def _backbone(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a file but for classifiers, under the names of the network.

    Args:
        state: The tensors of the file.
        own: Those of the network.
    """
    wanted = {name for name in own if not _is_top(name) and not name.endswith(_COUNTER)}
    stem = "conv1.weight"
    prefixes = [name.removesuffix(stem) for name in state if name.endswith(stem)]
    whole = [each for each in prefixes if all(each + name in state for name in wanted)]
    prefix = whole[0] if len(whole) == 1 else ""
    found = {name.removeprefix(prefix): array for name, array in state.items()}
    return {name: array for name, array in found.items() if not _is_top(name)}


def _is_top(name: str) -> bool:
    """Return whether a tensor belongs to a classifier."""
    return bool(_CLASSIFIERS & set(name.split(".")[:-1]))
