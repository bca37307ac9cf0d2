"""The record of one federated round."""

from collections.abc import Mapping
from dataclasses import dataclass

from kinestore.federated.evaluation import ClientHits
from kinestore.federated.update_validation import RejectedUpdate


@dataclass(frozen=True, kw_only=True)
class RoundRecord:
    """Figures of one round, named as metrics.csv and checkpoints name them.

    Attributes:
        round: 1 for the first.
        train_loss: Mean cross-entropy of the last local epoch over the rows of the clients whose
            update was used; NaN where there was none.
        accuracy: Top-1 of the new model on the test rows; where clients have private parts, the
            plain mean over clients of their own models' top-1. None without test rows.
        top5: The same for the five highest logits.
        test_hits: Hits of each client's test rows after the round; none without them.
        train_top1: Accuracy on the training rows of the clients whose update was used, each row
            taken just before its batch's last step, as `train_loss`; NaN where there was none.
        train_top5: The same for the five highest logits.
        train_hits: Hits of these clients' training rows at the same moment.
        others: Accuracy of the extra models that the strategy reports, by name.
        participants: Numbers of the clients that took part, rejected ones among them.
        refusals: Rejected updates, and why.
        parameters_up: Elements of parameters sent to the server, by all clients together.
        parameters_down: Elements of parameters sent to them.
        bytes_up: Bytes sent to the server, buffers included.
        bytes_down: Bytes sent to the clients.
        seconds: Wall time, evaluation included.
        validation_loss: Mean cross-entropy of the new model on the validation rows; where clients
            have private parts, the plain mean over clients of their own models'. None without them.
        validation_accuracy: Top-1 on the validation rows, as `accuracy`.
    """

    round: int
    train_loss: float
    accuracy: float | None
    top5: float | None
    test_hits: tuple[ClientHits, ...]
    train_top1: float
    train_top5: float
    train_hits: tuple[ClientHits, ...]
    others: Mapping[str, float]
    participants: tuple[int, ...]
    refusals: tuple[RejectedUpdate, ...]
    parameters_up: int
    parameters_down: int
    bytes_up: int
    bytes_down: int
    seconds: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None

    @property
    def clients(self) -> int:
        """Number of clients that took part, rejected ones among them."""
        return len(self.participants)

    @property
    def refused(self) -> int:
        """Number of rejected updates."""
        return len(self.refusals)
