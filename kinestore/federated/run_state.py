"""The state of a run from round to round."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from kinestore.federated.best_round import BestRound, lowest_loss
from kinestore.federated.round_record import RoundRecord
from kinestore.federated.run_checkpoint import RunCheckpoint
from kinestore.federated.state import ClientState, ServerState


@dataclass(kw_only=True)
class RunState:
    """Everything that a round reads and changes.

    Attributes:
        server: The server's state.
        clients: State of each client that took part so far and has some.
        records: One for each finished round.
        best: The round that validation prefers so far; None without validation.
        used: Last round in which each client's update was used.
    """

    server: ServerState
    clients: dict[int, ClientState]
    records: list[RoundRecord]
    best: BestRound | None = None
    used: dict[int, int] = field(default_factory=dict)

    def add(self, record: RoundRecord) -> None:
        """Take in a round, and keep its models if it is the best."""
        self.records.append(record)
        if lowest_loss(self.records) == record.round:
            self.best = self.last()

    def last(self) -> BestRound:
        """Return the models after the last round."""
        return BestRound(
            number=len(self.records),
            arrays=self.server.arrays,
            private={client: own.private for client, own in self.clients.items() if own.private},
        )

    def checkpoint(self, identity: str) -> RunCheckpoint:
        """Return the state as a checkpoint file holds it."""
        return RunCheckpoint(
            identity=identity,
            server=self.server,
            clients=self.clients,
            records=self.records,
            best=self.best,
        )


def last_used(records: Sequence[RoundRecord], client: int, *, up_to: int | None = None) -> int:
    """Return the last round in which a client's update was used; 0 for none.

    Args:
        records: All rounds so far.
        client: The client's number.
        up_to: The last round that counts; None for all.
    """
    used = [
        record.round
        for record in records
        if client in record.participants
        and client not in {one.client for one in record.refusals}
        and (up_to is None or record.round <= up_to)
    ]
    return max(used, default=0)
