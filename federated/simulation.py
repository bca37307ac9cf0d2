"""Federated learning in one process, client after client.

Shape legend: N rows, D features.
"""

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from federated import create as create_strategy
from federated._base import ClientUpdate, Strategy
from federated.accounting import round_traffic
from federated.client import LOCAL_SETTINGS, local_update
from federated.guard import Refusal, screen
from heads import FitSettings, check_rows, derive_seed, predict, to_features, to_labels
from heads import create as create_head
from store import UsageError

Rows = tuple[NDArray[np.float32] | Tensor, NDArray[np.int64] | Tensor]


@dataclass(frozen=True, kw_only=True)
class RoundRecord:
    """What one round came to.

    Attributes:
        round: 1 for the first.
        train_loss: Mean cross-entropy of the last local epoch over the rows of the clients whose
            update was used; NaN where there was none.
        accuracy: Fraction of the test rows that the new model has right, or None without any.
        clients: Clients that took part, refused ones among them.
        refused: Updates that the guard kept out.
        refusals: Which ones, and why.
        parameters_up: Elements of parameters sent to the server, by all clients together.
        parameters_down: Elements of parameters sent to them.
        bytes_up: Bytes sent to the server, buffers included.
        bytes_down: Bytes sent to the clients.
        seconds: Wall time, evaluation included.
    """

    round: int
    train_loss: float
    accuracy: float | None
    clients: int
    refused: int
    refusals: tuple[Refusal, ...]
    parameters_up: int
    parameters_down: int
    bytes_up: int
    bytes_down: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class History:
    """A whole run.

    Attributes:
        rounds: One record a round.
        state: State dict of the final model.
    """

    rounds: list[RoundRecord]
    state: dict[str, Tensor]


def simulate(
    head: str | nn.Module,
    features: NDArray[np.float32] | Tensor,
    labels: NDArray[np.int64] | Tensor,
    parts: Sequence[NDArray[np.int64]],
    *,
    rounds: int,
    strategy: str | Strategy[Any] = "fedavg",
    settings: FitSettings = LOCAL_SETTINGS,
    sample: int | None = None,
    seed: int = 0,
    test: Rows | None = None,
    on_round: Callable[[RoundRecord], None] | None = None,
) -> History:
    """Train one head together, from the same start in every client.

    Args:
        head: A head's name, built for these rows from the seed; or a network, which is copied.
        features: Rows of all clients, float32, shape (N, D); standardise them first.
        labels: int64, shape (N,), from 0.
        parts: Each client's row numbers, as `federated.partition` makes them.
        rounds: 1 or more.
        strategy: A strategy's name, or one built with settings of its own.
        settings: A client's training in one round; its epochs are the local epochs.
        sample: Clients to draw for each round, without repetition; None takes all.
        seed: 0 or more; the same seed gives the same model.
        test: Features and labels to evaluate each round's model on.
        on_round: Called after each round.

    Returns:
        A record for each round, and the final model.

    Raises:
        UsageError: If an argument is out of range, or rows, labels, parts and head do not fit.
    """
    check_rounds(rounds=rounds, sample=sample, num_clients=len(parts))
    rows = (to_features(features), to_labels(labels))
    test_rows = None if test is None else (to_features(test[0], name="test"), to_labels(test[1]))
    model = _own_model(head, rows, test_rows, seed=seed)
    check_rows(model, *rows)
    if test_rows is not None:
        check_rows(model, *test_rows, name="test")
    clients = _deal(rows, parts)

    rule = create_strategy(strategy) if isinstance(strategy, str) else strategy
    state = rule.init({name: array.clone() for name, array in model.state_dict().items()})
    records = []
    for number in range(1, rounds + 1):
        started = time.perf_counter()
        chosen = _choose(len(clients), sample, seed=seed, round_number=number)
        updates, losses = _train_clients(
            model, clients, chosen, state.arrays, number, settings=settings, seed=seed
        )
        kept, refusals = screen(updates, reference=state.arrays)
        traffic = round_traffic(
            model, sent_down=state.arrays, sent_up=[update.arrays for update in updates]
        )
        state = rule.apply(state, kept)
        model.load_state_dict(dict(state.arrays))
        record = RoundRecord(
            round=number,
            train_loss=_mean_loss(kept, losses),
            accuracy=None if test_rows is None else _accuracy(model, *test_rows),
            clients=len(updates),
            refused=len(refusals),
            refusals=tuple(refusals),
            **asdict(traffic),
            seconds=time.perf_counter() - started,
        )
        records.append(record)
        if on_round is not None:
            on_round(record)
    return History(rounds=records, state=dict(state.arrays))


def check_rounds(*, rounds: int, sample: int | None, num_clients: int) -> None:
    """Refuse a number of rounds, or of clients a round, that cannot be run."""
    if rounds < 1:
        raise UsageError(f"rounds={rounds}: must be 1 or more")
    if sample is not None and not 1 <= sample <= num_clients:
        raise UsageError(f"sample={sample}: must be from 1 to {num_clients}, the number of clients")


def _own_model(
    head: str | nn.Module,
    rows: tuple[Tensor, Tensor],
    test_rows: tuple[Tensor, Tensor] | None,
    *,
    seed: int,
) -> nn.Module:
    """A network that nobody else holds."""
    if isinstance(head, nn.Module):
        return copy.deepcopy(head)
    features, labels = rows
    known = [labels] if test_rows is None else [labels, test_rows[1]]
    num_classes = 1 + max((int(some.max()) for some in known if len(some)), default=0)
    return create_head(
        head, in_features=features.shape[1], num_classes=max(num_classes, 1), seed=seed
    )


def _deal(
    rows: tuple[Tensor, Tensor], parts: Sequence[NDArray[np.int64]]
) -> list[tuple[Tensor, Tensor]]:
    """Each client's own rows."""
    features, labels = rows
    if not parts:
        raise UsageError("parts=[]: must hold one client or more")
    for client, part in enumerate(parts):
        if len(part) == 0:
            raise UsageError(f"parts: client {client} has no row; give it one or use fewer clients")
        outside = [int(row) for row in part if not 0 <= row < len(features)]
        if outside:
            raise UsageError(
                f"parts: client {client} has row {outside[0]}, "
                f"must be from 0 to {len(features) - 1}"
            )
    return [(features[part], labels[part]) for part in parts]


def _choose(
    num_clients: int, sample: int | None, *, seed: int, round_number: int
) -> NDArray[np.int64]:
    """The round's clients, in order."""
    if sample is None:
        return np.arange(num_clients)
    rng = np.random.default_rng(derive_seed("sample", seed, round_number))
    return np.sort(rng.choice(num_clients, size=sample, replace=False))


def _train_clients(
    model: nn.Module,
    clients: Sequence[tuple[Tensor, Tensor]],
    chosen: NDArray[np.int64],
    arrays: Mapping[str, Tensor],
    round_number: int,
    *,
    settings: FitSettings,
    seed: int,
) -> tuple[list[ClientUpdate], dict[int, float]]:
    """Every chosen client's update, and its loss by client number."""
    updates, losses = [], {}
    for client in map(int, chosen):
        update, losses[client] = local_update(
            model,
            *clients[client],
            arrays=arrays,
            client=client,
            round_number=round_number,
            settings=settings,
            seed=seed,
        )
        updates.append(update)
    return updates, losses


def _mean_loss(kept: Sequence[ClientUpdate], losses: Mapping[int, float]) -> float:
    if not kept:
        return math.nan
    total = sum(losses[update.client] * update.num_samples for update in kept)
    return total / sum(update.num_samples for update in kept)


def _accuracy(model: nn.Module, features: Tensor, labels: Tensor) -> float:
    return float((predict(model, features).argmax(1) == labels).double().mean())
