"""Federated standardization: one standardizer for all clients, and no client sends a row."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kinestore.federated.communication_cost import NO_TRAFFIC, Traffic
from kinestore.heads import Standardizer
from kinestore.heads.support.standardizer import Moments, combine, moments_of

LEAST_MEASURED = 3
"""Clips of which a mean and a deviation do not yet give the values: those of one clip are its row,
and of two the mean minus and plus the deviation."""


def federated_standardizer(
    features: NDArray[np.float32],
    parts: Sequence[NDArray[np.int64]],
    *,
    num_receivers: int | None = None,
) -> tuple[Standardizer, Traffic]:
    """Merge each client's count, mean and m2 at the server, which sends mean and std back.

    Args:
        features: Rows of all clients, float32, shape (N, D).
        parts: Row numbers of each client that sends statistics, none empty. With no client nothing
            is scaled, and nothing is sent.
        num_receivers: Clients that get the standardizer; None for those that sent statistics.

    Returns:
        The standardizer of these clients' rows together, and its traffic: 8 (1 + 2 D) bytes up for
        each of them, 16 D bytes down for each receiver, and no parameter.
    """
    if not parts:
        width = features.shape[-1]
        return Standardizer(mean=np.zeros(width), std=np.ones(width)), NO_TRAFFIC
    answers = [moments_of(features[part]) for part in parts]
    standardizer = Standardizer.from_moments(combine(answers))
    receivers = len(parts) if num_receivers is None else num_receivers
    traffic = Traffic(
        parameters_up=0,
        parameters_down=0,
        bytes_up=sum(_sent_bytes(answer) for answer in answers),
        bytes_down=receivers * (standardizer.mean.nbytes + standardizer.std.nbytes),
    )
    return standardizer, traffic


def _sent_bytes(moments: Moments) -> int:
    return np.int64().nbytes + moments.mean.nbytes + moments.m2.nbytes
