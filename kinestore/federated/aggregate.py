"""Many clients' tensors into one, in float64 and in blocks that stay in a core's cache.

Shape legend: C clients.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from kinestore.store import UsageError

Aggregate = Callable[[Sequence[Tensor], Sequence[int]], Tensor]
"""Of C tensors of one shape and dtype, and each client's number of samples."""

BLOCK = 1 << 15
"""Elements that are taken together: 256 KiB of float64."""


def mean(tensors: Sequence[Tensor], num_samples: Sequence[int]) -> Tensor:
    """Mean weighted by numbers of samples; a counter takes the largest value instead."""
    total = sum(num_samples)

    def weighted(blocks: Sequence[Tensor]) -> Tensor:
        result = blocks[0].to(torch.float64, copy=True).mul_(num_samples[0])
        for block, weight in zip(blocks[1:], num_samples[1:], strict=True):
            result.add_(block, alpha=weight)
        return result.div_(total)

    return _by_blocks(tensors, weighted)


def median(tensors: Sequence[Tensor], num_samples: Sequence[int]) -> Tensor:
    """Median of each coordinate, every client counted once; the mean of the middle two if even.

    Source: Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates",
    2018, Definition 1.
    """
    return _trimmed(tensors, cut=(len(tensors) - 1) // 2)


def trimmed_mean(tensors: Sequence[Tensor], num_samples: Sequence[int], *, trim: float) -> Tensor:
    """Mean of each coordinate without its largest and smallest values, every client counted once.

    Source: Yin et al., 2018, Definition 2.

    Args:
        tensors: C of them.
        num_samples: Not used.
        trim: Share of the clients cut from either end, from 0 to below 0.5, rounded up to clients,
            as long as one is left.
    """
    wanted = math.ceil(trim * len(tensors) - 1e-9)  # 0.07 of 100 is 7, not 7.000000000000001
    cut = min(wanted, (len(tensors) - 1) // 2)
    return _trimmed(tensors, cut=cut)


def _trimmed(tensors: Sequence[Tensor], *, cut: int) -> Tensor:
    def middle(blocks: Sequence[Tensor]) -> Tensor:
        ordered = torch.stack(list(blocks)).double().sort(0).values
        return ordered[cut : len(ordered) - cut].mean(0)

    return _by_blocks(tensors, middle)


def _by_blocks(tensors: Sequence[Tensor], reduce: Callable[[Sequence[Tensor]], Tensor]) -> Tensor:
    first = tensors[0]
    if not first.is_floating_point():
        return torch.stack(list(tensors)).amax(0)
    result = torch.empty_like(first, memory_format=torch.contiguous_format)
    split = [torch.split(tensor.reshape(-1), BLOCK) for tensor in tensors]
    for target, *blocks in zip(torch.split(result.view(-1), BLOCK), *split, strict=True):
        target.copy_(reduce(blocks))
    return result


def create(name: str, *, trim: float) -> Aggregate:
    """The aggregate "mean", "median" or "trimmed-mean"; `trim` is the last one's.

    Raises:
        UsageError: If there is no such aggregate, or `trim` is not from 0 to below 0.5.
    """
    if not 0 <= trim < 0.5:
        raise UsageError(f"trim={trim}: must be from 0 to below 0.5")
    known: dict[str, Aggregate] = {
        "mean": mean,
        "median": median,
        "trimmed-mean": lambda tensors, samples: trimmed_mean(tensors, samples, trim=trim),
    }
    if name not in known:
        raise UsageError(f"aggregate={name!r}: must be one of {', '.join(known)}")
    return known[name]
