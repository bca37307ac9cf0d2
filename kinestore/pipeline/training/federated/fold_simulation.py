"""Federated training on one fold: the clients' clips, the rounds, and the test clips' logits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kinestore.federated.best_round import RoundChoice
from kinestore.federated.client_data import LocalSamples
from kinestore.federated.communication_cost import Traffic
from kinestore.federated.config import RoundsConfig
from kinestore.federated.evaluation import HeldOut, Predict
from kinestore.federated.model_parts import initial_server_state, trained_arrays
from kinestore.federated.privacy import check_class_weights
from kinestore.federated.round_record import RoundRecord
from kinestore.federated.simulation import CheckpointConfig, History, simulate_clients
from kinestore.federated.standardization import LEAST_MEASURED
from kinestore.heads import Standardizer, TrainingConfig
from kinestore.heads.training.processes import Processes
from kinestore.pipeline.notes import tell
from kinestore.pipeline.training.config import FederationConfig
from kinestore.pipeline.training.data import PreparedData, TrainingData
from kinestore.pipeline.training.federated.client_partition import (
    partition_clips,
    partition_test_clips,
)
from kinestore.pipeline.training.federated.fold_partition import FoldPartition, notes_on_untested
from kinestore.pipeline.training.fold import Fold
from kinestore.pipeline.training.fold_trainer import chosen_class_weights
from kinestore.pipeline.training.model_spec import read_strategy
from kinestore.store import UsageError


@dataclass(frozen=True, kw_only=True, eq=False)
class FederatedFold:
    """The result of federated training on one fold.

    Attributes:
        partition: The clips by client.
        model: The model that is kept; where clients have private parts, as a new client has it.
        standardizer: How its input is scaled.
        traffic: Cost of agreeing on the standardizer.
        history: The rounds, and the clients' private parts.
        logits: Logits of the fold's test clips, each by its client's model, shape (clips, K).
    """

    partition: FoldPartition
    model: nn.Module
    standardizer: Standardizer
    traffic: Traffic
    history: History
    logits: Tensor


class FederatedTrainer:
    """Trains over clients on every fold of a job.

    Args:
        data: The clips and the model.
        federation: Clients and rounds.
        training: A client's training in one round.
        patience: Rounds without a lower validation loss after which training stops; None for never.
        seed: 0 or more.
        processes: Where clients train; a single process.
    """

    def __init__(
        self,
        data: TrainingData,
        *,
        federation: FederationConfig,
        training: TrainingConfig,
        patience: int | None,
        seed: int,
        processes: Processes,
    ) -> None:
        self.data, self.federation, self._training = data, federation, training
        self.strategy = read_strategy(federation.strategy)
        self._patience, self._seed, self._processes = patience, seed, processes

    @property
    def _rounds(self) -> RoundsConfig:
        """Return the settings of the rounds."""
        return RoundsConfig(
            rounds=self.federation.rounds,
            strategy=self.strategy,
            clients_per_round=self.federation.clients_per_round,
            schedule=self._training.schedule,
            warmup=self._training.warmup,
            freeze=self._training.freeze,
            seed=self._seed,
            device=self._training.device,
        )

    def partition(self, fold: Fold) -> FoldPartition:
        """Assign the fold's clips to clients."""
        rows, kind = self.data.rows, self.federation.partition
        parts = partition_clips(
            rows, fold.train, clients=self.federation.num_clients, partition=kind, seed=self._seed
        )
        least = self.federation.min_clips
        num_unused = len(fold.train) - sum(map(len, parts))
        left_out = {client: len(part) for client, part in enumerate(parts) if len(part) < least}
        if len(left_out) == len(parts):
            raise UsageError(
                f"min_clips={least}: none of {len(parts)} clients has so many training clips, the "
                f"largest has {max(left_out.values())}; use fewer clients"
            )
        parts = [part[:0] if client in left_out else part for client, part in enumerate(parts)]
        test_parts, validation_parts = (
            partition_test_clips(rows, parts, numbers, partition=kind, seed=self._seed)
            for numbers in (fold.test, fold.validation)
        )
        return FoldPartition(
            fold=fold,
            parts=parts,
            test_parts=test_parts,
            validation_parts=validation_parts,
            left_out=left_out,
            num_unused=num_unused,
        )

    def checked(self, partitions: Sequence[FoldPartition]) -> list[FoldPartition]:
        """Return the clips of each fold that take part; refuse what cannot be run.

        Where a part of the model is private, a test clip that belongs to no client has no model,
        and is left out.
        """
        model, federation = self.data.new_model(), self.federation
        self.data.check(model)
        fewest = min(federation.num_clients - len(each.left_out) for each in partitions)
        self._rounds.check_clients(fewest)
        state = initial_server_state(model, self._rounds, num_clients=fewest)
        for each in partitions:
            self._measured(each)
        check_class_weights(self.strategy.stages, self._training.class_weights)
        if len(state.arrays) == len(trained_arrays(model, self._training.freeze)):
            return list(partitions)
        if any(len(each.fold.test) and not sum(map(len, each.test_parts)) for each in partitions):
            raise UsageError(
                f"partition={federation.partition!r}: no test clip of a fold belongs to a client, "
                "and none has a model where a part of the head is private; test others, as with "
                "folds"
            )
        if any(
            len(each.fold.validation) and not sum(map(len, each.validation_parts))
            for each in partitions
        ):
            raise UsageError(
                f"partition={federation.partition!r}: no validation clip belongs to a client, and "
                "a model with private parts is chosen by its clients' own; leave out validation"
            )
        owned = [each.with_owned_tests() for each in partitions]
        tell(notes_on_untested(self.data.rows, partitions, owned))
        return owned

    def run(
        self,
        partition: FoldPartition,
        *,
        checkpoints: CheckpointConfig | None,
        on_round: Callable[[RoundRecord], None],
        last_round: int | None = None,
    ) -> FederatedFold:
        """Train on the fold's parts, up to a round, and test on its test clips."""
        ready = self.data.prepare(partition.parts, measured=self._measured(partition))
        model, local = self.data.new_model(), self._training.at_one_rate()
        history = simulate_clients(
            model,
            [
                LocalSamples(
                    samples=samples,
                    config=local,
                    processes=self._processes,
                    class_weights=self._class_weights(partition),
                )
                for samples in ready.clients
            ],
            config=self._rounds,
            held_out=self._held_out(ready, partition.fold.test, partition.test_parts),
            choice=RoundChoice(
                validation=self._held_out(
                    ready, partition.fold.validation, partition.validation_parts
                ),
                patience=self._patience if len(partition.fold.validation) else None,
                last_round=last_round,
            ),
            checkpoints=checkpoints,
            on_round=on_round,
        )
        logits = _test_logits(model, history, ready.predict_final, partition)
        model.load_state_dict(history.state)
        return FederatedFold(
            partition=partition,
            model=model.cpu(),
            standardizer=ready.standardizer,
            traffic=ready.traffic,
            history=history,
            logits=logits,
        )

    def _measured(self, partition: FoldPartition) -> list[NDArray[np.int64]]:
        """Return the parts whose statistics scale the features; none with noise, or unscaled.

        Statistics are sent as they are, and the bound on privacy would not hold for them.
        """
        if self.strategy.stages.noise or self._training.standardize == "none":
            return []
        measured = [part for part in partition.parts if len(part) >= LEAST_MEASURED]
        if not measured and self.data.rows.features.shape[-1]:
            raise UsageError(
                f"clients={len(partition.parts)}: none has {LEAST_MEASURED} training clips, and "
                "the statistics of fewer would give their features away; use fewer clients"
            )
        return measured

    def _class_weights(self, partition: FoldPartition) -> Tensor | None:
        """Return weights by the counts of all clients' training clips, where training has them."""
        rows = self.data.rows
        labels = rows.labels[partition.trained_fold.train]
        return chosen_class_weights(self._training, labels, num_classes=len(rows.classes))

    def _held_out(
        self, ready: PreparedData, rows: NDArray[np.int64], parts: list[NDArray[np.int64]]
    ) -> HeldOut | None:
        """Return test or validation clips, numbered within the fold; None where there are none."""
        if not len(rows):
            return None
        return HeldOut(
            labels=torch.from_numpy(self.data.rows.labels[rows]),
            predict=lambda model, numbers: ready.predict(model, rows[numbers]),
            parts=parts,
        )


def _test_logits(
    model: nn.Module, history: History, predict: Predict, partition: FoldPartition
) -> Tensor:
    """Predict each test clip by the model of its client, or by the common one."""
    test, owners = partition.fold.test, partition.owners
    private = sorted(history.private.keys() & set(owners.tolist()))
    requests = [(history.state, np.flatnonzero(~np.isin(owners, private)))]
    requests += [(history.state_of(client), partition.test_parts[client]) for client in private]
    logits = []
    for state, numbers in requests:
        model.load_state_dict(state)
        logits.append(predict(model, test[numbers]))
    order = np.argsort(np.concatenate([numbers for _, numbers in requests]))
    return torch.cat(logits)[order]
