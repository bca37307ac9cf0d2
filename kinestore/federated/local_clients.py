"""Clients in one process: one after another, or vectorized on a GPU."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from kinestore.federated.client_data import LocalData
from kinestore.federated.client_update import LocalConfig, local_update
from kinestore.federated.clients import Answers, RoundScores
from kinestore.federated.config import RoundsConfig
from kinestore.federated.evaluation import HeldOut, ModelScores
from kinestore.federated.model_parts import private_arrays, starting_arrays
from kinestore.federated.run_state import RunState
from kinestore.federated.state import Arrays, ClientState
from kinestore.federated.vectorized_clients import VectorizedClients, can_vectorize
from kinestore.heads.support.device import choose_device


class LocalClients:
    """Clients whose samples are in this process.

    Args:
        model: A network to work in, which holds the first weights.
        data: Samples of each client.
        config: Strategy, seed and device.
        held_out: Samples to score each round's model on; None for none.
        validation: Samples to choose the best round by; None for none.
    """

    quorum = 1

    def __init__(
        self,
        model: nn.Module,
        data: Sequence[LocalData],
        config: RoundsConfig,
        *,
        held_out: HeldOut | None,
        validation: HeldOut | None,
    ) -> None:
        self._model, self._data, self._config = model, data, config
        self._held_out, self._validation = held_out, validation
        self._start = starting_arrays(model)
        self._unsent = private_arrays(model, config)
        self.sizes = [len(each) for each in data]
        self._vectorized = self._vectorize(choose_device(config.device))

    def identities(self) -> Sequence[str]:
        """Return a hash of each client's samples and of how they are trained on."""
        return [each.identity() for each in self._data]

    def train(self, run: RunState, configs: Sequence[LocalConfig]) -> Answers:
        """Train one client after another, or all at once."""
        arrays, first = run.server.arrays, ClientState(private=self._unsent)
        states = [run.clients.get(config.client, first) for config in configs]
        if self._vectorized is not None:
            return Answers(results=self._vectorized.update(arrays, configs, states))
        return Answers(
            results=[
                local_update(
                    arrays, config, state, model=self._model, data=self._data[config.client]
                )
                for config, state in zip(configs, states, strict=True)
            ]
        )

    def score(self, run: RunState, others: Mapping[str, Arrays]) -> RoundScores:
        """Score on the samples that are held out here."""
        test, validation = (
            None if samples is None else self._score(run, samples)
            for samples in (self._held_out, self._validation)
        )
        return RoundScores(
            test=test,
            validation=validation,
            others={
                name: self._held_out.score(self._model, {**self._start, **arrays}).top1
                for name, arrays in others.items()
                if self._held_out is not None
            },
        )

    def _score(self, run: RunState, samples: HeldOut) -> ModelScores:
        shared = {**self._start, **run.server.arrays}
        if not self._unsent:
            return samples.score(self._model, shared)
        private = {client: state.private for client, state in run.clients.items()}
        return samples.score_clients(self._model, shared, private, num_clients=len(self._data))

    def _vectorize(self, device: torch.device) -> VectorizedClients | None:
        """Return vectorized clients on a GPU, where that is possible."""
        if device.type != "cuda" or not self._config.is_flat:
            return None
        if not can_vectorize(self._model, self._data):
            return None
        proximal = bool(self._config.algorithm.strategy.proximal_term(1.0).coefficient)
        return VectorizedClients(self._model, self._data, proximal=proximal, device=device)
