"""Matrix products with the faster library on this machine.

PyTorch computes float32 products with MKL, which uses its AVX-512 kernels only on Intel processors.
On other processors oneDNN, which PyTorch uses for convolutions, is about twice as fast, but
`F.linear` and its gradients do not use it. The layers here do, for products that are large enough.

Shape legend: M rows, I features in, O features out.
"""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

LEAST_WORK = 2**22
"""Multiplications from which oneDNN is used: below half of it MKL is faster."""

CPU_INFO = Path("/proc/cpuinfo")


class Linear(nn.Linear):
    """`torch.nn.Linear` with the faster library."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer, (..., I) -> (..., O), as `torch.nn.Linear` does."""
        if not worthwhile(input, self.out_features):
            return super().forward(input)
        answer: Tensor = _Linear.apply(input, self.weight, self.bias)
        return answer


def quicken(network: nn.Module) -> nn.Module:
    """Turn all `torch.nn.Linear` layers of a network into `Linear`, in place; weights stay."""
    for layer in network.modules():
        if type(layer) is nn.Linear:
            layer.__class__ = Linear
    return network


def worthwhile(rows: Tensor, features_out: int) -> bool:
    """Return whether `inner` is faster for rows (..., I) times the transpose of (O, I)."""
    return (
        rows.numel() * features_out >= LEAST_WORK
        and rows.dtype is torch.float32
        and rows.device.type == "cpu"
        and onednn_is_quicker()
        and not torch.is_autocast_enabled("cpu")
    )


@cache
def onednn_is_quicker() -> bool:
    """Return whether oneDNN is faster than MKL on this processor."""
    return (
        torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and _vendor() != "GenuineIntel"
    )


def inner(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute left right^T + bias with oneDNN, float32 on the CPU: (..., I), (O, I) -> (..., O)."""
    answer: Tensor = torch.ops.mkldnn._linear_pointwise(left, right, bias, "none", [], "")
    return answer


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return inner(rows, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        rows, weight = ctx.saved_tensors
        to_rows, to_weight, to_bias = ctx.needs_input_grad
        rows_MI, grad_MO = (array.reshape(-1, array.shape[-1]) for array in (rows, grad))
        return (
            inner(grad, weight.t()) if to_rows else None,
            inner(grad_MO.t(), rows_MI.t()) if to_weight else None,
            grad_MO.sum(0) if to_bias else None,
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Tensor | None) -> tuple[Tensor, int]:
        """Compute many layers at once, with torch's own product."""
        return torch.vmap(linear, in_dims)(*inputs), 0  # type: ignore[arg-type]


def _vendor() -> str:
    """Return the vendor of the processor; "GenuineIntel" if it is unknown."""
    if CPU_INFO.is_file():
        for line in CPU_INFO.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "vendor_id":
                return value.strip()
    return "GenuineIntel"
