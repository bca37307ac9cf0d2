"""Rows of features as training samples, and training a head on them.

Shape legend: N rows, D features, T frames, B rows of a batch, K classes.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kinestore.heads.support.device import choose_device
from kinestore.heads.support.threads import threads_for
from kinestore.heads.support.validation import check_lengths
from kinestore.heads.training.config import HEAD_TRAINING, TrainingConfig
from kinestore.heads.training.loop import Epoch, Training
from kinestore.heads.training.processes import Processes
from kinestore.heads.training.samples import EpochSamples, Passes


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureSamples:
    """Rows of features with their labels.

    Attributes:
        features: float32, shape (N, D), or (N, T, D) for a head that takes sequences.
        labels: int64, shape (N,); or 1 for each label of a row, float32, shape (N, K).
    """

    features: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def epoch(self, order: NDArray[np.int64], *, number: int, seed: int) -> EpochSamples:
        """Return rows in an order; nothing is augmented."""

        def inputs(passes: Passes, device: torch.device) -> Iterator[Tensor]:
            for positions in passes:
                yield self.features[order[list(positions)]].to(device)

        return EpochSamples(labels=self.labels[order], inputs=inputs)

    def identity(self) -> str:
        """Return a hash of all values."""
        known = hashlib.sha256()
        for tensor in (self.features, self.labels):
            known.update(tensor_hash(tensor))
        return known.hexdigest()


def tensor_hash(tensor: Tensor) -> bytes:
    """Return a hash of a tensor's shape, dtype and values."""
    known = hashlib.sha256(repr((tensor.shape, tensor.dtype)).encode())
    known.update(np.ascontiguousarray(tensor.numpy()).data)
    return known.digest()


def fit(
    model: nn.Module,
    features: Tensor,
    labels: Tensor,
    *,
    config: TrainingConfig = HEAD_TRAINING,
    seed: int,
    class_weights: Tensor | None = None,
    on_epoch: Callable[[Epoch], bool | None] | None = None,
) -> list[Epoch]:
    """Train a head in place on cross-entropy, from a fresh optimizer state.

    The same model, rows, config and seed give the same bits on the same machine.

    Args:
        model: Takes (B, D) and gives logits (B, K); left in evaluation mode, on the device of the
            config.
        features: float32, shape (N, D), or (N, T, D) for a head that takes sequences; N 1 or more.
        labels: int64, shape (N,), from 0 to K - 1.
        config: How to train.
        seed: 0 or more; decides the order of the rows and dropout.
        class_weights: Weight of each class in a batch's weighted mean, shape (K,); None for 1.
        on_epoch: Called after each epoch; it may evaluate the model, and ends the training with
            True.

    Returns:
        One record for each epoch.

    Raises:
        UsageError: If there is no row, or not one label for each row.
        Diverged: If training diverges.
    """
    check_lengths(features, labels)
    samples = FeatureSamples(features=features, labels=labels)
    device = choose_device(config.device)
    training = Training(
        model.to(device),
        samples,
        config=config,
        seed=seed,
        processes=Processes(rank=0, count=1, device=device),
        class_weights=class_weights,
    )
    epochs: list[Epoch] = []
    for number in range(1, config.epochs + 1):
        epochs.append(training.epoch(number, np.arange(len(labels))))
        model.eval()
        if on_epoch is not None and on_epoch(epochs[-1]):
            break
    return epochs


def predict_logits(model: nn.Module, features: Tensor, *, batch_size: int = 4096) -> Tensor:
    """Return logits, float32, shape (N, K), in evaluation mode; the model is left in it.

    `batch_size` counts rows, or frames of sequences: what a head keeps of a frame can be large.
    """
    model.eval()
    num_frames = features.shape[1] if features.ndim == 3 else 1
    size = max(1, batch_size // num_frames)
    device = next((parameter.device for parameter in model.parameters()), features.device)
    split = torch.split(features, size)
    with torch.inference_mode(), threads_for(model, split[0], passes=1):
        parts = [model(part.to(device)) for part in split]
        return torch.cat(parts).to(features.device)
