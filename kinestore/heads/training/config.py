"""Training settings of a head or of a network on frames."""

import math
from dataclasses import dataclass

from kinestore.heads.training.lr_schedule import read_schedule
from kinestore.store import UsageError

OPTIMIZERS = ("adam", "sgd")
PRECISIONS = ("float32", "bfloat16")
CLASS_WEIGHTS = ("balanced",)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Settings of one training run; the defaults suit heads on up to some thousand rows.

    Attributes:
        epochs: Passes over the training clips, 0 or more.
        batch_size: The most clips of a step, over all processes, 1 or more; the batches of an epoch
            differ by one clip at most.
        learning_rate: The highest learning rate, above 0.
        weight_decay: L2 penalty added to the gradient, 0 or more. SGD leaves biases and norms
            without it, as the released codes of TSN, TSM, TDN and GSF do; Adam does not.
        optimizer: "adam" (betas 0.9 and 0.999) or "sgd".
        momentum: Momentum of SGD, 0 or more and below 1.
        schedule: Learning rate by epoch, as `read_schedule` takes it.
        warmup: Epochs in which the learning rate rises first, 0 or more and below `epochs`.
        clip_gradients: The largest L2 norm of the gradient, above 0; None for no limit.
        accumulate: Forward and backward passes of a step, 1 or more; each holds a share of its
            clips.
        activation_checkpointing: Whether to use activation checkpointing.
        precision: "float32" or "bfloat16"; None for bfloat16 on a GPU alone. Parameters and
            optimizer steps stay float32.
        class_weights: "balanced" to let each class count the same in the loss, or None.
        device: "auto" for a GPU if there is one, "cpu" or "cuda".
    """

    epochs: int = 40
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    optimizer: str = "adam"
    momentum: float = 0.9
    schedule: str = "constant"
    warmup: int = 0
    clip_gradients: float | None = None
    accumulate: int = 1
    activation_checkpointing: bool = False
    precision: str | None = None
    class_weights: str | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name, least in {"epochs": 0, "batch_size": 1, "accumulate": 1}.items():
            if getattr(self, name) < least:
                raise UsageError(f"{name}={getattr(self, name)}: must be {least} or more")
        if not 0 < self.learning_rate < math.inf:
            raise UsageError(f"learning_rate={self.learning_rate}: must be above 0 and finite")
        if self.clip_gradients is not None and not self.clip_gradients > 0:
            raise UsageError(f"clip_gradients={self.clip_gradients}: must be above 0")
        if not 0 <= self.weight_decay < math.inf:
            raise UsageError(f"weight_decay={self.weight_decay}: must be 0 or more and finite")
        if not 0 <= self.momentum < 1:
            raise UsageError(f"momentum={self.momentum}: must be 0 or more and below 1")
        if self.warmup and not 0 <= self.warmup < self.epochs:
            raise UsageError(
                f"warmup={self.warmup}: must be 0 or more and below epochs={self.epochs}"
            )
        for name, allowed in {
            "optimizer": OPTIMIZERS,
            "precision": (None, *PRECISIONS),
            "class_weights": (None, *CLASS_WEIGHTS),
        }.items():
            if getattr(self, name) not in allowed:
                names = " or ".join(str(each) for each in allowed if each)
                raise UsageError(f"{name}={getattr(self, name)!r}: must be {names}")
        read_schedule(self.schedule)

    def learning_rate_of(self, epoch: int) -> float:
        """Return the learning rate of an epoch, 1 for the first."""
        schedule = read_schedule(self.schedule)
        return self.learning_rate * schedule.factor(
            epoch - 1, epochs=self.epochs, warmup=self.warmup
        )


HEAD_TRAINING = TrainingConfig()
"""Default settings of heads."""

NETWORK_TRAINING = TrainingConfig(
    epochs=60,
    learning_rate=0.01,
    weight_decay=5e-4,
    optimizer="sgd",
    schedule="cosine",
    clip_gradients=20.0,
    device="auto",
)
"""Default settings of networks on frames: the recipe that the papers on TDN and GSF share."""
