"""Noise of federated rounds that comes again, so that tests can compare runs to the bit."""

import pytest
import torch
from torch import Tensor


def fix_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let noise depend on its shape alone."""

    def drawn(shape: torch.Size) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    monkeypatch.setattr("kinestore.federated.stages.system_normal", drawn)
