"""Clients as the server sees them, in its own process or on other machines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from kinestore.federated.client_update import LocalConfig, LocalResult
from kinestore.federated.evaluation import ModelScores
from kinestore.federated.run_state import RunState
from kinestore.federated.state import Arrays
from kinestore.federated.update_validation import RejectedUpdate


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The outcome of a round for the clients that were drawn.

    Attributes:
        results: Of the clients that answered, in the order of their numbers. A client on another
            machine keeps its state there, and its result has an empty one.
        absent: Clients without an answer, and why.
    """

    results: Sequence[LocalResult]
    absent: Sequence[RejectedUpdate] = ()


@dataclass(frozen=True, kw_only=True)
class RoundScores:
    """Accuracies after a round.

    Attributes:
        test: On test samples; None without any.
        validation: On validation samples; None without any.
        others: Top-1 on test samples of further models that the strategy reports, by name.
    """

    test: ModelScores | None = None
    validation: ModelScores | None = None
    others: Mapping[str, float] = field(default_factory=dict)


class Clients(Protocol):
    """All clients of a run."""

    @property
    def sizes(self) -> Sequence[int]:
        """Training samples of each client; one without any takes no part, but keeps its number."""

    @property
    def quorum(self) -> int:
        """Updates that a round needs, or as many as were drawn if those are fewer."""

    def identities(self) -> Sequence[str]:
        """Return a text of each client that changes with its samples or its training."""

    def train(self, run: RunState, configs: Sequence[LocalConfig]) -> Answers:
        """Have clients start from the server's tensors and train, each by its instructions."""

    def score(self, run: RunState, others: Mapping[str, Arrays]) -> RoundScores:
        """Score the server's new model, or where parts are private each client's own.

        Args:
            run: After the round.
            others: Further models by name, each in place of the server's tensors.
        """
