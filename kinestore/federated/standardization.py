"""Federated standardization: one standardizer for all clients, and no client sends a row."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kinestore.federated.communication_cost import Traffic
from kinestore.heads import Standardizer
from kinestore.heads.support.standardizer import Moments, combine, moments_of


def federated_standardizer(
    features: NDArray[np.float32], parts: Sequence[NDArray[np.int64]]
) -> tuple[Standardizer, Traffic]:
    """Merge each client's count, mean and m2 at the server, which sends mean and std back.

    Args:
        features: Rows of all clients, float32, shape (N, D).
        parts: Each client's row numbers, none empty.

    Returns:
        The standardizer of all the clients' rows together, and its traffic: 8 (1 + 2 D) bytes up
        and 16 D bytes down for each client, and no parameter.
    """
    answers = [moments_of(features[part]) for part in parts]
    standardizer = Standardizer.from_moments(combine(answers))
    traffic = Traffic(
        parameters_up=0,
        parameters_down=0,
        bytes_up=sum(_sent_bytes(answer) for answer in answers),
        bytes_down=len(parts) * (standardizer.mean.nbytes + standardizer.std.nbytes),
    )
    return standardizer, traffic


def _sent_bytes(moments: Moments) -> int:
    return np.int64().nbytes + moments.mean.nbytes + moments.m2.nbytes
