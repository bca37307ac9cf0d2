"""The number of threads that small products of matrices are worth."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

SMALL_PASS = 1e9
"""Floating-point operations of a pass below which its threads wait longer than they compute: about
10 ms of one core."""


@contextmanager
def threads_for(model: nn.Module, inputs: Tensor, *, passes: int) -> Iterator[None]:
    """Run a block on one thread if it is small, so that it does not wait for busy cores.

    Two threads wait for each other at every layer. Where other programs use the cores, that takes
    several times as long as the layers do.

    Args:
        model: On the CPU, made of linear layers: each weight is used once for each row or step.
        inputs: Of one pass, shape (B, D) or (B, T, D); frames keep all threads.
        passes: 1 for a forward pass; 3 with its gradients.
    """
    before = torch.get_num_threads()
    num_weights = sum(parameter.numel() for parameter in model.parameters())
    positions = inputs.shape[:-1].numel()
    is_small = inputs.ndim <= 3 and 2 * passes * num_weights * positions < SMALL_PASS
    if before == 1 or not is_small or inputs.device.type != "cpu":
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
