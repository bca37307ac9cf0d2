"""What is told of a federated run."""

from collections.abc import Mapping
from dataclasses import dataclass

from kinestore.federated.update_screening import Refusal


@dataclass(frozen=True, kw_only=True)
class RoundRecord:
    """What one round came to.

    Attributes:
        round: 1 for the first.
        train_loss: Mean cross-entropy of the last local epoch over the rows of the clients whose
            update was used; NaN where there was none.
        accuracy: Fraction of the test rows that the new model has right; where clients have
            private parts, the plain mean over clients of their own models' fractions. None without
            test rows.
        others: Accuracy of the other models that the strategy reports, by name.
        participants: Numbers of the clients that took part, refused ones among them.
        refusals: Updates that the guard kept out, and why.
        parameters_up: Elements of parameters sent to the server, by all clients together.
        parameters_down: Elements of parameters sent to them.
        bytes_up: Bytes sent to the server, buffers included.
        bytes_down: Bytes sent to the clients.
        seconds: Wall time, evaluation included.
    """

    round: int
    train_loss: float
    accuracy: float | None
    others: Mapping[str, float]
    participants: tuple[int, ...]
    refusals: tuple[Refusal, ...]
    parameters_up: int
    parameters_down: int
    bytes_up: int
    bytes_down: int
    seconds: float

    @property
    def clients(self) -> int:
        """How many took part, refused ones among them."""
        return len(self.participants)

    @property
    def refused(self) -> int:
        """How many updates the guard kept out."""
        return len(self.refusals)
