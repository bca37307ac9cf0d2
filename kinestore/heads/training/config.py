"""Training settings of a head or of a network on frames."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

from kinestore.heads.training.lr_schedule import RateSchedule, read_schedule
from kinestore.store import UsageError

OPTIMIZERS = ("adam", "adamw", "sgd")
PRECISIONS = ("float32", "bfloat16")
CLASS_WEIGHTS = ("balanced",)
STANDARDIZATIONS = ("train", "none")
FROZEN_PARTS = ("trunk",)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Settings of training, for all that learns: heads, networks on frames, and clients of both.

    The defaults suit heads on up to some thousand rows. What is said of epochs holds for the local
    epochs of a client, but `schedule` and `warmup` count the rounds of a federated job.

    Attributes:
        epochs: Passes over the training clips, 0 or more.
        batch_size: The most clips of a step, over all processes, 1 or more; the batches of an epoch
            differ by one clip at most.
        learning_rate: The highest learning rate, above 0.
        weight_decay: L2 penalty added to the gradient, 0 or more; of "adamw" the share of a weight
            that a step removes, times the learning rate. SGD leaves biases and norms without it, as
            the released codes of TSN, TSM, TDN and GSF do; Adam and AdamW do not.
        optimizer: "adam" or "adamw" (betas 0.9 and 0.999), or "sgd".
        momentum: Momentum of SGD, 0 or more and below 1.
        nesterov: Whether SGD uses Nesterov's momentum.
        classifier_lr: Factor of the classifier's learning rate, above 0; see `classifier_of`.
        freeze: "trunk" to train the classifier alone; None to train all.
        schedule: Learning rate by epoch, as `read_schedule` takes it.
        warmup: Epochs in which the learning rate rises first, 0 or more and below `epochs`.
        clip_gradients: The largest L2 norm of the gradient, above 0; None for no limit.
        accumulate: Forward and backward passes of a step, 1 or more; each holds a share of its
            clips.
        activation_checkpointing: Whether to use activation checkpointing.
        precision: "float32" or "bfloat16"; None for bfloat16 on a GPU alone. Parameters and
            optimizer steps stay float32.
        class_weights: "balanced" to let each class count the same in the loss, or None.
        label_smoothing: Share of each label that is spread evenly over the classes, from 0 to below
            1. The losses that are reported are without it.
        standardize: "train" to scale features by statistics of the training clips, or "none" to
            take them as they are stored. Colors of frames are always scaled alike.
        weights: A file of weights or a finished run to start from, for the jobs; None for random
            weights.
        recipe: Name of the recipe that the settings were taken from, with what was given instead;
            decides nothing.
        device: "auto" for a GPU if there is one, "cpu" or "cuda".
    """

    epochs: int = 40
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    optimizer: str = "adam"
    momentum: float = 0.9
    nesterov: bool = False
    classifier_lr: float = 1.0
    freeze: str | None = None
    schedule: str = "constant"
    warmup: int = 0
    clip_gradients: float | None = None
    accumulate: int = 1
    activation_checkpointing: bool = False
    precision: str | None = None
    class_weights: str | None = None
    label_smoothing: float = 0.0
    standardize: str = "train"
    weights: str | Path | None = None
    recipe: str | None = field(default=None, repr=False)
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.weights is not None:  # a text, as config.json holds it
            object.__setattr__(self, "weights", str(self.weights))
        for name, least in {"epochs": 0, "batch_size": 1, "accumulate": 1}.items():
            if getattr(self, name) < least:
                raise UsageError(f"{name}={getattr(self, name)}: must be {least} or more")
        for name in ("learning_rate", "classifier_lr"):
            if not 0 < getattr(self, name) < math.inf:
                raise UsageError(f"{name}={getattr(self, name)}: must be above 0 and finite")
        if self.clip_gradients is not None and not self.clip_gradients > 0:
            raise UsageError(f"clip_gradients={self.clip_gradients}: must be above 0")
        if not 0 <= self.weight_decay < math.inf:
            raise UsageError(f"weight_decay={self.weight_decay}: must be 0 or more and finite")
        for name in ("momentum", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name}={getattr(self, name)}: must be 0 or more and below 1")
        if self.nesterov and (self.optimizer != "sgd" or not self.momentum):
            raise UsageError(
                f"nesterov=True: needs optimizer='sgd' and a momentum above 0, not "
                f"{self.optimizer!r} and {self.momentum:g}"
            )
        if self.warmup < 0:
            raise UsageError(f"warmup={self.warmup}: must be 0 or more")
        for name, allowed in {
            "optimizer": OPTIMIZERS,
            "precision": (None, *PRECISIONS),
            "class_weights": (None, *CLASS_WEIGHTS),
            "standardize": STANDARDIZATIONS,
            "freeze": (None, *FROZEN_PARTS),
        }.items():
            if getattr(self, name) not in allowed:
                names = " or ".join(str(each) for each in allowed if each)
                raise UsageError(f"{name}={getattr(self, name)!r}: must be {names}")
        read_schedule(self.schedule)

    def at_one_rate(self) -> "TrainingConfig":
        """Return the settings without schedule and warm-up, which rounds have in their place."""
        return replace(self, schedule="constant", warmup=0)

    def rate_schedule(self, num: int, *, unit: str = "epochs") -> RateSchedule:
        """Return the factor of the learning rate over all epochs, or all rounds.

        Raises:
            UsageError: If the warm-up is not shorter.
        """
        return RateSchedule(schedule=self.schedule, warmup=self.warmup, num=num, unit=unit)

    def learning_rate_of(self, epoch: int) -> float:
        """Return the learning rate of an epoch, 1 for the first."""
        return self.learning_rate * self.rate_schedule(self.epochs).factor(epoch)


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
