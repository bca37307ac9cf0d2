"""The training samples of one model, as the training loop reads them.

Shape legend: n samples of an epoch, B samples of a pass.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Passes = Sequence[Sequence[int]]
"""Positions in the order of an epoch, one sequence for each forward pass."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EpochSamples:
    """Samples in the order and the augmented form of one epoch.

    Attributes:
        labels: Class of each, int64, shape (n,); or 1 for each of its classes, float32, (n, K).
        inputs: Reads one batch of model inputs, shape (B, ...), for each pass, onto a device.
    """

    labels: Tensor
    inputs: Callable[[Passes, torch.device], Iterator[Tensor]]


class Samples(Protocol):
    """Labeled samples: rows of features, clips of frames, or anything that a model takes."""

    def __len__(self) -> int:
        """Return the number of samples, 1 or more."""

    def epoch(self, order: NDArray[np.int64], *, number: int, seed: int) -> EpochSamples:
        """Return samples by their numbers, int64, shape (n,), as one epoch shows them.

        Augmentation depends on the seed, the epoch's number and the sample alone.
        """

    def identity(self) -> str:
        """Return a hash of the samples and of how they are presented."""
