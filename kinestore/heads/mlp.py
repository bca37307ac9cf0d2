"""A multi-layer perceptron on one vector per clip.

Source: FLAMeST (TMLR submission 5468), Table 6: 512 and 256 hidden units. Its count of
1,573,889 parameters for 2816 features is for one output; ours has one output per class.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from kinestore.store import UsageError


def build(*, in_features: int, num_classes: int, hidden: Sequence[int] = (512, 256)) -> nn.Module:
    """Build Linear, ReLU, ..., Linear: (B, in_features) float32 -> logits (B, num_classes).

    Args:
        in_features: Width of a row, 1 or more.
        num_classes: Outputs, 1 or more.
        hidden: Width of each hidden layer, each 1 or more; empty for a linear classifier.
    """
    for name, value in {"in_features": in_features, "num_classes": num_classes}.items():
        if value < 1:
            raise UsageError(f"{name}={value}: must be 1 or more")
    if any(width < 1 for width in hidden):
        raise UsageError(f"hidden={tuple(hidden)}: each width must be 1 or more")
    layers: list[nn.Module] = []
    for width_in, width_out in pairwise([in_features, *hidden]):
        layers += [nn.Linear(width_in, width_out), nn.ReLU()]
    last = hidden[-1] if hidden else in_features
    return nn.Sequential(*layers, nn.Linear(last, num_classes))
