"""How good a federated model is, in the round and at the end.

Shape legend: N samples, n of them, K classes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kinestore.federated.strategy import Arrays
from kinestore.store import UsageError

Predict = Callable[[nn.Module, NDArray[np.int64]], Tensor]
"""Logits (n, K) that a model gives the samples of these numbers, int64, shape (n,)."""


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Samples that nobody trains on.

    Attributes:
        labels: int64, shape (N,).
        predict: Asks a model for some of them.
        parts: Each client's own samples among them; None where every client is scored on all.
    """

    labels: Tensor
    predict: Predict
    parts: Sequence[NDArray[np.int64]] | None

    def check(self, num_clients: int) -> None:
        """Refuse parts that do not fit."""
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

    def accuracy(
        self, model: nn.Module, arrays: Arrays, numbers: NDArray[np.int64] | None = None
    ) -> float:
        """Fraction of all samples, or of some, that this state dict has right; NaN of none.

        Args:
            model: A network to work in.
            arrays: What its weights become.
            numbers: int64, shape (n,).
        """
        if numbers is None:
            numbers = np.arange(len(self.labels))
        if not len(numbers):
            return float("nan")
        model.load_state_dict(dict(arrays))
        said = self.predict(model, numbers).argmax(1)
        return float((said == self.labels[numbers]).double().mean())

    def client_accuracies(
        self, model: nn.Module, common: Arrays, private: Mapping[int, Arrays], *, num_clients: int
    ) -> list[float]:
        """Each client's fraction of its own samples that its own model has right.

        Args:
            model: A network to work in.
            common: State dict of a client without private tensors of its own.
            private: Private tensors of the clients that have some.
            num_clients: C.

        Returns:
            C fractions, NaN for a client without samples.
        """
        return [
            self.accuracy(
                model,
                {**common, **private.get(client, {})},
                None if self.parts is None else self.parts[client],
            )
            for client in range(num_clients)
        ]


def plain_mean(fractions: Sequence[float]) -> float:
    """Of the clients that have a fraction, each counted once; NaN where none has."""
    known = torch.tensor([fraction for fraction in fractions if fraction == fraction])
    return float(known.double().mean())
