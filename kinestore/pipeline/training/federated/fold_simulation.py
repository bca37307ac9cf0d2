"""One fold of a federated job: who holds which clips, training, and the scored clips' logits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kinestore.federated import Algorithm
from kinestore.federated.client_data import LocalData, LocalRows
from kinestore.federated.communication_cost import Traffic
from kinestore.federated.evaluation import HeldOut, Predict
from kinestore.federated.round_record import RoundRecord
from kinestore.federated.rounds import initial_server_state
from kinestore.federated.simulation import (
    CheckpointConfig,
    History,
    RoundsConfig,
    simulate_clients,
)
from kinestore.federated.standardization import federated_standardizer
from kinestore.heads import FitSettings, Standardiser, check_rows, predict, to_features, to_labels
from kinestore.pipeline.training.federated.client_partition import (
    partition_clips,
    partition_test_clips,
)
from kinestore.pipeline.training.folds import Fold
from kinestore.pipeline.training.model_spec import HeadChoice
from kinestore.store import Features, UsageError


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The samples of a fold, as a simulation takes them.

    Attributes:
        clients: What each one trains on.
        predict: Logits of rows by their numbers, to score a round by.
        predict_last: Likewise, to score the final model by.
        standardiser: How the model's input is scaled.
        setup: What agreeing on it cost.
    """

    clients: Sequence[LocalData]
    predict: Predict
    predict_last: Predict
    standardiser: Standardiser
    setup: Traffic


class Material(Protocol):
    """What the clients of a job learn from."""

    @property
    def rows(self) -> Features:
        """The labelled clips."""

    def new_model(self) -> nn.Module:
        """The model before training, the same each time."""

    def check(self, model: nn.Module) -> None:
        """Refuse rows that it does not take."""

    def prepare(self, parts: Sequence[NDArray[np.int64]]) -> Prepared:
        """The samples, with each client's as numbers of rows."""


@dataclass(frozen=True, kw_only=True)
class FeatureRows:
    """Stored features, for a head.

    Attributes:
        rows: Labelled.
        head: What is trained.
        settings: A client's training in one round.
        seed: 0 or more; decides the first weights.
    """

    rows: Features
    head: HeadChoice
    settings: FitSettings
    seed: int

    def new_model(self) -> nn.Module:
        """The head before training, the same each time."""
        return self.head.create(self.rows, seed=self.seed)

    def check(self, model: nn.Module) -> None:
        """Refuse rows that it does not take."""
        check_rows(model, to_features(self.rows.features[:1]), to_labels(self.rows.labels[:1]))

    def prepare(self, parts: Sequence[NDArray[np.int64]]) -> Prepared:
        """Rows standardised by what the clients agree on."""
        standardiser, setup = federated_standardizer(self.rows.features, parts)
        ready = to_features(standardiser.apply(self.rows.features))
        labels = to_labels(self.rows.labels)

        def ask(model: nn.Module, numbers: NDArray[np.int64]) -> Tensor:
            return predict(model, ready[numbers])

        return Prepared(
            clients=[
                LocalRows(features=ready[part], labels=labels[part], settings=self.settings)
                for part in parts
            ],
            predict=ask,
            predict_last=ask,
            standardiser=standardiser,
            setup=setup,
        )


@dataclass(frozen=True, kw_only=True)
class Deal:
    """One fold's rows, by client.

    Attributes:
        fold: The fold.
        parts: Each client's training rows, as numbers into all rows.
        test_parts: Each client's own test rows, as numbers into the fold's.
    """

    fold: Fold
    parts: list[NDArray[np.int64]]
    test_parts: list[NDArray[np.int64]]

    @property
    def owners(self) -> NDArray[np.int64]:
        """The client of each of the fold's test rows, int64; -1 where it has none."""
        owners = np.full(len(self.fold.test), -1)
        for client, part in enumerate(self.test_parts):
            owners[part] = client
        return owners


@dataclass(frozen=True, kw_only=True)
class FoldResult:
    """What came of one fold.

    Attributes:
        deal: Who held what.
        model: The final model; where clients have private parts, as a new client has it.
        standardiser: What the clients agreed on.
        setup: What that cost.
        history: The rounds, and the clients' private parts.
        logits: Of the fold's test rows, each by its client's model, shape (rows, K).
    """

    deal: Deal
    model: nn.Module
    standardiser: Standardiser
    setup: Traffic
    history: History
    logits: Tensor


@dataclass(frozen=True, kw_only=True)
class Federation:
    """What all folds of a job share; `pipeline.federate` tells of the other attributes.

    Attributes:
        material: What is learnt from, and by which model.
    """

    material: Material
    strategy: Algorithm
    partition: str
    clients: int
    rounds: int
    sample: int | None
    seed: int
    device: str = "auto"

    def deal(self, fold: Fold) -> Deal:
        """Who holds which of the fold's rows."""
        rows = self.material.rows
        parts = partition_clips(
            rows, fold.train, clients=self.clients, partition=self.partition, seed=self.seed
        )
        own = partition_test_clips(rows, parts, fold.test, partition=self.partition, seed=self.seed)
        return Deal(fold=fold, parts=parts, test_parts=own)

    def check(self, deals: Sequence[Deal]) -> None:
        """Refuse what cannot be run, before anything is written."""
        model = self.material.new_model()
        self.material.check(model)
        state = initial_server_state(
            model, self.strategy, num_clients=self.clients, sample=self.sample
        )
        shares_all = len(state.arrays) == len(model.state_dict())
        if not shares_all and any(
            sum(map(len, dealt.test_parts)) < len(dealt.fold.test) for dealt in deals
        ):
            raise UsageError(
                f"partition={self.partition!r}: some scored clips belong to no client, and have no "
                "model where a part of the head is private; score others, as with --folds"
            )

    def run(
        self,
        dealt: Deal,
        *,
        checkpoints: CheckpointConfig | None,
        on_round: Callable[[RoundRecord], None],
    ) -> FoldResult:
        """Train on the fold's parts and score its test rows."""
        ready, model = self.material.prepare(dealt.parts), self.material.new_model()
        history = simulate_clients(
            model,
            ready.clients,
            config=RoundsConfig(
                rounds=self.rounds,
                strategy=self.strategy,
                sample=self.sample,
                seed=self.seed,
                device=self.device,
            ),
            held_out=self._held_out(dealt, ready) if len(dealt.fold.test) else None,
            checkpoints=checkpoints,
            on_round=on_round,
        )
        logits = _logits(model, history, ready.predict_last, dealt)
        model.load_state_dict(history.state)
        return FoldResult(
            deal=dealt,
            model=model.cpu(),
            standardiser=ready.standardiser,
            setup=ready.setup,
            history=history,
            logits=logits,
        )

    def _held_out(self, dealt: Deal, ready: Prepared) -> HeldOut:
        """The fold's test rows, which have numbers of their own there."""
        test = dealt.fold.test
        return HeldOut(
            labels=torch.from_numpy(self.material.rows.labels[test]),
            predict=lambda model, numbers: ready.predict(model, test[numbers]),
            parts=dealt.test_parts,
        )


def _logits(model: nn.Module, history: History, ask: Predict, dealt: Deal) -> Tensor:
    """Of the fold's test rows; by the common model, but for clients with a model of their own."""
    test, owners = dealt.fold.test, dealt.owners
    alone = sorted(history.private.keys() & set(owners.tolist()))
    asked = [(history.state, np.flatnonzero(~np.isin(owners, alone)))]
    asked += [(history.state_of(client), dealt.test_parts[client]) for client in alone]
    told = []
    for state, numbers in asked:
        model.load_state_dict(state)
        told.append(ask(model, test[numbers]))
    order = np.argsort(np.concatenate([numbers for _, numbers in asked]))
    return torch.cat(told)[order]
