"""Accuracy of federated models, after a round and at the end.

Shape legend: N samples, n of them, K classes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from kinestore.federated.state import Arrays
from kinestore.heads import among_best
from kinestore.store import UsageError

Predict = Callable[[nn.Module, NDArray[np.int64]], Tensor]
"""Logits (n, K) that a model gives the samples of these numbers, int64, shape (n,)."""


class ClientHits(NamedTuple):
    """Samples of one client that a model predicted correctly.

    Attributes:
        client: The client's number.
        num_clips: Samples that were scored.
        top1: Those whose highest logit is their class.
        top5: Those whose class is among the five highest logits.
    """

    client: int
    num_clips: int
    top1: int
    top5: int

    @classmethod
    def of(cls, client: int, found: NDArray[np.bool_]) -> "ClientHits":
        """Count hits, shape (2, n)."""
        top1, top5 = (int(kind.sum()) for kind in found)
        return cls(client=client, num_clips=found.shape[1], top1=top1, top5=top5)


@dataclass(frozen=True, kw_only=True)
class ModelScores:
    """Accuracies after a round.

    Attributes:
        top1: Fraction of the samples, or the plain mean over clients with their own models.
        top5: The same for the five highest logits.
        loss: Mean cross-entropy, over the same.
        clients: Hits of each client, where samples belong to clients.
    """

    top1: float
    top5: float
    loss: float
    clients: tuple[ClientHits, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """Test or validation samples.

    Attributes:
        labels: int64, shape (N,).
        predict: A model's logits of some of them.
        parts: Each client's own samples among them; None where every client is scored on all.
    """

    labels: Tensor
    predict: Predict
    parts: Sequence[NDArray[np.int64]] | None

    def check(self, num_clients: int) -> None:
        """Raise UsageError if the parts do not fit the clients or the labels."""
        if self.parts is None:
            return
        if len(self.parts) != num_clients:
            raise UsageError(f"test_parts: {len(self.parts)} of them for {num_clients} clients")
        for client, part in enumerate(self.parts):
            if len(part) and not 0 <= part.min() <= part.max() < len(self.labels):
                raise UsageError(
                    f"test_parts: client {client} has a row that is not from 0 to "
                    f"{len(self.labels) - 1}"
                )

    def score(self, model: nn.Module, arrays: Arrays) -> ModelScores:
        """Return the accuracies of one state dict on all samples, and its hits by client.

        Args:
            model: A network to work in.
            arrays: State dict to load.
        """
        found, losses = self._find(model, arrays, np.arange(len(self.labels)))
        return ModelScores(
            top1=_mean(found[0]),
            top5=_mean(found[1]),
            loss=_mean(losses),
            clients=tuple(
                ClientHits.of(client, found[:, part])
                for client, part in enumerate(self.parts or ())
            ),
        )

    def score_clients(
        self, model: nn.Module, common: Arrays, private: Mapping[int, Arrays], *, num_clients: int
    ) -> ModelScores:
        """Return plain means over the clients, each with its own model on its own samples.

        Args:
            model: A network to work in.
            common: State dict of a client without private tensors of its own.
            private: Private tensors of the clients that have some.
            num_clients: C.
        """
        every = np.arange(len(self.labels))
        hits, means = [], []
        for client in range(num_clients):
            part = every if self.parts is None else self.parts[client]
            found, losses = self._find(model, {**common, **private.get(client, {})}, part)
            hits.append(ClientHits.of(client, found))
            means.append([_mean(values) for values in (*found, losses)])
        top1, top5, loss = map(plain_mean, zip(*means, strict=True))
        return ModelScores(top1=top1, top5=top5, loss=loss, clients=tuple(hits))

    def _find(
        self, model: nn.Module, arrays: Arrays, numbers: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Return whether the label is the best, and among the five best: (2, n); and losses (n)."""
        if not len(numbers):
            return np.zeros((2, 0), np.bool_), np.zeros(0, np.float32)
        model.load_state_dict(dict(arrays))
        logits, labels = self.predict(model, numbers), self.labels[numbers]
        hits = np.stack([(logits.argmax(1) == labels).numpy(), among_best(logits, labels, 5)])
        return hits, cross_entropy(logits, labels, reduction="none").float().numpy()


def _mean(values: NDArray[np.bool_] | NDArray[np.float32]) -> float:
    """Return the mean, of hits the fraction; NaN of none."""
    return float(values.mean(dtype=np.float64)) if len(values) else float("nan")


def plain_mean(values: Sequence[float]) -> float:
    """Return the mean over clients that have a value, each counted once; NaN without any."""
    known = [value for value in values if value == value]
    return float(torch.tensor(known, dtype=torch.float64).mean())
