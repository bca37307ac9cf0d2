"""The learning rate by epoch."""

import math
from dataclasses import dataclass

from kinestore.store import UsageError

KINDS = ("cosine", "constant", "steps", "decay")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Learning rate by epoch, as a factor of the highest.

    Attributes:
        kind: One of `KINDS`.
        steps: Epochs, from 1 on, after which the rate is a tenth of what it was; for "steps" alone.
        decay: Factor of the rate from each epoch after the warm-up to the next, above 0 and up to
            1; for "decay" alone.
    """

    kind: str = "cosine"
    steps: tuple[int, ...] = ()
    decay: float = 1.0

    def factor(self, epoch: int, *, epochs: int, warmup: int) -> float:
        """The factor in one epoch.

        Source: of the warm-up, Accurate, Large Minibatch SGD (2017), section 2.2, in whole epochs:
        (epoch + 1) / (warmup + 1), so that the first epoch after it is the first at the full rate.
        Of the cosine, SGDR (2017), Eq. 5, over the epochs after it.

        Args:
            epoch: 0 for the first.
            epochs: In all, above `warmup`.
            warmup: Epochs in which the rate grows evenly, 0 or more.
        """
        if epoch < warmup:
            return (epoch + 1) / (warmup + 1)
        if self.kind == "cosine":
            return 0.5 * (1 + math.cos(math.pi * (epoch - warmup) / (epochs - warmup)))
        if self.kind == "decay":
            return float(self.decay ** (epoch - warmup))
        return 0.1 ** sum(epoch >= step for step in self.steps)


@dataclass(frozen=True, kw_only=True)
class RateSchedule:
    """A schedule over a known number of epochs or rounds.

    Attributes:
        schedule: As `read_schedule` takes it.
        warmup: Epochs in which the rate rises first, 0 or more and below `num`.
        num: Number of epochs or rounds, 0 or more.
        unit: "epochs" or "rounds".
    """

    schedule: str = "constant"
    warmup: int = 0
    num: int
    unit: str = "epochs"

    def __post_init__(self) -> None:
        if self.warmup and not 0 <= self.warmup < self.num:
            raise UsageError(
                f"warmup={self.warmup}: must be 0 or more and below {self.unit}={self.num}"
            )
        read_schedule(self.schedule)

    @property
    def depends_on_end(self) -> bool:
        """True where the rate of an epoch depends on how many there are in all."""
        return read_schedule(self.schedule).kind == "cosine"

    def factor(self, number: int) -> float:
        """Return the factor in one epoch or round, 1 for the first."""
        return read_schedule(self.schedule).factor(number - 1, epochs=self.num, warmup=self.warmup)


def read_schedule(text: str) -> Schedule:
    """Such as "cosine", "constant", "steps:30-45-55" or "decay:0.998".

    Raises:
        UsageError: If it is none of them, or the steps do not rise.
    """
    kind, _, rest = text.partition(":")
    wanted = f"schedule={text!r}: must be cosine, constant, steps:30-45-55 or decay:0.998"
    if kind not in KINDS or (kind in ("steps", "decay")) != bool(rest):
        raise UsageError(wanted)
    try:
        decay = float(rest) if kind == "decay" else 1.0
        steps = tuple(int(part) for part in rest.split("-")) if kind == "steps" else ()
    except ValueError:
        raise UsageError(wanted) from None
    if not 0 < decay <= 1:
        raise UsageError(f"{wanted}, with a factor above 0 and up to 1")
    if any(step < 1 for step in steps) or list(steps) != sorted(set(steps)):
        raise UsageError(f"{wanted}, with epochs of 1 or more that rise")
    return Schedule(kind=kind, steps=steps, decay=decay)
