"""Choice of a run's round by the loss on validation samples."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kinestore.federated.evaluation import HeldOut
from kinestore.federated.round_record import RoundRecord
from kinestore.federated.state import Arrays
from kinestore.store import KinestoreError


@dataclass(frozen=True, kw_only=True, eq=False)
class BestRound:
    """The models after the round with the lowest validation loss so far.

    Attributes:
        number: The round, 1 for the first.
        arrays: The server's tensors after it.
        private: Private tensors of each client that has some.
    """

    number: int
    arrays: Arrays
    private: Mapping[int, Arrays]


@dataclass(frozen=True, kw_only=True, eq=False)
class RoundChoice:
    """When a run ends, and which of its rounds is kept.

    Attributes:
        validation: Samples by whose loss the round is chosen; None keeps the last round.
        by_clients: Whether clients elsewhere have validation samples of their own.
        patience: Rounds with no lower validation loss after which the run ends; None for never.
            Rounds without a loss, as where a client did not answer, do not count.
        last_round: The run ends after it, while learning rates stay those of all rounds; None for
            all rounds.
    """

    validation: HeldOut | None = None
    by_clients: bool = False
    patience: int | None = None
    last_round: int | None = None

    def is_over(self, records: Sequence[RoundRecord], *, rounds: int) -> bool:
        """Return whether all rounds are done, or patience is over."""
        done = len(records)
        if done >= (rounds if self.last_round is None else min(rounds, self.last_round)):
            return True
        best = lowest_loss(records)
        compared = [one for one in records[best:] if one.validation_loss is not None]
        return self.patience is not None and len(compared) >= self.patience

    def kept(self, best: BestRound | None, *, last: BestRound) -> BestRound:
        """Return the chosen round; the last without validation.

        Raises:
            KinestoreError: If the validation loss was never a number.
        """
        if self.validation is None and not self.by_clients:
            return last
        if best is None:
            raise KinestoreError(
                "validation: no round has a loss that is a number; use a lower learning_rate, or "
                "check the clips for extreme features, and whether all clients answered"
            )
        return best


def lowest_loss(records: Sequence[RoundRecord]) -> int:
    """Return the round with the lowest validation loss, the earliest of equals; 0 without any."""
    known = [
        (record.validation_loss, record.round)
        for record in records
        if record.validation_loss is not None and math.isfinite(record.validation_loss)
    ]
    return min(known)[1] if known else 0
