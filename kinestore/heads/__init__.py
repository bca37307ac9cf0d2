"""Networks that train on stored embeddings or on frames, and the loop that trains the former.

A head is a public module of this package with a function `build`: adding one is adding its file.
One whose `build` has no in_features takes frames.
"""

from typing import Any

from torch import nn

from kinestore.heads._device import choose_device
from kinestore.heads._feature_layer import FeatureLayer
from kinestore.heads._metrics import Scores, among_best, score
from kinestore.heads._registry import Registry
from kinestore.heads._seeds import derive_seed, private_rng
from kinestore.heads._standardizer import Moments, Standardiser, combine, moments_of
from kinestore.heads._validation import check_rows, to_features, to_labels
from kinestore.heads.training.config import HEAD_TRAINING, NETWORK_TRAINING, TrainingConfig
from kinestore.heads.training.feature_samples import FeatureSamples, fit, predict
from kinestore.heads.training.loop import Epoch

__all__ = [
    "HEAD_TRAINING",
    "NETWORK_TRAINING",
    "Epoch",
    "FeatureLayer",
    "FeatureSamples",
    "Moments",
    "Registry",
    "Scores",
    "Standardiser",
    "TrainingConfig",
    "among_best",
    "check_rows",
    "choose_device",
    "combine",
    "create",
    "derive_seed",
    "fit",
    "moments_of",
    "names",
    "predict",
    "private_rng",
    "score",
    "settings_of",
    "takes_frames",
    "to_features",
    "to_labels",
]

_registry = Registry(package="kinestore.heads", kind="head")


def names() -> list[str]:
    """Return the names of all heads, sorted."""
    return _registry.names()


def create(name: str, *, seed: int = 0, **settings: Any) -> nn.Module:
    """Build a head with weights drawn from the seed.

    Args:
        name: One of `names()`.
        seed: 0 or more; the same seed gives the same weights. The global generator is not used.
        settings: Arguments of the head's `build`, such as in_features and num_classes.

    Raises:
        UsageError: If the head is unknown, or a setting is unknown, missing or out of range.
    """
    with private_rng(seed):
        head: nn.Module = _registry.create(name, settings)
    return head


def settings_of(name: str) -> dict[str, Any]:
    """Return the types of the settings that a head's `build` takes, by name."""
    return _registry.settings_of(name)


def takes_frames(name: str) -> bool:
    """Return whether the head takes frames of clips, and not embeddings."""
    return "in_features" not in settings_of(name)
