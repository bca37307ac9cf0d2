"""Activation checkpointing: activations of a stage are dropped and computed again.

Source: Training Deep Nets with Sublinear Memory Cost (2016).
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from kinestore.store import UsageError


def checkpoint_stages(net: nn.Module, clip: Tensor) -> list[str]:
    """Let each stage of a network compute its activations again in the backward pass.

    A stage is an outermost `nn.Sequential` with parameters, as torchvision's networks are made of;
    where all its parts are such ones in turn, they are the stages. Gradients stay the same,
    dropout included, and batch norm counts a batch once.

    Args:
        net: Changed in place; left in evaluation mode.
        clip: A batch of one, which is passed through it to see that it calls its stages.

    Returns:
        The stages' names.

    Raises:
        UsageError: If it has none, or reaches into them instead of calling them.
    """
    stages = dict(_stages(net, ""))
    called: set[nn.Module] = set()
    for stage in stages.values():
        stage.forward = partial(_checkpointed, stage, stage.forward, called)
    with torch.inference_mode():
        net.eval()(clip)
    missed = [name for name, stage in stages.items() if stage not in called]
    if missed or not stages:
        which = f"does not call {missed[0]} as a whole" if missed else "has no nn.Sequential"
        raise UsageError(f"activation_checkpointing: the network {which}; leave it out")
    return list(stages)


def _stages(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        if isinstance(child, nn.Sequential) and not _holds_stages(child):
            if any(True for _ in child.parameters()):
                yield prefix + name, child
        else:
            yield from _stages(child, f"{prefix}{name}.")


def _holds_stages(module: nn.Sequential) -> bool:
    return all(isinstance(child, nn.Sequential) for child in module)


def _checkpointed(
    stage: nn.Module, forward: Callable[..., Any], called: set[nn.Module], *inputs: Any
) -> Any:
    called.add(stage)
    if not stage.training:
        return forward(*inputs)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _batch_norm_does_not_count(stage)

    return checkpoint(forward, *inputs, use_reentrant=False, context_fn=contexts)


@contextmanager
def _batch_norm_does_not_count(stage: nn.Module) -> Iterator[None]:
    """Keep the running statistics as the first pass left them."""
    counting = [module for module in stage.modules() if isinstance(module, _BatchNorm)]
    kept = [(module, module.momentum, module.num_batches_tracked) for module in counting]
    for module in counting:  # they are still read: what is saved must be the same
        module.momentum, module.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for module, momentum, count in kept:
            module.momentum, module.num_batches_tracked = momentum, count
