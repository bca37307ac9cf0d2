"""Differential nets small enough for a test, and numbers for them."""

from typing import Any

import torch
from torch import Tensor, nn

from kinestore.heads import create
from kinestore.heads.differential import DifferentialNet

SMALL: dict[str, Any] = {"num_segments": 3, "layers": (1, 1, 1, 1), "width": 16, "dropout": 0.0}


def small(num_classes: int = 4, *, seed: int = 0, **settings: Any) -> DifferentialNet:
    net = create("differential", seed=seed, num_classes=num_classes, **{**SMALL, **settings})
    assert isinstance(net, DifferentialNet)
    return net


def on_paper(num_classes: int = 101, **settings: Any) -> Any:
    """The net with shapes and no numbers."""
    with torch.device("meta"):
        return create("differential", num_classes=num_classes, **settings)


def count(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def clips(num_clips: int = 2, num_segments: int = 3, *, size: int = 64, seed: int = 0) -> Tensor:
    return draw(num_clips, num_segments, 5, 3, size, size, seed=seed)


def unsettle(module: nn.Module, *, seed: int = 0) -> nn.Module:
    """Weights and batch norms as no initialisation leaves them, in float64 and for evaluation."""
    generator = torch.Generator().manual_seed(seed)
    module.double().eval()
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2, generator=generator)
            elif tensor.is_floating_point():
                tensor.normal_(0, 0.5, generator=generator)
    return module
