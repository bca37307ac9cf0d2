"""Parameters and multiply-adds of a model, counted without running it on numbers."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kinestore.heads import defined_products

_ATTENTION = ("aten.bmm", "aten.baddbmm", "attention")
"""Beginnings, or parts, of operations that multiply activations with activations."""


@dataclass(frozen=True, kw_only=True)
class Operations:
    """Multiply-adds of a forward pass.

    Attributes:
        macs: Those of convolutions, linear and recurrent layers, and correlations; norms and
            activations are not counted.
        attention_macs: Those of attention: queries with keys, and weights with values.
    """

    macs: int
    attention_macs: int


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Return the parameters of a model, and those that are trained; shared ones count once."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(size for size, _ in sizes), sum(size for size, trained in sizes if trained)


def count_operations(
    model: nn.Module, inputs: Tensor, *, run: Callable[[Any, Tensor], object] | None = None
) -> Operations:
    """Count the multiply-adds of one clip in evaluation mode.

    Args:
        model: A network; it is copied to the meta device, and not changed.
        inputs: Input of one clip; only its shape and dtype count.
        run: Calls the network; by default with the inputs alone.
    """
    on_meta = copy.deepcopy(model).to("meta").eval()
    pixels = inputs.to("meta")
    with torch.no_grad(), defined_products(on_meta) as products:
        with FlopCounterMode(display=False) as counter:
            (run or _call)(on_meta, pixels)
        counted: Mapping[Any, int] = counter.get_flop_counts().get("Global", {})
    by_name = {str(operation): flops // 2 for operation, flops in counted.items()}
    attention = sum(n for name, n in by_name.items() if any(part in name for part in _ATTENTION))
    if products:  # correlations are counted as they are defined, not as they are computed
        attention = 0
    layers = sum(n for name, n in by_name.items() if all(part not in name for part in _ATTENTION))
    return Operations(macs=layers + sum(products), attention_macs=attention)


def _call(model: nn.Module, inputs: Tensor) -> object:
    return model(inputs)
