"""A federated round: clients are drawn and train, and the server joins their updates."""

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from torch import nn

from kinestore.federated.client_update import LocalConfig, LocalResult
from kinestore.federated.clients import Clients, RoundScores
from kinestore.federated.communication_cost import round_traffic
from kinestore.federated.config import RoundsConfig
from kinestore.federated.evaluation import ClientHits
from kinestore.federated.model_parts import initial_server_state, private_arrays, starting_arrays
from kinestore.federated.round_record import RoundRecord
from kinestore.federated.run_state import RunState
from kinestore.federated.update_validation import too_few_updates, validate_updates
from kinestore.heads.support.seeds import derive_seed
from kinestore.heads.training.feature_samples import tensor_hash


class RoundRunner:
    """Everything that stays the same from round to round.

    Args:
        model: A network that holds the first weights.
        clients: Wherever they are.
        config: Strategy, sampling and seed.
    """

    def __init__(self, model: nn.Module, clients: Clients, config: RoundsConfig) -> None:
        self._model_text = str(model)
        self._clients, self._config = clients, config
        self._algorithm = algorithm = config.algorithm
        self.start = starting_arrays(model)
        self._present = [client for client, size in enumerate(clients.sizes) if size]
        num_rows, num_present = sum(clients.sizes), len(self._present)
        self._terms = {
            client: algorithm.strategy.proximal_term(clients.sizes[client] * num_present / num_rows)
            for client in self._present
        }
        self.first = initial_server_state(model, config, num_clients=num_present)
        self.unsent = private_arrays(model, config)

    @property
    def num_clients(self) -> int:
        """Number of all clients, those without a sample among them."""
        return len(self._clients.sizes)

    def identity(self) -> str:
        """Return a hash of everything that decides the run, but for the number of rounds."""
        config = self._config
        settings = (self._model_text, self._algorithm, config.clients_per_round, config.seed)
        known = hashlib.sha256(repr(settings).encode())
        if not config.is_flat:
            num = config.rounds if config.rates.depends_on_end else None
            known.update(repr((config.schedule, config.warmup, num)).encode())
        for tensor in self.start.values():
            known.update(tensor_hash(tensor))
        for identity in self._clients.identities():
            known.update(identity.encode())
        return known.hexdigest()

    def run_round(self, number: int, run: RunState) -> RoundRecord:
        """Draw the clients, train them, join their updates and score the new model."""
        started = time.perf_counter()
        chosen = self._choose(number)
        before = run.server
        answers = self._clients.train(run, self._instructions(chosen, number))
        results = answers.results
        updates = [result.update for result in results]
        valid, invalid = validate_updates(updates, reference=before.arrays)
        rejected = sorted([*answers.absent, *invalid], key=lambda one: one.client)
        if rejected and len(valid) < min(self._clients.quorum, len(chosen)):
            raise too_few_updates(number, rejected, num_used=len(valid))
        run.server = self._algorithm.apply(before, valid)
        used = {update.client for update in valid}
        run.used |= dict.fromkeys(used, number)
        for result in results:  # a client whose update was rejected starts from its last good state
            if result.update.client in used and (result.state.private or result.state.correction):
                run.clients[result.update.client] = result.state
        traffic = round_traffic(
            before.parameters,
            sent_down=before.arrays,
            num_receivers=len(chosen),
            sent_up=[update.arrays for update in updates],
        )
        extra = self._algorithm.strategy.extra_models(run.server)
        return RoundRecord(
            round=number,
            **_training_figures([result for result in results if result.update.client in used]),
            **_accuracies(self._clients.score(run, extra)),
            participants=tuple(chosen),
            refusals=tuple(rejected),
            **asdict(traffic),
            seconds=time.perf_counter() - started,
        )

    def _choose(self, number: int) -> list[int]:
        """Draw the round's clients, in order."""
        num_clients, count = len(self._present), self._config.clients_per_round
        if count is None:
            return self._present
        rng = np.random.default_rng(derive_seed("sample", self._config.seed, number))
        if self._algorithm.stages.noise:  # so that no client's presence bears on another's draws
            drawn = np.flatnonzero(rng.random(num_clients) < count / num_clients)
        else:
            drawn = np.sort(rng.choice(num_clients, size=count, replace=False))
        return [self._present[place] for place in drawn]

    def _instructions(self, chosen: Sequence[int], number: int) -> list[LocalConfig]:
        return [
            LocalConfig(
                client=client,
                round_number=number,
                term=self._terms[client],
                lr_factor=self._config.rates.factor(number),
                clip=self._algorithm.stages.clip,
                seed=self._config.seed,
            )
            for client in chosen
        ]


def _accuracies(scores: RoundScores) -> dict[str, Any]:
    """Return the entries of a record that hold accuracies."""
    test, validation = scores.test, scores.validation
    return {
        "accuracy": None if test is None else test.top1,
        "top5": None if test is None else test.top5,
        "test_hits": () if test is None else test.clients,
        "others": dict(scores.others),
        "validation_loss": None if validation is None else validation.loss,
        "validation_accuracy": None if validation is None else validation.top1,
    }


def _training_figures(results: Sequence[LocalResult]) -> dict[str, Any]:
    """Return means over the rows of these clients, and the hits of each."""
    sizes = [result.update.num_samples for result in results]
    means = {
        name: math.nan
        if not results
        else sum(getattr(one.last, of) * size for one, size in zip(results, sizes, strict=True))
        / sum(sizes)
        for name, of in {
            "train_loss": "loss",
            "train_top1": "accuracy",
            "train_top5": "top5",
        }.items()
    }
    hits = tuple(
        ClientHits(
            client=one.update.client,
            num_clips=size,
            top1=round(one.last.accuracy * size),
            top5=round(one.last.top5 * size),
        )
        for one, size in zip(results, sizes, strict=True)
        if math.isfinite(one.last.accuracy)
    )
    return {**means, "train_hits": hits}
