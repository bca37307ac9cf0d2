"""Federated learning in one process: one client after another, or vectorized on a GPU.

Shape legend: N rows, D features.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from kinestore.federated.best_round import RoundChoice
from kinestore.federated.client_data import LocalData, LocalSamples
from kinestore.federated.client_update import LOCAL_SETTINGS
from kinestore.federated.config import RoundsConfig
from kinestore.federated.evaluation import HeldOut
from kinestore.federated.local_clients import LocalClients
from kinestore.federated.round_loop import History, OnRound, run_rounds
from kinestore.federated.round_record import RoundRecord
from kinestore.federated.rounds import RoundRunner
from kinestore.federated.run_checkpoint import CheckpointConfig
from kinestore.federated.strategy import Algorithm
from kinestore.heads import FeatureSamples, TrainingConfig, predict_logits
from kinestore.heads import create as create_head
from kinestore.heads.support.validation import check_rows, to_features, to_labels
from kinestore.store import UsageError

__all__ = [
    "CheckpointConfig",
    "History",
    "OnRound",
    "RoundRecord",
    "RoundsConfig",
    "SimulationOptions",
    "simulate",
    "simulate_clients",
]

Rows = tuple[NDArray[np.float32] | Tensor, NDArray[np.int64] | Tensor]
"""Features and labels."""

_LAST_ROUND = RoundChoice()


@dataclass(frozen=True, kw_only=True, eq=False)
class SimulationOptions:
    """Further options of `simulate`.

    Attributes:
        clients_per_round: As in `RoundsConfig`, and so seed and device. On a GPU clients are
            vectorized, if the head has no buffers and no randomness; other heads train on the CPU.
        seed: Decides the weights of a named head, draws of clients and batches.
        device: "cpu", "cuda" or "auto".
        test: Features and labels to evaluate each round's model on.
        test_parts: Each client's own rows of `test`; None scores every client on all of them.
        checkpoints: Where to keep the state between rounds; None keeps none. A run that resumes
            from there is bit-identical to one that never stopped, unless there is noise.
        on_round: Called after each round.
    """

    clients_per_round: int | None = None
    seed: int = 0
    device: str = "auto"
    test: Rows | None = None
    test_parts: Sequence[NDArray[np.int64]] | None = None
    checkpoints: CheckpointConfig | None = None
    on_round: OnRound | None = None


def simulate(
    head: str | nn.Module,
    features: NDArray[np.float32] | Tensor,
    labels: NDArray[np.int64] | Tensor,
    parts: Sequence[NDArray[np.int64]],
    *,
    rounds: int,
    strategy: str | Algorithm = "fedavg",
    settings: TrainingConfig = LOCAL_SETTINGS,
    options: SimulationOptions = SimulationOptions(),
) -> History:
    """Train one head over clients, which all start from the same weights.

    Args:
        head: A head's name, built for these rows from the seed; or a network, which is copied.
        features: Rows of all clients, float32, shape (N, D), or (N, T, D) for a head that takes
            sequences; standardize them first.
        labels: int64, shape (N,), from 0.
        parts: Each client's row numbers, as `federated.partition` makes them.
        rounds: 1 or more.
        strategy: A strategy's name, or one that `federated.create` built with its settings.
        settings: A client's training in one round; schedule and warm-up count rounds.
        options: Sampling of clients, seed, device, test rows, checkpoints and a callback.

    Returns:
        A record for each round, and the final model.

    Raises:
        UsageError: If an argument is out of range, rows, labels, parts and head do not fit, or a
            checkpoint is damaged or of another run.
        KinestoreError: If no update of a round can be used.
    """
    config = RoundsConfig(
        rounds=rounds,
        strategy=strategy,
        clients_per_round=options.clients_per_round,
        schedule=settings.schedule,
        warmup=settings.warmup,
        freeze=settings.freeze,
        seed=options.seed,
        device=options.device,
    )
    config.check_clients(len(parts))
    rows, test = (to_features(features), to_labels(labels)), None
    if options.test is not None:
        test = (to_features(options.test[0], name="test"), to_labels(options.test[1]))
    model = _own_model(head, rows, test, seed=options.seed)
    check_rows(model, *rows)
    held_out = None
    if test is not None:
        check_rows(model, *test, name="test")
        held_out = _held_out(*test, parts=options.test_parts)
    return simulate_clients(
        model,
        [
            LocalSamples(
                samples=FeatureSamples(features=rows[0][part], labels=rows[1][part]),
                config=settings.at_one_rate(),
            )
            for part in _checked(parts, num_rows=len(rows[0]))
        ],
        config=config,
        held_out=held_out,
        checkpoints=options.checkpoints,
        on_round=options.on_round,
    )


def simulate_clients(
    model: nn.Module,
    clients: Sequence[LocalData],
    *,
    config: RoundsConfig,
    held_out: HeldOut | None = None,
    choice: RoundChoice = _LAST_ROUND,
    checkpoints: CheckpointConfig | None = None,
    on_round: OnRound | None = None,
) -> History:
    """Train one model over clients with any kind of samples.

    Args:
        model: On any device; it is worked in, and its weights afterwards have no meaning.
        clients: Samples of each client; one without any takes no part.
        config: Rounds, strategy, sampling and seed. Its device is for clients with rows;
            others train where the model is.
        held_out: Samples to score each round's model on; None for none.
        choice: Which round is kept, and when to stop; by default the last of all.
        checkpoints: As in `SimulationOptions`.
        on_round: As in `SimulationOptions`.

    Returns:
        A record for each round, and the final model, on the CPU.

    Raises:
        UsageError: If an argument is out of range, or a checkpoint is damaged or of another run.
    """
    config.check_clients(sum(len(data) > 0 for data in clients))
    for samples in (held_out, choice.validation):
        if samples is not None:
            samples.check(len(clients))
    local = LocalClients(model, clients, config, held_out=held_out, validation=choice.validation)
    runner = RoundRunner(model, local, config)
    return run_rounds(runner, config, choice=choice, checkpoints=checkpoints, on_round=on_round)


def _own_model(
    head: str | nn.Module,
    rows: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor] | None,
    *,
    seed: int,
) -> nn.Module:
    """Return a network that the caller does not hold."""
    if isinstance(head, nn.Module):
        return copy.deepcopy(head)
    features, labels = rows
    known = [labels] if test is None else [labels, test[1]]
    num_classes = 1 + max((int(some.max()) for some in known if len(some)), default=0)
    return create_head(
        head, in_features=features.shape[-1], num_classes=max(num_classes, 1), seed=seed
    )


def _held_out(
    features: Tensor, labels: Tensor, *, parts: Sequence[NDArray[np.int64]] | None
) -> HeldOut:
    return HeldOut(
        labels=labels,
        predict=lambda model, numbers: predict_logits(model, features[numbers]),
        parts=parts,
    )


def _checked(parts: Sequence[NDArray[np.int64]], *, num_rows: int) -> Sequence[NDArray[np.int64]]:
    """Return the parts, each with a row or more, and none beyond the last."""
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
