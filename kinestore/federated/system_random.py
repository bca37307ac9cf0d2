"""Random numbers from the system's generator, which no seed gives again."""

import secrets

import numpy as np
import torch
from torch import Tensor


def system_normal(shape: torch.Size) -> Tensor:
    """Return standard normal numbers, float64, that nobody can draw again.

    Each is the quantile of a number of 53 random bits from the operating system, so that none is
    beyond 8.3. They do not depend on any state of this process.
    """
    drawn = np.frombuffer(secrets.token_bytes(8 * shape.numel()), np.uint64) >> np.uint64(11)
    quantiles = torch.from_numpy((drawn.astype(np.float64) + 0.5) / 2**53)
    normal: Tensor = torch.special.ndtri(quantiles)
    return normal.reshape(shape)
