"""Networks by name, for given clips, with random weights or weights to start from."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from kinestore import heads
from kinestore.heads.support.state_dict import find_misfit
from kinestore.pipeline.training.model_spec import read_choice
from kinestore.pipeline.training.networks.data.clip_source import ClipLayout
from kinestore.pipeline.training.start_weights import StartWeights
from kinestore.store import UsageError

FROM_THE_JOB = ("num_classes", "num_segments", "num_frames", "size", "weights")
"""Settings of networks that the clips and other options decide."""

BACKBONE = "the backbone; all else starts from random weights"
"""Part of the sentence on what was taken of weights of a backbone."""


def takes_segments(text: str) -> bool:
    """Return whether a network takes (B, S, L, 3, H, W), and not (B, T, 3, H, W)."""
    return "num_segments" in heads.settings_of(text.partition(":")[0])


def build_net(
    text: str, *, num_classes: int, source: ClipLayout, size: int, seed: int
) -> nn.Module:
    """Build a network with random weights.

    Args:
        text: Such as "c3d" or "differential:dropout=0.8".
        num_classes: 1 or more.
        source: The clips that it takes.
        size: Side of its input in pixels.
        seed: Seed of the weights.

    Raises:
        UsageError: If the network or a setting does not fit.
    """
    name, settings = _settings(text, num_classes=num_classes, source=source, size=size)
    return heads.create(name, seed=seed, **settings)


def start_net(
    text: str,
    *,
    classes: Sequence[str],
    source: ClipLayout,
    size: int,
    start: StartWeights,
    seed: int,
) -> tuple[nn.Module, str]:
    """Build a network with weights of a file or run: all, all but the classifier, or its backbone.

    Args:
        text: Such as "c3d" or "differential:dropout=0.8".
        classes: Of its outputs.
        source: The clips that it takes.
        size: Side of its input in pixels.
        start: Of such a network, or of its backbone, as torchvision's of ImageNet.
        seed: Seed of what is not taken.

    Returns:
        The network, and a sentence on what was taken.

    Raises:
        UsageError: If the network, a setting or the weights do not fit.
    """
    name, settings = _settings(text, num_classes=len(classes), source=source, size=size)
    net = heads.create(name, seed=seed, **settings)
    own = net.state_dict().keys()
    # under any prefix
    is_own = any(key.endswith(tuple(f".{one}" for one in own)) or key in own for key in start.state)
    if "weights" in heads.settings_of(name) and not is_own:
        net = heads.create(name, seed=seed, weights=start.path, **settings)
        return net, f"{start.path}: {BACKBONE}{start.note}"
    return net, start.load_into(net, classes=classes)


def _settings(
    text: str, *, num_classes: int, source: ClipLayout, size: int
) -> tuple[str, dict[str, object]]:
    """Return the name of a network and all its settings but weights."""
    name, settings = read_choice(text, heads.settings_of, hidden=FROM_THE_JOB)
    if not heads.takes_frames(name):
        others = ", ".join(name for name in heads.names() if heads.takes_frames(name))
        raise UsageError(f"head={name!r}: takes embeddings, and these are frames; take {others}")
    known = {
        "num_classes": num_classes,
        "num_segments": source.num_segments,
        "num_frames": source.num_segments * source.length,
        "size": size,
    }
    declared = heads.settings_of(name)
    return name, settings | {key: value for key, value in known.items() if key in declared}


def check_state(net: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Refuse tensors that are not exactly those of a network.

    Raises:
        UsageError: If one is missing, unknown or misshapen.
    """
    if (fault := find_misfit(state, net.state_dict())) is not None:
        raise UsageError(f"weights {path}: do not fit the network: {fault}")
