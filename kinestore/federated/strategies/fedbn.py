"""Federated averaging of all but batch norm, which each client keeps as its own.

Source: Li et al., "FedBN: Federated Learning on Non-IID Features via Local Batch Normalization",
2021, Algorithm 1: scales, shifts and running statistics of batch norm are never sent.
"""

from kinestore.federated.shared_part import SharedPart
from kinestore.federated.strategies.fedavg import FedAvg


def build() -> FedAvg:
    """Build FedBN, for models that have batch norm."""
    return FedAvg(shared_part=SharedPart(private_batch_norm=True))
