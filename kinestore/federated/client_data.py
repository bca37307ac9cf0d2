"""What a client holds and how it learns from it: all that a round does not need to know.

Shape legend: n rows, D features.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor, nn

from kinestore.heads import FitSettings, fit

OnGradients = Callable[[], None]


class LocalData(Protocol):
    """One client's samples: rows of features, clips of frames, or anything that a model takes."""

    def __len__(self) -> int:
        """How many there are, 1 or more."""

    def fit(self, model: nn.Module, *, seed: int, on_gradients: OnGradients | None) -> float:
        """Train the model in place, on these samples alone, and leave it in evaluation mode.

        Args:
            model: Holds what the client starts its round from.
            seed: Of all that is random; another one each round.
            on_gradients: To be called after each backward pass and before its step.

        Returns:
            Mean cross-entropy of the last pass over the samples; NaN without any.
        """

    def identity(self) -> str:
        """A hash of the samples and of how they are trained on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LocalRows:
    """Rows of features, and how a head is trained on them in one round.

    Attributes:
        features: float32, shape (n, D) or (n, T, D).
        labels: int64, shape (n,).
        settings: Its epochs are the local epochs.
    """

    features: Tensor
    labels: Tensor
    settings: FitSettings

    def __len__(self) -> int:
        return len(self.labels)

    def fit(self, model: nn.Module, *, seed: int, on_gradients: OnGradients | None) -> float:
        """As `heads.fit` does it."""
        epochs = fit(
            model,
            self.features,
            self.labels,
            settings=self.settings,
            seed=seed,
            on_gradients=on_gradients,
        )
        return epochs[-1].loss if epochs else math.nan

    def identity(self) -> str:
        """A hash of every bit."""
        known = hashlib.sha256(repr(self.settings).encode())
        for tensor in (self.features, self.labels):
            known.update(fingerprint(tensor))
        return known.hexdigest()


def fingerprint(tensor: Tensor) -> bytes:
    """A hash of a tensor's shape, dtype and values."""
    known = hashlib.sha256(repr((tensor.shape, tensor.dtype)).encode())
    known.update(np.ascontiguousarray(tensor.numpy()).data)
    return known.digest()
