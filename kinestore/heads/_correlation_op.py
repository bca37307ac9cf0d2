"""Dot products of each place of a map with the places around it in another map.

Shape legend: N pairs of maps, H height, W width, C channels, D how far apart two places may be in
height and in width, P = 2 D + 1 displacements each way, R rows that are dealt with at a time.

R rows of places meet the R + 2 D rows around them in one product of matrices. Of what each place
gets, the P x P around it are kept; they lie in the product at the same steps from place to place,
so they are a view. Rows end in D zeros, and there are D rows of zeros above and below, so what lies
outside the map needs no care. The price is about (R + 2 D) (W + D) / P^2 times the multiplications
of the definition, at the speed of matrix products, and no array that is larger than the answer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from kinestore.heads._onednn_linear import inner, worthwhile

PLACES, MORE_PLACES = 56, 112
"""About as many are dealt with at a time; the more where single products are quick."""


def surrounded(maps: Tensor, *, reach: int) -> Tensor:
    """Maps (N, H, W, C) with zeros all around, as `correlate` takes the second ones.

    A row has its D zeros behind it, and those of the row above before it: so there is one row more.

    Returns:
        Shape (N, H + 2 D + 1, W + D or more, C).
    """
    count, height, width, channels = maps.shape
    above, right = reach + 1, max(reach, 2 * reach + 1 - width)  # room for P displacements
    around = maps.new_empty(count, above + height + reach, width + right, channels)
    for outside in (around[:, :above], around[:, above + height :], around[:, :, width:]):
        outside.zero_()  # `pad` would write zeros everywhere first
    around[:, above : above + height, :width] = maps
    return around


def correlate(first: Tensor, around: Tensor, *, reach: int) -> Tensor:
    """S[n, i, j, a, b] = first[n, i, j] . second[n, i + a - D, j + b - D], 0 outside the map.

    Args:
        first: Floating, shape (N, H, W, C).
        around: `surrounded(second, reach=reach)`, of a second of the same shape and dtype.
        reach: D, 0 or more.

    Returns:
        Shape (N, H, W, P, P).
    """
    answer: Tensor = _Correlate.apply(first, around.flatten(1, 2), around.shape[2], reach)
    return answer


def exchanged(volume: Tensor) -> Tensor:
    """The answer of `correlate` for second and first: S'[i, j, a, b] = S[i+a-D, j+b-D, -a, -b]."""
    answer: Tensor = _Exchanged.apply(volume)
    return answer


@dataclass(frozen=True, kw_only=True)
class _Band:
    """A few rows of the first map, and where they and what is around them lie.

    Attributes:
        rows: Of the first map.
        around: Of the second map's places, one after another with their zeros.
        sizes: (R, W, P, P): of the products that are kept.
        steps: How far apart they are in (R W, len(around)).
    """

    rows: slice
    around: slice
    sizes: tuple[int, ...]
    steps: tuple[int, ...]

    def places(self, first: Tensor) -> Tensor:
        """A view of those rows: (N, R W, C)."""
        return first[:, self.rows].flatten(1, 2)

    def kept(self, products: Tensor) -> Tensor:
        """A view of the products (N, R W, len(around)) that are asked for: (N, R, W, P, P)."""
        sizes, steps = (len(products), *self.sizes), (products.stride(0), *self.steps)
        return products.as_strided(sizes, steps)


class _Correlate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, first: Tensor, around: Tensor, pitch: int, reach: int) -> Tensor:
        num_places = 2 * reach + 1
        ctx.pitch, ctx.reach = pitch, reach
        ctx.save_for_backward(first, around)
        volume = first.new_empty(*first.shape[:3], num_places, num_places)
        for band in _bands(first, pitch, reach):
            for maps, products in _inner(band.places(first), around[:, band.around]):
                volume[maps, band.rows] = band.kept(products)
        return volume

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        first, around = ctx.saved_tensors
        to_first, to_around = torch.empty_like(first), torch.zeros_like(around)
        for band in _bands(first, ctx.pitch, ctx.reach):
            places, near = band.places(first), around[:, band.around]
            products = first.new_zeros(*places.shape[:2], near.shape[1])
            band.kept(products).copy_(grad[:, band.rows])
            for maps, answer in _inner(products, near.mT):
                band.places(to_first)[maps] = answer
            for maps, answer in _inner(products.mT, places.mT):
                to_around[maps, band.around] += answer
        return to_first, to_around, None, None


class _Exchanged(torch.autograd.Function):
    """Its own inverse but for what lies outside the map, and so its own gradient."""

    @staticmethod
    def forward(ctx: Any, volume: Tensor) -> Tensor:
        return _exchange(volume)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _exchange(grad)


def _inner(left: Tensor, right: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield left right^T of all maps at once, or of one after another where that is quicker."""
    if not worthwhile(left[:1], right.shape[1]):
        yield slice(None), torch.bmm(left, right.mT)
        return
    for number, (one, other) in enumerate(zip(left, right, strict=True)):
        yield slice(number, number + 1), inner(one, other)[None]


def _bands(first: Tensor, pitch: int, reach: int) -> Iterator[_Band]:
    """All rows, a few at a time; pitch is from a place to the one below it in the second map."""
    _, height, width, _ = first.shape
    num_places = 2 * reach + 1
    most = max(1, (MORE_PLACES if worthwhile(first[:1], PLACES) else PLACES) // width)
    for top in range(0, height, most):
        num_rows = min(most, height - top)
        end = (top + num_rows + 2 * reach + 1) * pitch
        start = (top + 1) * pitch - reach
        yield _Band(
            rows=slice(top, top + num_rows),
            around=slice(start, end),
            sizes=(num_rows, width, num_places, num_places),
            steps=(width * (end - start) + pitch, end - start + 1, pitch, 1),
        )


def _exchange(volume: Tensor) -> Tensor:
    reach = volume.shape[-1] // 2
    padded = pad(volume, (0, 0, 0, 0, reach, reach, reach, reach))
    step_n, step_i, step_j, step_a, step_b = padded.stride()
    return padded.as_strided(
        volume.shape,
        (step_n, step_i, step_j, step_i - step_a, step_j - step_b),
        2 * reach * (step_a + step_b),
    ).contiguous()
