"""A federated round: clients are drawn and train, and the server joins their updates."""

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kinestore.federated.best_round import BestRound, lowest_loss
from kinestore.federated.client_data import LocalData
from kinestore.federated.client_update import LocalConfig, LocalResult, local_update
from kinestore.federated.communication_cost import round_traffic
from kinestore.federated.config import RoundsConfig
from kinestore.federated.evaluation import ClientHits, HeldOut, ModelScores
from kinestore.federated.round_record import RoundRecord
from kinestore.federated.run_checkpoint import RunCheckpoint
from kinestore.federated.state import ClientState, ServerState
from kinestore.federated.update_validation import all_rejected, validate_updates
from kinestore.federated.vectorized_clients import VectorizedClients, can_vectorize
from kinestore.heads.support.device import choose_device
from kinestore.heads.support.seeds import derive_seed
from kinestore.heads.training.feature_samples import tensor_hash
from kinestore.heads.training.optimizer import classifier_of


@dataclass(kw_only=True)
class RunState:
    """Everything that a round reads and changes.

    Attributes:
        server: The server's state.
        clients: State of each client that took part so far and has some.
        records: One for each finished round.
        best: The round that validation prefers so far; None without validation.
    """

    server: ServerState
    clients: dict[int, ClientState]
    records: list[RoundRecord]
    best: BestRound | None = None

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


class RoundRunner:
    """Everything that stays the same from round to round.

    Args:
        model: A network to work in, which holds the first weights.
        clients: Samples of each client; one without any takes no part, but keeps its number.
        config: Strategy, sampling, seed and device.
    """

    def __init__(
        self, model: nn.Module, clients: Sequence[LocalData], config: RoundsConfig
    ) -> None:
        self.model, self._clients, self._config = model, clients, config
        self._algorithm = algorithm = config.algorithm
        self.start = starting_arrays(model)
        self._present = [client for client, data in enumerate(clients) if len(data)]
        num_rows, num_present = sum(map(len, clients)), len(self._present)
        self._terms = {
            client: algorithm.strategy.proximal_term(len(clients[client]) * num_present / num_rows)
            for client in self._present
        }
        self.first = initial_server_state(model, config, num_clients=num_present)
        self._vectorized = self._vectorize(choose_device(config.device))
        self.unsent = {
            name: array
            for name, array in trained_arrays(model, config.freeze).items()
            if name not in self.first.arrays
        }

    def identity(self) -> str:
        """Return a hash of everything that decides the run, but for the number of rounds."""
        config = self._config
        known = hashlib.sha256(
            repr((str(self.model), self._algorithm, config.clients_per_round, config.seed)).encode()
        )
        if not config.is_flat:
            num = config.rounds if config.rates.depends_on_end else None
            known.update(repr((config.schedule, config.warmup, num)).encode())
        for tensor in self.start.values():
            known.update(tensor_hash(tensor))
        for data in self._clients:
            known.update(data.identity().encode())
        return known.hexdigest()

    def run_round(
        self, number: int, run: RunState, held_out: HeldOut | None, validation: HeldOut | None
    ) -> RoundRecord:
        """Draw the clients, train them, join their updates and score the new model."""
        started = time.perf_counter()
        chosen = self._choose(number)
        before = run.server
        results = self._train(chosen, number, run)
        updates = [result.update for result in results]
        valid, rejected = validate_updates(updates, reference=before.arrays)
        if rejected and not valid:
            raise all_rejected(number, rejected)
        run.server = self._algorithm.apply(before, valid)
        used = {update.client for update in valid}
        for result in results:  # a client whose update was rejected starts from its last good state
            if result.update.client in used and (result.state.private or result.state.correction):
                run.clients[result.update.client] = result.state
        traffic = round_traffic(
            before.parameters,
            sent_down=before.arrays,
            sent_up=[update.arrays for update in updates],
        )
        return RoundRecord(
            round=number,
            **_training_figures([result for result in results if result.update.client in used]),
            **self._accuracies(run, held_out),
            **self._validated(run, validation),
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

    def _vectorize(self, device: torch.device) -> VectorizedClients | None:
        """Return vectorized clients on a GPU, where that is possible."""
        if device.type != "cuda" or not self._config.is_flat:
            return None
        if not can_vectorize(self.model, self._clients):
            return None
        proximal = any(term.coefficient for term in self._terms.values())
        return VectorizedClients(self.model, self._clients, proximal=proximal, device=device)

    def _train(self, chosen: Sequence[int], number: int, run: RunState) -> list[LocalResult]:
        arrays, first = run.server.arrays, ClientState(private=self.unsent)
        states = [run.clients.get(client, first) for client in chosen]
        configs = [
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
        if self._vectorized is not None:
            return self._vectorized.update(arrays, configs, states)
        return [
            local_update(arrays, config, state, model=self.model, data=self._clients[config.client])
            for config, state in zip(configs, states, strict=True)
        ]

    def _accuracies(self, run: RunState, held_out: HeldOut | None) -> dict[str, Any]:
        if held_out is None:
            return {"accuracy": None, "top5": None, "test_hits": (), "others": {}}
        scores = self._score(run, held_out)
        extra = self._algorithm.strategy.extra_models(run.server)
        return {
            "accuracy": scores.top1,
            "top5": scores.top5,
            "test_hits": scores.clients,
            "others": {
                name: held_out.score(self.model, {**self.start, **arrays}).top1
                for name, arrays in extra.items()
            },
        }

    def _validated(self, run: RunState, validation: HeldOut | None) -> dict[str, Any]:
        if validation is None:
            return {}
        scores = self._score(run, validation)
        return {"validation_loss": scores.loss, "validation_accuracy": scores.top1}

    def _score(self, run: RunState, held_out: HeldOut) -> ModelScores:
        """Score the server's model, or the clients' own ones where they have private parts."""
        shared = {**self.start, **run.server.arrays}
        if not self.unsent:
            return held_out.score(self.model, shared)
        private = {client: state.private for client, state in run.clients.items()}
        return held_out.score_clients(self.model, shared, private, num_clients=len(self._clients))


def initial_server_state(
    model: nn.Module, config: RoundsConfig, *, num_clients: int
) -> ServerState:
    """Return the server's state before the first round, from this model."""
    arrays, per_round = trained_arrays(model, config.freeze), config.clients_per_round
    return config.algorithm.init(
        ServerState(
            arrays=arrays,
            parameters=frozenset(name for name, _ in model.named_parameters() if name in arrays),
            num_clients=num_clients,
            per_round=num_clients if per_round is None else per_round,
        )
    )


def trained_arrays(model: nn.Module, freeze: str | None) -> dict[str, Tensor]:
    """Return the part of `starting_arrays` that clients change: with a frozen trunk the classifier.

    Clients have the frozen rest from the start, as published weights, so that no round sends it.
    """
    arrays = starting_arrays(model)
    if freeze is None:
        return arrays
    name, _ = classifier_of(model)
    prefix = f"{name}." if name else ""
    return {each: array for each, array in arrays.items() if each.startswith(prefix)}


def starting_arrays(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the model's state dict on the CPU."""
    return {name: array.detach().to("cpu", copy=True) for name, array in model.state_dict().items()}


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
