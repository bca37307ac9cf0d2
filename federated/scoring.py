"""How good a federated model is, in the round and at the end.

Shape legend: N rows, D features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from federated._base import Arrays
from heads import predict
from store import UsageError


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Rows that nobody trains on.

    Attributes:
        features: float32, shape (N, D) or (N, T, D).
        labels: int64, shape (N,).
        parts: Each client's own rows among them; None where every client is scored on all.
    """

    features: Tensor
    labels: Tensor
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

    def right(self, model: nn.Module, arrays: Arrays) -> NDArray[np.bool_]:
        """Whether this state dict has each row right, shape (N,)."""
        model.load_state_dict(dict(arrays))
        right: NDArray[np.bool_] = (predict(model, self.features).argmax(1) == self.labels).numpy()
        return right

    def accuracy(self, model: nn.Module, arrays: Arrays) -> float:
        """Fraction of the rows that this state dict has right."""
        return float(self.right(model, arrays).mean())

    def client_accuracies(
        self, model: nn.Module, common: Arrays, private: Mapping[int, Arrays], *, num_clients: int
    ) -> list[float]:
        """Each client's fraction of its own rows that its own model has right; NaN without rows.

        Args:
            model: A network to work in.
            common: State dict of a client without private tensors of its own.
            private: Private tensors of the clients that have some.
            num_clients: C.
        """
        of_common = self.right(model, common)
        fractions = []
        for client in range(num_clients):
            right = of_common
            if client in private:
                right = self.right(model, {**common, **private[client]})
            own = right if self.parts is None else right[self.parts[client]]
            fractions.append(float(own.mean()) if len(own) else float("nan"))
        return fractions


def plain_mean(fractions: Sequence[float]) -> float:
    """Of the clients that have a fraction, each counted once; NaN where none has."""
    known = torch.tensor([fraction for fraction in fractions if fraction == fraction])
    return float(known.double().mean())
