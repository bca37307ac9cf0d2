"""Upsampling of a layer's small maps to the frames of the network's input.

Shape legend: T maps, h and w cells down and across, F frames, S pixels of a side.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from kinestore.heads import FeatureLayer


@dataclass(frozen=True, kw_only=True)
class Peak:
    """The place where a clip's evidence is highest.

    Attributes:
        frame: Of those that the maps are upsampled to, from 0.
        x: Pixels from the left, from 0.
        y: Pixels from above, from 0.
    """

    frame: int
    x: int
    y: int


def upsample(maps: Tensor, layer: FeatureLayer, *, num_frames: int, size: int) -> Tensor:
    """Put each cell's value at its center, and in between a mean by distance.

    Args:
        maps: Shape (T, h, w).
        layer: Layer of the maps.
        num_frames: F; the first and the last map are repeated beyond.
        size: S.

    Returns:
        Shape (F, S, S), within the range of the maps.
    """
    num_maps, height, width = maps.shape
    times = _hats(num_maps, num_frames, stride=layer.time_stride, first=layer.first_time)
    rows = _hats(height, size, stride=layer.stride, first=layer.first)
    columns = _hats(width, size, stride=layer.stride, first=layer.first)
    return torch.einsum("thw,ft,yh,xw->fyx", maps, times, rows, columns)


def find_peak(maps: Tensor, layer: FeatureLayer, *, num_frames: int, size: int) -> Peak | None:
    """Return the center of the highest cell; None where no cell is above 0.

    Arguments as for `upsample`. Of equal cells it is the first one.
    """
    if maps.max() <= 0:
        return None
    place = torch.unravel_index(maps.argmax(), maps.shape)
    time, row, column = (int(index) for index in place)
    return Peak(
        frame=_about(time, num_frames, stride=layer.time_stride, first=layer.first_time),
        x=_about(column, size, stride=layer.stride, first=layer.first),
        y=_about(row, size, stride=layer.stride, first=layer.first),
    )


def _hats(num_cells: int, num_places: int, *, stride: int, first: float) -> Tensor:
    """Return the share of each cell in each place, linear in between: (num_places, num_cells)."""
    nearest = ((torch.arange(num_places) - first) / stride).clamp(0, num_cells - 1)
    return (1 - (nearest[:, None] - torch.arange(num_cells)).abs()).relu()


def _about(cell: int, num_places: int, *, stride: int, first: float) -> int:
    """Return the center of a cell; of two places, the earlier one."""
    return min(int(first + stride * cell), num_places - 1)
