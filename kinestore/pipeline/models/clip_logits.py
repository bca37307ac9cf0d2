"""Clips that a trained model takes, and its logits of them.

Shape legend: n clips, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kinestore.pipeline.training.networks.clip_data import FrameClips
from kinestore.store import Features, Store

ModelInput = Features | FrameClips | Store | NDArray[Any]
"""Clips for a model: loaded features, clips of frames, a store, or rows of numbers."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipLogits:
    """Clips opened for a model.

    Attributes:
        rows: Identity, label, group, split and path of each clip, with or without a label.
        logits: Logits of clips by their numbers, float32, shape (n, K), by a client's model or,
            for None, the common one.
    """

    rows: Features
    logits: Callable[[int | None, NDArray[np.int64]], Tensor]

    def of_owners(self, numbers: NDArray[np.int64], owners: NDArray[np.int64]) -> Tensor:
        """Return logits of clips, each by its client's model: float32, shape (n, K).

        Args:
            numbers: int64, shape (n,).
            owners: The client of each, int64, shape (n,); -1 takes the common model.
        """
        parts = [(owner, np.flatnonzero(owners == owner)) for owner in np.unique(owners)]
        found = [
            self.logits(None if owner < 0 else int(owner), numbers[places])
            for owner, places in parts
        ]
        logits = found[0].new_zeros(len(numbers), found[0].shape[1])
        for (_, places), some in zip(parts, found, strict=True):
            logits[places] = some
        return logits
