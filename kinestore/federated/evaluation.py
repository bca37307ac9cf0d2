"""Accuracy of federated models, after a round and at the end.

Shape legend: N samples, n of them, K classes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kinestore.federated.state import Arrays
from kinestore.store import UsageError

Predict = Callable[[nn.Module, NDArray[np.int64]], Tensor]
"""Logits (n, K) that a model gives the samples of these numbers, int64, shape (n,)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """Test samples.

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

    def accuracy(
        self, model: nn.Module, arrays: Arrays, numbers: NDArray[np.int64] | None = None
    ) -> float:
        """Return the top-1 of this state dict on all samples, or on some; NaN without any.

        Args:
            model: A network to work in.
            arrays: State dict to load.
            numbers: int64, shape (n,).
        """
        if numbers is None:
            numbers = np.arange(len(self.labels))
        if not len(numbers):
            return float("nan")
        model.load_state_dict(dict(arrays))
        predicted = self.predict(model, numbers).argmax(1)
        return float((predicted == self.labels[numbers]).double().mean())

    def client_accuracies(
        self, model: nn.Module, common: Arrays, private: Mapping[int, Arrays], *, num_clients: int
    ) -> list[float]:
        """Return the top-1 of each client's own model on its own samples.

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
    """Return the mean over clients that have a fraction, each counted once; NaN without any."""
    known = [fraction for fraction in fractions if fraction == fraction]
    return float(torch.tensor(known, dtype=torch.float64).mean())
