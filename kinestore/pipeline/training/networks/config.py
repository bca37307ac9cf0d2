"""How a net is trained and tested."""

import math
from dataclasses import dataclass

from kinestore.pipeline.training.networks.lr_schedule import read_schedule
from kinestore.store import UsageError

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class NetSettings:
    """How to train a net; the defaults are the recipe that the papers on TDN and GSF share.

    Attributes:
        epochs: Passes over the clips, 1 or more.
        batch_size: The most clips of a step, over all processes, 1 or more; the batches of an epoch
            are as equal as can be.
        learning_rate: The highest step size of SGD, above 0.
        momentum: 0 or more and below 1.
        weight_decay: L2 penalty of matrices and convolutions, 0 or more; biases and norms have
            none, as in the released codes of TSN, TSM, TDN and GSF.
        schedule: How the learning rate falls, as `read_schedule` takes it.
        warmup: Epochs in which it rises first, 0 or more and below `epochs`.
        clip_gradients: The longest gradient, above 0.
        accumulate: Passes that a step adds up, 1 or more: each holds a share of its clips.
        recompute: Whether to drop activations and compute them again.
        precision: "float32" or "bfloat16"; None for bfloat16 on a GPU alone. Parameters and steps
            stay float32.
    """

    epochs: int = 60
    batch_size: int = 32
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "cosine"
    warmup: int = 0
    clip_gradients: float = 20.0
    accumulate: int = 1
    recompute: bool = False
    precision: str | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name}={getattr(self, name)}: must be 1 or more")
        for name in ("learning_rate", "clip_gradients"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name}={getattr(self, name)}: must be above 0")
        if not math.isfinite(self.learning_rate):
            raise UsageError(f"learning_rate={self.learning_rate}: must be above 0 and finite")
        if not 0 <= self.weight_decay < math.inf:
            raise UsageError(f"weight_decay={self.weight_decay}: must be 0 or more and finite")
        if not 0 <= self.momentum < 1:
            raise UsageError(f"momentum={self.momentum}: must be 0 or more and below 1")
        if not 0 <= self.warmup < self.epochs:
            raise UsageError(
                f"warmup={self.warmup}: must be 0 or more and below epochs={self.epochs}"
            )
        if self.precision not in (None, *PRECISIONS):
            raise UsageError(f"precision={self.precision!r}: must be {' or '.join(PRECISIONS)}")
        read_schedule(self.schedule)

    def learning_rate_of(self, epoch: int) -> float:
        """The step size of an epoch, 0 for the first."""
        factor = read_schedule(self.schedule).factor(epoch, epochs=self.epochs, warmup=self.warmup)
        return self.learning_rate * factor


@dataclass(frozen=True, kw_only=True)
class Looks:
    """From how many looks at a clip its logits are averaged.

    Attributes:
        clips: Clips of each video, 1 or more; training draws one of them.
        crops: Cuts of each, 1 (the centre) or 3 (along the longer side).
    """

    clips: int = 1
    crops: int = 1

    def __post_init__(self) -> None:
        if self.clips < 1:
            raise UsageError(f"clips={self.clips}: must be 1 or more")
        if self.crops not in (1, 3):
            raise UsageError(f"crops={self.crops}: must be 1 or 3")
