"""Aggregates of many clients' tensors, in float64 and in blocks that stay in a core's cache.

Floating-point results are float64, for the caller to round once; of integers, which count, the
largest value is taken. Shape legend: C clients.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from kinestore.store import UsageError

Aggregate = Callable[[Sequence[Tensor]], Tensor]
"""One tensor from C tensors of one shape and dtype."""

AGGREGATES = ("mean", "median", "trimmed-mean")

BLOCK = 1 << 15
"""Elements that are aggregated together: 256 KiB of float64."""


def mean(tensors: Sequence[Tensor], weights: Sequence[int] | None = None) -> Tensor:
    """Return the mean of C tensors, weighted or, without weights, plain."""
    if weights is None:
        return _by_blocks(tensors, lambda blocks: torch.stack(list(blocks)).double().mean(0))
    total = sum(weights)

    def weighted(blocks: Sequence[Tensor]) -> Tensor:
        result = blocks[0].to(torch.float64, copy=True).mul_(weights[0])
        for block, weight in zip(blocks[1:], weights[1:], strict=True):
            result.add_(block, alpha=weight)
        return result.div_(total)

    return _by_blocks(tensors, weighted)


def median(tensors: Sequence[Tensor]) -> Tensor:
    """Return the median of each coordinate; the mean of the middle two if C is even.

    Source: Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates",
    2018, Definition 1.
    """
    return _mean_of_middle(tensors, dropped=(len(tensors) - 1) // 2)


def trimmed_mean(tensors: Sequence[Tensor], *, trim: float) -> Tensor:
    """Return the mean of each coordinate without its largest and smallest values.

    Source: Yin et al., 2018, Definition 2.

    Args:
        tensors: C of them.
        trim: Share of the clients dropped at either end, from 0 to below 0.5, rounded up to
            clients, as long as one is left.
    """
    wanted = math.ceil(trim * len(tensors) - 1e-9)  # 0.07 of 100 is 7, not 7.000000000000001
    return _mean_of_middle(tensors, dropped=min(wanted, (len(tensors) - 1) // 2))


def robust_aggregate(name: str, *, trim: float) -> Aggregate:
    """Return the aggregate "median" or "trimmed-mean"; `trim` is the latter's."""
    return median if name == "median" else lambda tensors: trimmed_mean(tensors, trim=trim)


def check_aggregate(name: str, *, trim: float) -> None:
    """Raise UsageError if there is no such aggregate, or `trim` is not from 0 to below 0.5."""
    if not 0 <= trim < 0.5:
        raise UsageError(f"trim={trim}: must be from 0 to below 0.5")
    if name not in AGGREGATES:
        raise UsageError(f"aggregate={name!r}: must be one of {', '.join(AGGREGATES)}")


def _mean_of_middle(tensors: Sequence[Tensor], *, dropped: int) -> Tensor:
    def middle(blocks: Sequence[Tensor]) -> Tensor:
        ordered = torch.stack(list(blocks)).double().sort(0).values
        return ordered[dropped : len(ordered) - dropped].mean(0)

    return _by_blocks(tensors, middle)


def _by_blocks(tensors: Sequence[Tensor], reduce: Callable[[Sequence[Tensor]], Tensor]) -> Tensor:
    first = tensors[0]
    if not first.is_floating_point():
        return torch.stack(list(tensors)).amax(0)
    result = torch.empty(first.shape, dtype=torch.float64)
    split = [torch.split(tensor.reshape(-1), BLOCK) for tensor in tensors]
    for target, *blocks in zip(torch.split(result.view(-1), BLOCK), *split, strict=True):
        target.copy_(reduce(blocks))
    return result
