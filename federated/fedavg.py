"""Federated averaging.

Source: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data",
2017, Algorithm 1: w <- sum_i (n_i / sum n) w_i over the clients of the round. Done differently:
buffers of floats are averaged too and counters take the largest value (the paper's networks have
neither), and sums run in float64 in the order of client numbers, so that no bit depends on who
answered first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from federated._base import ClientUpdate


@dataclass(frozen=True, kw_only=True)
class FedAvgState:
    """The server remembers nothing but the model.

    Attributes:
        arrays: Its state dict.
    """

    arrays: Mapping[str, Tensor]


class FedAvg:
    """The mean of the clients' models, weighted by their numbers of samples."""

    def init(self, arrays: Mapping[str, Tensor]) -> FedAvgState:
        """Start from this state dict."""
        return FedAvgState(arrays=dict(arrays))

    def apply(self, state: FedAvgState, updates: Sequence[ClientUpdate]) -> FedAvgState:
        """Average, or keep the model where there is no update."""
        if not updates:
            return state
        ordered = sorted(updates, key=lambda update: update.client)
        return FedAvgState(arrays={name: _average(name, ordered) for name in state.arrays})


def _average(name: str, updates: Sequence[ClientUpdate]) -> Tensor:
    """One tensor of the next model, in the dtype that the clients sent."""
    first = updates[0].arrays[name]
    if not first.is_floating_point():
        return torch.stack([update.arrays[name] for update in updates]).amax(0)
    weighted_sum = torch.zeros_like(first, dtype=torch.float64)
    for update in updates:
        weighted_sum += update.arrays[name].double() * update.num_samples
    return (weighted_sum / sum(update.num_samples for update in updates)).to(first.dtype)


def build() -> FedAvg:
    """Federated averaging has no settings."""
    return FedAvg()
