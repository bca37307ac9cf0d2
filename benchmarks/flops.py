"""Number of floating-point operations, and the peak rate of this machine."""

import time
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def flops_of(run: Callable[[], object]) -> int:
    """Floating-point operations of one call, two for a multiplication and an addition."""
    with FlopCounterMode(display=False) as counter:
        run()
    total: int = counter.get_total_flops()
    return total


def peak_flops() -> float:
    """A second's on the CPU in float32, of a product of two squares or of a convolution."""
    left, right = torch.randn(2, 2048, 2048).unbind()
    out = torch.empty(2048, 2048)
    conv = nn.Conv2d(512, 512, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    maps = torch.randn(16, 512, 28, 28).contiguous(memory_format=torch.channels_last)
    products: dict[Callable[[], object], int] = {
        lambda: torch.mm(left, right, out=out): 2 * 2048**3,
        lambda: conv(maps): 2 * 16 * 28 * 28 * 9 * 512**2,
    }
    with torch.inference_mode():
        return max(flops / _quickest(run, 10) for run, flops in products.items())


def gpu_peak_flops() -> float:
    """A second's on the GPU in bfloat16, of a product of two squares."""
    side = 8192
    left, right = torch.randn(2, side, side, device="cuda", dtype=torch.bfloat16).unbind()

    def multiply() -> None:
        torch.mm(left, right)
        torch.cuda.synchronize()

    return 2 * side**3 / _quickest(multiply, 20)


def _quickest(run: Callable[[], object], times: int) -> float:
    """Seconds of the fastest of some calls."""
    run()
    best = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - began)
    return best
