"""Time and memory of one clip on this machine, with random weights."""

import copy
import resource
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from kinestore.heads.support.device import choose_device

_REPETITIONS = 3

Measured = tuple[float | None, int | None, str | None]
"""Milliseconds, bytes, and the kind of device."""


def measure_clip(
    model: nn.Module,
    inputs: Tensor,
    *,
    run: Callable[[Any, Tensor], object] | None,
    wanted: bool = True,
) -> Measured:
    """Run one clip through a network of random weights, on a GPU if there is one.

    Args:
        model: On any device; it is copied.
        inputs: Input of one clip; only its shape counts.
        run: Calls the network; by default with the inputs alone.
        wanted: Whether to measure at all.

    Returns:
        The median of three runs after a first one; the most memory that weights and runs took
        together, on a CPU by the growth of the process; and the device.
    """
    if not wanted:
        return None, None, None
    device = choose_device("auto")
    before = _peak(device)
    network = _with_random_weights(model, device)
    pixels = torch.zeros(inputs.shape, device=device)
    times = []
    with torch.inference_mode():
        for _ in range(1 + _REPETITIONS):
            started = time.perf_counter()
            _ = network(pixels) if run is None else run(network, pixels)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - started)
    return 1000 * median(times[1:]), max(0, _peak(device) - before), device.type


def _with_random_weights(model: nn.Module, device: torch.device) -> nn.Module:
    """Return a copy with small random parameters, variances of 1, and position numbers kept."""
    kept = {name: b.clone() for name, b in model.named_buffers() if not b.is_meta}
    network = copy.deepcopy(model).to_empty(device=device).eval()
    generator = torch.Generator(device).manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.02, generator=generator)
        for name, buffer in network.named_buffers():
            if name in kept:
                buffer.copy_(kept[name])
            else:
                buffer.fill_(1 if name.endswith("running_var") else 0)
    return network


def _peak(device: torch.device) -> int:
    """Return the largest memory so far, in bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
