"""Networks that train on stored embeddings or on frames, and the loop that trains the former.

A head is a public module of this package with a function `build`: adding one is adding its file.
One whose `build` has no in_features takes frames.
"""

from typing import Any

from torch import nn

from kinestore.heads._feature_layer import FeatureLayer
from kinestore.heads._metrics import Scores, among_best, score
from kinestore.heads._spatiotemporal_correlation import defined_products
from kinestore.heads.support.registry import Registry
from kinestore.heads.support.seeds import private_rng
from kinestore.heads.support.standardizer import Standardizer
from kinestore.heads.training.config import HEAD_TRAINING, NETWORK_TRAINING, TrainingConfig
from kinestore.heads.training.feature_samples import FeatureSamples, fit, predict_logits
from kinestore.heads.training.loop import Epoch

__all__ = [
    "HEAD_TRAINING",
    "NETWORK_TRAINING",
    "Epoch",
    "FeatureLayer",
    "FeatureSamples",
    "Scores",
    "Standardizer",
    "TrainingConfig",
    "among_best",
    "create",
    "defined_products",
    "fit",
    "names",
    "predict_logits",
    "score",
    "settings_of",
    "takes_frames",
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
