"""Federated learning in one process: client after client, or side by side on a GPU.

Shape legend: N rows, D features.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from kinestore.federated import Arrays, Strategy
from kinestore.federated import create as create_strategy
from kinestore.federated.client_data import LocalData, LocalRows
from kinestore.federated.client_update import LOCAL_SETTINGS
from kinestore.federated.evaluation import HeldOut
from kinestore.federated.round_record import RoundRecord
from kinestore.federated.rounds import Progress, Rounds, begin
from kinestore.federated.run_checkpoint import read_checkpoint, write_checkpoint
from kinestore.federated.strategy import ClientUpdate
from kinestore.federated.update_screening import screen
from kinestore.heads import FitSettings, check_rows, choose_device, predict, to_features, to_labels
from kinestore.heads import create as create_head
from kinestore.store import UsageError

__all__ = [
    "Checkpoints",
    "History",
    "RoundRecord",
    "begin",
    "check_rounds",
    "simulate",
    "simulate_clients",
]

Rows = tuple[NDArray[np.float32] | Tensor, NDArray[np.int64] | Tensor]


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """Where and when a run's state is kept.

    Attributes:
        path: A file; replaced whole each time.
        every: Rounds between two of them; the last round is always kept.
        resume: Whether to go on from the file if it is there.
    """

    path: Path
    every: int = 10
    resume: bool = False

    def __post_init__(self) -> None:
        if self.every < 1:
            raise UsageError(f"every={self.every}: must be 1 or more")


@dataclass(frozen=True, kw_only=True)
class History:
    """A whole run.

    Attributes:
        rounds: One record a round.
        state: State dict of the final model; where clients have private parts, with the first
            private values, as a client has them that never took part.
        shared: Names in it that the server and the clients send each other.
        private: Final private tensors of each client that took part and has some.
    """

    rounds: list[RoundRecord]
    state: dict[str, Tensor]
    shared: frozenset[str]
    private: dict[int, Arrays]

    def state_of(self, client: int) -> dict[str, Tensor]:
        """State dict of the model that this client uses."""
        return {**self.state, **self.private.get(client, {})}


def simulate(
    head: str | nn.Module,
    features: NDArray[np.float32] | Tensor,
    labels: NDArray[np.int64] | Tensor,
    parts: Sequence[NDArray[np.int64]],
    *,
    rounds: int,
    strategy: str | Strategy = "fedavg",
    settings: FitSettings = LOCAL_SETTINGS,
    sample: int | None = None,
    seed: int = 0,
    test: Rows | None = None,
    test_parts: Sequence[NDArray[np.int64]] | None = None,
    device: str = "auto",
    checkpoints: Checkpoints | None = None,
    on_round: Callable[[RoundRecord], None] | None = None,
) -> History:
    """Train one head together, from the same start in every client.

    Args:
        head: A head's name, built for these rows from the seed; or a network, which is copied.
        features: Rows of all clients, float32, shape (N, D), or (N, T, D) for a head that takes
            sequences; standardise them first.
        labels: int64, shape (N,), from 0.
        parts: Each client's row numbers, as `federated.partition` makes them.
        rounds: 1 or more.
        strategy: A strategy's name, or one built with settings of its own.
        settings: A client's training in one round; its epochs are the local epochs.
        sample: Clients to draw for each round, without repetition; None takes all. Where the
            strategy draws each client by itself, how many are expected.
        seed: 0 or more; the same seed gives the same model.
        test: Features and labels to evaluate each round's model on.
        test_parts: Each client's own rows of `test`, for models that are partly its own; None
            scores every client on all of them.
        device: "cpu", "cuda", or "auto" for CUDA where there is a GPU. There clients train side by
            side, if the head keeps no counts and draws nothing; other heads train on the CPU.
        checkpoints: Where to keep the state between rounds; None keeps none. A run that goes on
            from there has the same bits as one that never stopped.
        on_round: Called after each round; first of all with those that a resumed run had done.

    Returns:
        A record for each round, and the final model.

    Raises:
        UsageError: If an argument is out of range, rows, labels, parts and head do not fit, or a
            checkpoint is damaged or of another run.
    """
    check_rounds(rounds=rounds, sample=sample, num_clients=len(parts))
    rows = (to_features(features), to_labels(labels))
    unseen = None if test is None else (to_features(test[0], name="test"), to_labels(test[1]))
    model = _own_model(head, rows, unseen, seed=seed)
    check_rows(model, *rows)
    held_out = None
    if unseen is not None:
        check_rows(model, *unseen, name="test")
        held_out = _held_out(*unseen, parts=test_parts)
    return simulate_clients(
        model,
        [
            LocalRows(features=rows[0][part], labels=rows[1][part], settings=settings)
            for part in _checked(parts, num_rows=len(rows[0]))
        ],
        rounds=rounds,
        strategy=strategy,
        sample=sample,
        seed=seed,
        held_out=held_out,
        device=device,
        checkpoints=checkpoints,
        on_round=on_round,
    )


def simulate_clients(
    model: nn.Module,
    clients: Sequence[LocalData],
    *,
    rounds: int,
    strategy: str | Strategy = "fedavg",
    sample: int | None = None,
    seed: int = 0,
    held_out: HeldOut | None = None,
    device: str = "auto",
    checkpoints: Checkpoints | None = None,
    on_round: Callable[[RoundRecord], None] | None = None,
) -> History:
    """Train one model together, whatever it is that the clients hold.

    Args:
        model: On any device; it is worked in, and what it holds afterwards is nobody's model.
        clients: Each one's samples.
        rounds: As for `simulate`, and so what follows.
        strategy: Likewise.
        sample: Likewise.
        seed: Likewise.
        held_out: What each round's model is scored on; None for nothing.
        device: As for `simulate`, where clients hold rows; others train where the model is.
        checkpoints: As for `simulate`.
        on_round: Likewise.

    Returns:
        A record for each round, and the final model, on the CPU.

    Raises:
        UsageError: If an argument is out of range, or a checkpoint is damaged or of another run.
    """
    check_rounds(rounds=rounds, sample=sample, num_clients=len(clients))
    if held_out is not None:
        held_out.check(len(clients))
    run = Rounds(
        model=model,
        clients=clients,
        strategy=create_strategy(strategy) if isinstance(strategy, str) else strategy,
        sample=sample,
        seed=seed,
        device=choose_device(device),
    )
    identity = "" if checkpoints is None else run.identity()
    progress = _begin(run, checkpoints, identity, on_round)
    for number in range(len(progress.records) + 1, rounds + 1):
        record = run.round(number, progress, held_out)
        progress.records.append(record)
        if checkpoints is not None and (number % checkpoints.every == 0 or number == rounds):
            write_checkpoint(checkpoints.path, progress.checkpoint(identity))
        if on_round is not None:
            on_round(record)
    return History(
        rounds=progress.records,
        state={**run.start, **progress.server.arrays},
        shared=frozenset(progress.server.arrays),
        private={client: kept.private for client, kept in progress.clients.items() if kept.private},
    )


def check_rounds(*, rounds: int, sample: int | None, num_clients: int) -> None:
    """Refuse a number of rounds, or of clients a round, that cannot be run."""
    if rounds < 1:
        raise UsageError(f"rounds={rounds}: must be 1 or more")
    if sample is not None and not 1 <= sample <= num_clients:
        raise UsageError(f"sample={sample}: must be from 1 to {num_clients}, the number of clients")


def _own_model(
    head: str | nn.Module,
    rows: tuple[Tensor, Tensor],
    unseen: tuple[Tensor, Tensor] | None,
    *,
    seed: int,
) -> nn.Module:
    """A network that nobody else holds."""
    if isinstance(head, nn.Module):
        return copy.deepcopy(head)
    features, labels = rows
    known = [labels] if unseen is None else [labels, unseen[1]]
    num_classes = 1 + max((int(some.max()) for some in known if len(some)), default=0)
    return create_head(
        head, in_features=features.shape[-1], num_classes=max(num_classes, 1), seed=seed
    )


def _held_out(
    features: Tensor, labels: Tensor, *, parts: Sequence[NDArray[np.int64]] | None
) -> HeldOut:
    return HeldOut(
        labels=labels,
        predict=lambda model, numbers: predict(model, features[numbers]),
        parts=parts,
    )


def _checked(parts: Sequence[NDArray[np.int64]], *, num_rows: int) -> Sequence[NDArray[np.int64]]:
    """The parts, each with a row or more, and none beyond the last."""
    if not parts:
        raise UsageError("parts=[]: must hold one client or more")
    for client, part in enumerate(parts):
        if len(part) == 0:
            raise UsageError(f"parts: client {client} has no row; give it one or use fewer clients")
        outside = [int(row) for row in part if not 0 <= row < num_rows]
        if outside:
            raise UsageError(
                f"parts: client {client} has row {outside[0]}, must be from 0 to {num_rows - 1}"
            )
    return parts


def _begin(
    run: Rounds,
    checkpoints: Checkpoints | None,
    identity: str,
    on_round: Callable[[RoundRecord], None] | None,
) -> Progress:
    """The start, or where a checkpoint left off."""
    if checkpoints is None or not checkpoints.resume or not checkpoints.path.exists():
        return Progress(server=run.first, clients={}, records=[])
    found = read_checkpoint(checkpoints.path)
    if found.identity != identity:
        raise UsageError(
            f"{checkpoints.path}: is of a run with other clips, clients or settings; repeat its "
            "command as it was, or run without --resume"
        )
    update = ClientUpdate(client=0, num_samples=1, arrays=found.server.arrays)
    _, refusals = screen([update], reference=run.first.arrays)
    if refusals:
        raise UsageError(f"{checkpoints.path}: {refusals[0].reason}; run without --resume")
    for record in found.records:
        if on_round is not None:
            on_round(record)
    return Progress(server=found.server, clients=dict(found.clients), records=list(found.records))
