"""One fold of a federated job: who holds which clips, training, and the scored clips' logits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from federated import Strategy
from federated.accounting import Traffic
from federated.moments import agree
from federated.records import RoundRecord
from federated.simulation import Checkpoints, History, begin, simulate
from heads import FitSettings, Standardiser, check_rows, predict, to_features, to_labels
from pipeline.choices import HeadChoice
from pipeline.deal import deal, deal_test
from pipeline.folds import Fold
from store import Features, UsageError


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
    """What all folds of a job share; the attributes are arguments of `pipeline.federate`."""

    rows: Features
    head: HeadChoice
    strategy: Strategy
    partition: str
    clients: int
    rounds: int
    sample: int | None
    settings: FitSettings
    seed: int

    def new_model(self) -> nn.Module:
        """The head before training, the same each time."""
        return self.head.create(self.rows, seed=self.seed)

    def deal(self, fold: Fold) -> Deal:
        """Who holds which of the fold's rows."""
        parts = deal(
            self.rows, fold.train, clients=self.clients, partition=self.partition, seed=self.seed
        )
        own = deal_test(self.rows, parts, fold.test, partition=self.partition, seed=self.seed)
        return Deal(fold=fold, parts=parts, test_parts=own)

    def check(self, deals: Sequence[Deal]) -> None:
        """Refuse what cannot be run, before anything is written."""
        model = self.new_model()
        first = to_features(self.rows.features[:1])
        check_rows(model, first, to_labels(self.rows.labels[:1]))
        state = begin(model, self.strategy, num_clients=self.clients, sample=self.sample)
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
        checkpoints: Checkpoints | None,
        on_round: Callable[[RoundRecord], None],
    ) -> FoldResult:
        """Train on the fold's parts and score its test rows."""
        standardiser, setup = agree(self.rows.features, dealt.parts)
        ready = standardiser.apply(self.rows.features)
        model, test = self.new_model(), dealt.fold.test
        history = simulate(
            model,
            ready,
            self.rows.labels,
            dealt.parts,
            rounds=self.rounds,
            strategy=self.strategy,
            settings=self.settings,
            sample=self.sample,
            seed=self.seed,
            test=(ready[test], self.rows.labels[test]) if len(test) else None,
            test_parts=dealt.test_parts if len(test) else None,
            checkpoints=checkpoints,
            on_round=on_round,
        )
        logits = _logits(model, history, torch.from_numpy(ready[test]), dealt.test_parts)
        model.load_state_dict(history.state)
        return FoldResult(
            deal=dealt,
            model=model,
            standardiser=standardiser,
            setup=setup,
            history=history,
            logits=logits,
        )


def _logits(
    model: nn.Module, history: History, features: Tensor, parts: Sequence[NDArray[np.int64]]
) -> Tensor:
    """By the common model, but for rows of clients with a model of their own."""
    model.load_state_dict(history.state)
    logits = predict(model, features).clone()  # out of inference mode, to be written to
    for client, part in enumerate(parts):
        if client in history.private and len(part):
            model.load_state_dict(history.state_of(client))
            logits[part] = predict(model, features[part])
    return logits
