"""The learning rate by epoch."""

import math
from dataclasses import dataclass

from kinestore.store import UsageError

KINDS = ("cosine", "constant", "steps")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Learning rate by epoch, as a factor of the highest.

    Attributes:
        kind: One of `KINDS`.
        steps: Epochs, from 1 on, after which the rate is a tenth of what it was; for "steps" alone.
    """

    kind: str = "cosine"
    steps: tuple[int, ...] = ()

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
        return 0.1 ** sum(epoch >= step for step in self.steps)


def read_schedule(text: str) -> Schedule:
    """Such as "cosine", "constant" or "steps:30-45-55".

    Raises:
        UsageError: If it is none of them, or the steps do not rise.
    """
    kind, _, rest = text.partition(":")
    wanted = f"schedule={text!r}: must be cosine, constant or steps:30-45-55"
    if kind not in KINDS or (kind == "steps") != bool(rest):
        raise UsageError(wanted)
    try:
        steps = tuple(int(part) for part in rest.split("-")) if rest else ()
    except ValueError:
        raise UsageError(wanted) from None
    if any(step < 1 for step in steps) or list(steps) != sorted(set(steps)):
        raise UsageError(f"{wanted}, with epochs of 1 or more that rise")
    return Schedule(kind=kind, steps=steps)
