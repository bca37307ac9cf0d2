"""Dot products of each position of a map with the neighboring positions in another map.

Shape legend: N pairs of maps, H height, W width, C channels, D largest displacement in
height and in width, P = 2 D + 1 displacements per axis, R rows processed at a time.

R rows of positions are multiplied with the R + 2 D rows around them in one matrix product. For each
position, only the P x P products around it are used. They have constant strides in the product, so
they are a view of it. Rows end in D zeros, and D rows of zeros are above and below, so positions
outside the map need no special case. The cost is about (R + 2 D) (W + D) / P^2 times the
multiplications of the definition, at the speed of matrix products, and no array is larger than the
result.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

_NUM_POSITIONS = 56
"""Approximate number of positions processed at a time."""


def surrounded(maps: Tensor, *, reach: int) -> Tensor:
    """Pad maps (N, H, W, C) with zeros on all sides, as the second argument of `correlate`.

    A row has its D zeros at the end, and those of the row above before it. So there is an extra
    row.

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
    """Compute S[n, i, j, a, b] = first[n, i, j] . second[n, i + a - D, j + b - D].

    It is 0 outside the map.

    Args:
        first: Floating point, shape (N, H, W, C).
        around: `surrounded(second, reach=reach)`, for a second map of the same shape and dtype.
        reach: D, 0 or more.

    Returns:
        Shape (N, H, W, P, P).
    """
    answer: Tensor = _Correlate.apply(first, around.flatten(1, 2), around.shape[2], reach)
    return answer


def exchanged(volume: Tensor) -> Tensor:
    """Return `correlate` with its arguments exchanged: S'[i, j, a, b] = S[i+a-D, j+b-D, -a, -b]."""
    answer: Tensor = _Exchanged.apply(volume)
    return answer


@dataclass(frozen=True, kw_only=True)
class _Band:
    """A few rows of the first map, and the positions around them in the second map.

    Attributes:
        rows: Rows of the first map.
        around: Positions of the second map, flattened, with their zeros.
        sizes: (R, W, P, P), the shape of the products that are used.
        steps: Their strides in (R W, len(around)).
    """

    rows: slice
    around: slice
    sizes: tuple[int, ...]
    steps: tuple[int, ...]

    def places(self, first: Tensor) -> Tensor:
        """Return a view of those rows: (N, R W, C)."""
        return first[:, self.rows].flatten(1, 2)

    def used(self, products: Tensor) -> Tensor:
        """Return a view (N, R, W, P, P) of the products (N, R W, len(around)) that are used."""
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
            products = torch.bmm(band.places(first), around[:, band.around].mT)
            volume[:, band.rows] = band.used(products)
        return volume

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        first, around = ctx.saved_tensors
        to_first, to_around = torch.empty_like(first), torch.zeros_like(around)
        for band in _bands(first, ctx.pitch, ctx.reach):
            places, near = band.places(first), around[:, band.around]
            products = first.new_zeros(*places.shape[:2], near.shape[1])
            band.used(products).copy_(grad[:, band.rows])
            band.places(to_first)[:] = torch.bmm(products, near)
            to_around[:, band.around] += torch.bmm(products.mT, places)
        return to_first, to_around, None, None


class _Exchanged(torch.autograd.Function):
    """Exchange of the two maps, which is its own gradient."""

    @staticmethod
    def forward(ctx: Any, volume: Tensor) -> Tensor:
        return _exchange(volume)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _exchange(grad)


def _bands(first: Tensor, pitch: int, reach: int) -> Iterator[_Band]:
    """Yield all rows, a few at a time; pitch is the stride of a row in the second map."""
    _, height, width, _ = first.shape
    num_places = 2 * reach + 1
    most = max(1, _NUM_POSITIONS // width)
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
