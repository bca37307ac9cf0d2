"""Views side by side: one row per clip, joined by clip_id and never by position.

Shape legend: N clips, T frames, D features of all columns together.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinestore.store.errors import UsageError
from kinestore.store.pooling import pool_sequence, pooled_shape
from kinestore.store.views import View

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Column:
    """A view, and the pool that makes a vector of its sequences."""

    view: View
    pool: str

    @property
    def shape(self) -> Shape:
        """Shape of one clip: (D,), or (T, D) for a whole sequence."""
        return pooled_shape(self.view.spec.shape, pool=self.pool)


def joined_shape(columns: Sequence[Column]) -> Shape:
    """Return the shape of one clip's row.

    Raises:
        UsageError: If a whole sequence is joined with anything else.
    """
    shapes = [column.shape for column in columns]
    if len(shapes) == 1:
        return shapes[0]
    if any(len(shape) > 1 for shape in shapes):
        named = ",".join(column.view.name for column in columns)
        raise UsageError(f"features={named}: a ':sequence' stands alone")
    return (sum(shape[0] for shape in shapes),)


def complete_clips(columns: Sequence[Column]) -> list[str]:
    """Return the clips that every view has, sorted."""
    return sorted(set.intersection(*(column.view.clip_ids() for column in columns)))


def sequence_mask(clip_ids: Collection[str], columns: Sequence[Column]) -> NDArray[np.bool_] | None:
    """Return which steps of these clips have a frame, bool, shape (N, T).

    None if the columns are no whole sequence, or one whose view has no masks.
    """
    if len(columns) > 1 or len(columns[0].shape) == 1 or not columns[0].view.spec.masked:
        return None
    row_of = {clip: row for row, clip in enumerate(clip_ids)}
    found = np.ones((len(row_of), columns[0].shape[0]), np.bool_)
    for clips, mask in columns[0].view.masks():
        for clip, steps in zip(clips, mask, strict=True):
            if clip in row_of:
                found[row_of[clip]] = steps
    return found


def fill_rows(
    out: NDArray[np.floating], clip_ids: Collection[str], columns: Sequence[Column]
) -> None:
    """Write the rows of these clips, part by part, so that no view is in memory as a whole.

    Args:
        out: Shape (N, *joined_shape(columns)).
        clip_ids: Clip of each row; every view must have it.
        columns: Views to join, side by side.
    """
    row_of = {clip: row for row, clip in enumerate(clip_ids)}
    begin = 0
    for column in columns:
        width = column.shape[-1]
        for clips, values, mask in column.view.masked_blocks():
            rows = np.array([row_of.get(clip, -1) for clip in clips], np.int64)
            kept = rows >= 0
            if not kept.all():
                rows, values = rows[kept], values[kept]
                mask = None if mask is None else mask[kept]
            if len(column.view.spec.shape) == 2:
                sequence = values.astype(np.float32, copy=False)
                values = pool_sequence(sequence, pool=column.pool, mask=mask)
            with np.errstate(over="ignore"):  # what float16 does not hold becomes infinite
                out[rows, ..., begin : begin + width] = values
        begin += width
