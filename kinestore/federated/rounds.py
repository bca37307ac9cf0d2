"""What happens in a round: clients are drawn and train, and the server joins what they send."""

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kinestore.federated import ClientState, ServerState, Strategy
from kinestore.federated.client_data import LocalData, LocalRows, fingerprint
from kinestore.federated.client_update import LocalConfig, LocalResult, local_update
from kinestore.federated.communication_cost import round_traffic
from kinestore.federated.evaluation import HeldOut, plain_mean
from kinestore.federated.round_record import RoundRecord
from kinestore.federated.run_checkpoint import Checkpoint
from kinestore.federated.update_screening import screen
from kinestore.federated.vectorized_clients import Stack, stackable
from kinestore.heads import derive_seed


@dataclass(kw_only=True)
class Progress:
    """Where a run stands: all that a round reads and changes."""

    server: ServerState
    clients: dict[int, ClientState]
    records: list[RoundRecord]

    def checkpoint(self, identity: str) -> Checkpoint:
        """Return the state as a checkpoint file holds it."""
        return Checkpoint(
            identity=identity, server=self.server, clients=self.clients, records=self.records
        )


class Rounds:
    """What does not change over a run."""

    def __init__(
        self,
        *,
        model: nn.Module,
        clients: Sequence[LocalData],
        strategy: Strategy,
        sample: int | None,
        seed: int,
        device: torch.device,
    ) -> None:
        self.model, self._clients, self._strategy = model, clients, strategy
        self._sample, self._seed = sample, seed
        self.start = starting_arrays(model)
        sizes = [len(data) for data in clients]
        self._rules = [strategy.rule(size * len(sizes) / sum(sizes)) for size in sizes]
        self.first = begin(model, strategy, num_clients=len(clients), sample=sample)
        self._stack = self._stacked(device)
        self._unsent = {
            name: array for name, array in self.start.items() if name not in self.first.arrays
        }

    def identity(self) -> str:
        """A hash of all that decides the run, but for the number of rounds."""
        known = hashlib.sha256(
            repr((str(self.model), self._strategy, self._sample, self._seed)).encode()
        )
        for tensor in self.start.values():
            known.update(fingerprint(tensor))
        for data in self._clients:
            known.update(data.identity().encode())
        return known.hexdigest()

    def round(self, number: int, progress: Progress, held_out: HeldOut | None) -> RoundRecord:
        """One round, from drawing the clients to scoring the new model."""
        started = time.perf_counter()
        chosen = self._choose(number)
        before = progress.server
        results = self._train(chosen, number, progress)
        updates = [result.update for result in results]
        kept, refusals = screen(updates, reference=before.arrays)
        progress.server = self._strategy.apply(
            before, kept, seed=derive_seed("server", self._seed, number)
        )
        used = {update.client for update in kept}
        for result in results:  # a client whose update was refused starts from its last good state
            if result.update.client in used and (result.state.private or result.state.correction):
                progress.clients[result.update.client] = result.state
        traffic = round_traffic(
            before.parameters,
            sent_down=before.arrays,
            sent_up=[update.arrays for update in updates],
        )
        return RoundRecord(
            round=number,
            train_loss=_mean_loss([result for result in results if result.update.client in used]),
            **self._accuracies(progress, held_out),
            participants=tuple(chosen),
            refusals=tuple(refusals),
            **asdict(traffic),
            seconds=time.perf_counter() - started,
        )

    def _choose(self, number: int) -> list[int]:
        """The round's clients, in order."""
        num_clients = len(self._clients)
        if self._sample is None:
            return list(range(num_clients))
        rng = np.random.default_rng(derive_seed("sample", self._seed, number))
        if self._strategy.draws_each:
            drawn = np.flatnonzero(rng.random(num_clients) < self._sample / num_clients)
        else:
            drawn = np.sort(rng.choice(num_clients, size=self._sample, replace=False))
        return [int(client) for client in drawn]

    def _stacked(self, device: torch.device) -> Stack | None:
        """Room to train side by side, on a GPU and where that can be."""
        rows = [data for data in self._clients if isinstance(data, LocalRows)]
        if device.type != "cuda" or not stackable(self.model, self._clients):
            return None
        return Stack(self.model, rows, pulls=any(r.pull for r in self._rules), device=device)

    def _train(self, chosen: Sequence[int], number: int, progress: Progress) -> list[LocalResult]:
        arrays, first = progress.server.arrays, ClientState(private=self._unsent)
        states = [progress.clients.get(client, first) for client in chosen]
        configs = [
            LocalConfig(
                client=client, round_number=number, rule=self._rules[client], seed=self._seed
            )
            for client in chosen
        ]
        if self._stack is not None:
            return self._stack.update(arrays, configs, states)
        return [
            local_update(arrays, config, state, model=self.model, data=self._clients[config.client])
            for config, state in zip(configs, states, strict=True)
        ]

    def _accuracies(self, progress: Progress, held_out: HeldOut | None) -> dict[str, Any]:
        if held_out is None:
            return {"accuracy": None, "others": {}}
        shared = {**self.start, **progress.server.arrays}
        if self._unsent:
            private = {client: kept.private for client, kept in progress.clients.items()}
            each = held_out.client_accuracies(
                self.model, shared, private, num_clients=len(self._clients)
            )
            accuracy = plain_mean(each)
        else:
            accuracy = held_out.accuracy(self.model, shared)
        others = self._strategy.others(progress.server)
        return {
            "accuracy": accuracy,
            "others": {
                name: held_out.accuracy(self.model, {**self.start, **arrays})
                for name, arrays in others.items()
            },
        }


def begin(
    model: nn.Module, strategy: Strategy, *, num_clients: int, sample: int | None
) -> ServerState:
    """The strategy's state before the first round, from this model."""
    return strategy.init(
        ServerState(
            arrays=starting_arrays(model),
            parameters=frozenset(name for name, _ in model.named_parameters()),
            num_clients=num_clients,
            per_round=num_clients if sample is None else sample,
        )
    )


def starting_arrays(model: nn.Module) -> dict[str, Tensor]:
    """A copy of its state dict, which nothing that happens to the model changes."""
    return {name: array.detach().to("cpu", copy=True) for name, array in model.state_dict().items()}


def _mean_loss(results: Sequence[LocalResult]) -> float:
    if not results:
        return math.nan
    total = sum(result.loss * result.update.num_samples for result in results)
    return total / sum(result.update.num_samples for result in results)
