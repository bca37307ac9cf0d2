"""The content of the explorer.

Shape legend: N clips, K neighbors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kinestore.store import UsageError


@dataclass(frozen=True, kw_only=True, eq=False)
class Page:
    """A map of clips, and what is known of each.

    Attributes:
        title: Above the map.
        caption: Settings of the layout; may have several lines.
        points: Finite, shape (N, 2).
        clip_ids: N.
        uris: Address of each file, N.
        columns: Values to color and filter clips by, such as "label", each of length N; None where
            a clip has no value.
        color: The column that is colored by first.
        captions: N or none at all.
        thumbnails: WebP files by clip_id; some or all may be absent.
        neighbors: Rows of each clip's nearest others, the nearest first, shape (N, K).
        predicted: A run's prediction of the label, N or none at all; None for no test clip.
        confidence: Of that prediction, 0 to 1, N or none at all.

    Raises:
        UsageError: If one of these is not as described here.
    """

    title: str
    caption: str
    points: NDArray[np.float32]
    clip_ids: Sequence[str]
    uris: Sequence[str]
    columns: Mapping[str, Sequence[str | None]]
    color: str
    captions: Sequence[str | None] = ()
    thumbnails: Mapping[str, bytes] = field(default_factory=dict)
    neighbors: NDArray[np.int32] | None = None
    predicted: Sequence[str | None] = ()
    confidence: Sequence[float | None] = ()

    def __post_init__(self) -> None:
        _check_points(self.points)
        num_clips = len(self.points)
        for name, values in _by_row(self).items():
            if len(values) != num_clips:
                raise UsageError(
                    f"{name}: {len(values)} values, must be one for each of the {num_clips} points"
                )
        if self.color not in self.columns:
            raise UsageError(f"color={self.color!r}: must be one of {', '.join(self.columns)}")
        if self.predicted and "label" not in self.columns:
            raise UsageError("predicted: needs a column label, to show which predictions are wrong")
        if any(one is not None and not 0 <= one <= 1 for one in self.confidence):
            raise UsageError("confidence: must be 0 to 1; pass None where there is none")
        if self.neighbors is not None:
            _check_neighbors(self.neighbors, num_clips=num_clips)


def _check_points(points: NDArray[np.float32]) -> None:
    if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
        raise UsageError(f"points: shape {points.shape}, must be (N, 2) with N of 1 or more")
    if not np.isfinite(points).all():
        raise UsageError("points: must be finite; leave out rows with NaN or infinity")


def _by_row(page: Page) -> dict[str, Sequence[object]]:
    """Return all that has a value for each clip, where it is given."""
    given: dict[str, Sequence[object]] = {"clip_ids": page.clip_ids, "uris": page.uris}
    given |= {f"columns[{name!r}]": values for name, values in page.columns.items()}
    optional: dict[str, Sequence[object]] = {
        "captions": page.captions,
        "predicted": page.predicted,
        "confidence": page.confidence,
    }
    return given | {name: values for name, values in optional.items() if len(values)}


def _check_neighbors(neighbors: NDArray[np.int32], *, num_clips: int) -> None:
    if neighbors.ndim != 2 or len(neighbors) != num_clips:
        raise UsageError(f"neighbors: shape {neighbors.shape}, must be ({num_clips}, K)")
    if neighbors.size and not (neighbors.min() >= 0 and neighbors.max() < num_clips):
        raise UsageError(f"neighbors: must be rows, 0 to {num_clips - 1}")
