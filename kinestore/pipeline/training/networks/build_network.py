"""Networks by name, for given clips, with random weights or weights from a file."""

from pathlib import Path

from torch import Tensor, nn

from kinestore import heads
from kinestore.pipeline.training.model_spec import read_choice
from kinestore.pipeline.training.networks.data.clip_source import ClipLayout
from kinestore.store import UsageError
from kinestore.store.io.tensors import read_tensors

FROM_THE_JOB = ("num_classes", "num_segments", "num_frames", "size", "weights")
"""Settings of networks that the clips and other options decide."""

RUN_PREFIX, _RUN_ONLY = "head.", ("standardise.mean", "standardise.std")
"""Names of the tensors of a model in a run folder."""


def takes_segments(text: str) -> bool:
    """Return whether a network takes (B, S, L, 3, H, W), and not (B, T, 3, H, W)."""
    return "num_segments" in heads.settings_of(text.partition(":")[0])


def build_net(
    text: str, *, num_classes: int, source: ClipLayout, size: int, weights: Path | None, seed: int
) -> nn.Module:
    """Build a network.

    Args:
        text: Such as "c3d" or "differential:dropout=0.8".
        num_classes: 1 or more.
        source: The clips that it takes.
        size: Side of its input in pixels.
        weights: A file with all tensors of such a network, as a run folder's model.safetensors;
            or of its backbone, as torchvision's of ImageNet. None for random weights.
        seed: Seed of random weights.

    Raises:
        UsageError: If the network, a setting or the file does not fit.
    """
    name, settings = read_choice(text, heads.settings_of, hidden=FROM_THE_JOB)
    if not heads.takes_frames(name):
        others = ", ".join(name for name in heads.names() if heads.takes_frames(name))
        raise UsageError(f"head={name!r}: takes embeddings, and these are frames; take {others}")
    declared = heads.settings_of(name)
    known = {
        "num_classes": num_classes,
        "num_segments": source.num_segments,
        "num_frames": source.num_segments * source.length,
        "size": size,
    }
    settings |= {key: value for key, value in known.items() if key in declared}
    net = heads.create(name, seed=seed, **settings)
    if weights is None:
        return net
    state = read_weights(weights)
    if "weights" in declared and not state.keys() & net.state_dict().keys():
        return heads.create(name, seed=seed, weights=weights, **settings)
    check_state(net, state, weights)
    net.load_state_dict(state)
    return net


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a file's named tensors, without running any pickle.

    Raises:
        UsageError: If it is absent, or no file of tensors.
    """
    return {
        name.removeprefix(RUN_PREFIX): tensor
        for name, tensor in read_tensors(path).items()
        if name not in _RUN_ONLY
    }


def check_state(net: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Refuse tensors that are not exactly those of a network.

    Raises:
        UsageError: If one is missing, unknown or misshapen.
    """
    own = net.state_dict()
    for what, names in {
        "lacks": own.keys() - state.keys(),
        "has an unknown": state.keys() - own.keys(),
        "has another shape of": {
            name for name in own.keys() & state.keys() if own[name].shape != state[name].shape
        },
    }.items():
        if names:
            raise UsageError(
                f"weights {path}: do not fit the network: the file {what} {min(names)!r}"
                + (f" and {len(names) - 1} more" if len(names) > 1 else "")
            )
