"""The rounds of a run, with checkpoints between them, wherever the clients are."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from kinestore.federated.best_round import RoundChoice
from kinestore.federated.config import RoundsConfig
from kinestore.federated.round_record import RoundRecord
from kinestore.federated.rounds import RoundRunner
from kinestore.federated.run_checkpoint import (
    CheckpointConfig,
    find_checkpoint_fault,
    read_checkpoint,
    write_checkpoint,
)
from kinestore.federated.run_state import RunState, last_used
from kinestore.federated.state import Arrays
from kinestore.store import UsageError

OnRound = Callable[[RoundRecord], None]
"""A callback after each round; a resumed run first calls it with its earlier rounds."""


@dataclass(frozen=True, kw_only=True, eq=False)
class History:
    """Records and models of a whole run.

    Attributes:
        rounds: One record for each round.
        state: State dict of the final model; where clients have private parts, with the first
            private values, as a client has them that never took part.
        shared: Names in it that the server and the clients send each other.
        private: Final private tensors of each client that took part and has some.
        kept_round: The round after which `state` and `private` are: the one that validation chose,
            else the last.
    """

    rounds: list[RoundRecord]
    state: dict[str, Tensor]
    shared: frozenset[str]
    private: dict[int, Arrays]
    kept_round: int

    def state_of(self, client: int) -> dict[str, Tensor]:
        """Return the state dict of the model that this client uses."""
        return {**self.state, **self.private.get(client, {})}


def run_rounds(
    runner: RoundRunner,
    config: RoundsConfig,
    *,
    choice: RoundChoice,
    checkpoints: CheckpointConfig | None,
    on_round: OnRound | None,
) -> History:
    """Run all rounds, from the first or from a checkpoint on.

    Args:
        runner: Runs one round.
        config: As the runner has it.
        choice: Which round is kept, and when to stop.
        checkpoints: Where to keep the state between rounds; None keeps none.
        on_round: Called after each round; earlier rounds of a resumed run come first.

    Raises:
        UsageError: If a checkpoint is damaged or of another run.
    """
    identity = "" if checkpoints is None else runner.identity()
    run = _first_or_resumed(runner, checkpoints, identity, on_round)
    while not choice.is_over(run.records, rounds=config.rounds):
        number = len(run.records) + 1
        record = runner.run_round(number, run)
        run.add(record)
        over = choice.is_over(run.records, rounds=config.rounds)
        if checkpoints is not None and (number % checkpoints.every == 0 or over):
            write_checkpoint(checkpoints.path, run.checkpoint(identity))
        if on_round is not None:
            on_round(record)
    kept = choice.kept(run.best, last=run.last())
    return History(
        rounds=run.records,
        state={**runner.start, **kept.arrays},
        shared=frozenset(run.server.arrays),
        private=dict(kept.private),
        kept_round=kept.number,
    )


def _first_or_resumed(
    runner: RoundRunner,
    checkpoints: CheckpointConfig | None,
    identity: str,
    on_round: OnRound | None,
) -> RunState:
    """Return the state before the first round, or the one of a checkpoint."""
    if checkpoints is None or not checkpoints.resume or not os.path.lexists(checkpoints.path):
        return RunState(server=runner.first, clients={}, records=[])
    found = read_checkpoint(checkpoints.path)
    if found.identity != identity:
        raise UsageError(
            f"{checkpoints.path}: is of a run with other clips, clients or settings; repeat the "
            "call as it was, or set resume=False"
        )
    fault = find_checkpoint_fault(
        found, first=runner.first, private=runner.unsent, num_clients=runner.num_clients
    )
    if fault is not None:
        raise UsageError(f"{checkpoints.path}: {fault}; set resume=False")
    for record in found.records:
        if on_round is not None:
            on_round(record)
    return RunState(
        server=found.server,
        clients=dict(found.clients),
        records=list(found.records),
        best=found.best,
        used={client: last_used(found.records, client) for client in range(runner.num_clients)},
    )
