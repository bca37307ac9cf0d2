"""The training data of one client and how it trains on them in one round."""

import hashlib
import math
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from kinestore.heads import TrainingConfig
from kinestore.heads.training.loop import Diverged, Epoch, OnGradients, Training
from kinestore.heads.training.processes import ONE_PROCESS, Processes
from kinestore.heads.training.samples import Samples

NO_EPOCH = Epoch(number=0, loss=math.nan, accuracy=math.nan, top5=math.nan)
"""Figures of a client that did not train."""


class LocalData(Protocol):
    """One client's samples, whatever the model takes, and how to train on them."""

    def __len__(self) -> int:
        """Return the number of samples; a client without any takes no part."""

    def fit(
        self,
        model: nn.Module,
        *,
        seed: int,
        on_gradients: OnGradients | None,
        lr_factor: float = 1.0,
    ) -> Epoch:
        """Train the model in place, on these samples alone, and leave it in evaluation mode.

        Args:
            model: Holds the weights from which the client starts its round.
            seed: Decides order, augmentation and dropout; another one each round.
            on_gradients: To be called after each backward pass and before its step.
            lr_factor: Factor of the learning rate in this round, above 0 and up to 1.

        Returns:
            Figures of the last pass over the samples; NaN without any.
        """

    def identity(self) -> str:
        """Return a hash of the samples and of how they are trained on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LocalSamples:
    """One client's samples, trained on by the loop of central training.

    Attributes:
        samples: Rows of features or clips of frames.
        config: How to train; its epochs are the local epochs.
        processes: Where to train; a single process.
        class_weights: Weight of each class in the loss, float32, shape (K,); None for equal ones.
    """

    samples: Samples
    config: TrainingConfig
    processes: Processes = ONE_PROCESS
    class_weights: Tensor | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def fit(
        self,
        model: nn.Module,
        *,
        seed: int,
        on_gradients: OnGradients | None,
        lr_factor: float = 1.0,
    ) -> Epoch:
        """Train with a fresh optimizer; a model that diverges is left full of NaN.

        No server accepts such an update.
        """
        training = Training(
            model,
            self.samples,
            config=replace(self.config, learning_rate=self.config.learning_rate * lr_factor),
            seed=seed,
            processes=self.processes,
            on_gradients=on_gradients,
            class_weights=self.class_weights,
        )
        last = NO_EPOCH
        try:
            for number in range(1, self.config.epochs + 1):
                last = training.epoch(number, np.arange(len(self.samples)))
        except Diverged:
            last = NO_EPOCH
            with torch.no_grad():
                for parameter in model.parameters():
                    if parameter.requires_grad:  # frozen ones are not sent
                        parameter.fill_(math.nan)
        model.eval()
        return last

    def identity(self) -> str:
        """Return a hash of every value and setting."""
        text = f"{self.config!r}/{self.samples.identity()}"
        if self.class_weights is not None:
            text += f"/{self.class_weights.tolist()}"
        return hashlib.sha256(text.encode()).hexdigest()
