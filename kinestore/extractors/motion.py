"""`motion`: histograms of gradients, flow and motion boundaries over space-time cells.

The descriptors of the dense-trajectory family (Dense Trajectories and Motion Boundary Descriptors
for Action Recognition, 2013): HOG for appearance, HOF for motion, MBH (gradients of each flow
component) for relative motion, which a moving camera does not change. No weights.

Done differently: cells divide the whole picture and the whole clip, not tubes along trajectories,
so that a clip gives one vector of fixed length; DIS flow takes the place of Farneback's (as fast,
sharper at boundaries); each descriptor is normalized over the clip, L1 and then square root
(Hellinger), instead of L2 per cell.

Shape legend: P frame pairs, H height, W width, B orientation bins.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kinestore.extractors._base import ExtractorOptions, PreparedClip
from kinestore.extractors._clip import ClipFrames
from kinestore.samplers import evenly_spaced
from kinestore.store import Embedding, UsageError, ViewSpec

NAMES = ("motion",)
CODE_VERSION = 1

_NUM_PAIRS = 40
_SIZE = (160, 120)
"""Width and height of the resized pictures."""
_CELLS = (3, 3, 3)
"""Cells over time, height and width."""
_BINS = 8
_STILL_PIXELS = 0.4
"""Flow shorter than this, in pixels of the resized picture, counts as no motion."""

_FloatArray = NDArray[np.float32]


class MotionExtractor:
    """One vector of 891 values a clip: (8 HOG + 9 HOF + 8 MBHx + 8 MBHy) bins x 27 cells."""

    batch = 1

    def __init__(self) -> None:
        # The stubs leave out the factory's result.
        self._flow: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._cell = _cell_of_each_pixel()
        self.spec = ViewSpec(
            extractor="motion",
            shape=((4 * _BINS + 1) * int(np.prod(_CELLS)),),
            settings={
                "code": CODE_VERSION,
                "sampling": {"kind": "adjacent-pairs", "pairs": _NUM_PAIRS},
                "size": list(_SIZE),
                "cells": list(_CELLS),
                "bins": _BINS,
                "still_pixels": _STILL_PIXELS,
                "flow": "dis-medium",
            },
        )

    def prepare(self, clip: ClipFrames) -> PreparedClip:
        """Return the luma of 40 pairs of adjacent frames, evenly spaced over the clip.

        A clip of a single frame is paired with itself: it has a shape and no motion.
        """
        first = evenly_spaced(max(clip.num_frames - 1, 1), _NUM_PAIRS)
        pairs = np.stack([first, np.minimum(first + 1, clip.num_frames - 1)], axis=1)
        frames, place = np.unique(pairs, return_inverse=True)
        return PreparedClip(
            clip_id=clip.clip_id,
            pixels=clip.luma(frames, size=_SIZE)[place.reshape(pairs.shape)],
            frame_index=frames,
            pts_s=clip.pts_s[frames],
        )

    def embed(self, batch: Sequence[PreparedClip]) -> list[Embedding]:
        """Return the descriptors of each clip's pairs."""
        return [
            Embedding(
                vector=self._vector(clip.pixels), frame_index=clip.frame_index, pts_s=clip.pts_s
            )
            for clip in batch
        ]

    def _vector(self, luma_P2HW: NDArray[np.uint8]) -> _FloatArray:
        pairs = [self._describe(before, after) for before, after in luma_P2HW]
        fields = [_pool(np.stack(field)) for field in zip(*pairs, strict=True)]
        return np.concatenate(fields).astype(np.float32)

    def _describe(
        self, before: NDArray[np.uint8], after: NDArray[np.uint8]
    ) -> tuple[_FloatArray, _FloatArray, _FloatArray, _FloatArray]:
        """Return HOG, HOF, MBHx and MBHy of one pair: each float32, shape (cells, bins)."""
        flow = self._flow.calc(before, after, None)
        across, down = np.ascontiguousarray(flow[..., 0]), np.ascontiguousarray(flow[..., 1])
        length, angle = cv2.cartToPolar(across, down)
        still = length < _STILL_PIXELS
        hof = np.concatenate(
            [
                self._histogram(np.where(still, 0, length), angle),
                np.bincount(self._cell, still.ravel(), _CELLS[1] * _CELLS[2])[:, None],
            ],
            axis=1,
        )
        hog = self._histogram(*_gradient(before.astype(np.float32)))
        mbh = [self._histogram(*_gradient(component)) for component in (across, down)]
        return hog, hof.astype(np.float32), mbh[0], mbh[1]

    def _histogram(self, weight: Any, angle: Any) -> _FloatArray:
        """Return the orientation histogram of each cell; the two nearest bins share a weight.

        Args:
            weight: 0 or more, shape (H, W).
            angle: Radians in [0, 2 pi], shape (H, W).

        Returns:
            float32, shape (cells, B).
        """
        place = angle.ravel() * (_BINS / (2 * np.pi))
        lower = np.floor(place)
        share = place - lower
        flat_weight = weight.ravel()
        low = lower.astype(np.int64) % _BINS
        size = _CELLS[1] * _CELLS[2] * _BINS
        total = np.bincount(self._cell * _BINS + low, flat_weight * (1 - share), size)
        total += np.bincount(self._cell * _BINS + (low + 1) % _BINS, flat_weight * share, size)
        return total.reshape(-1, _BINS).astype(np.float32)


def build(name: str, options: ExtractorOptions) -> MotionExtractor:
    """Make the extractor; it runs on the CPU for every device.

    Raises:
        UsageError: If weights or keyframes are given: it has neither.
    """
    if options.weights is not None:
        raise UsageError(f"weights {options.weights}: {name} has no weights; leave them out")
    if options.frame_choice.kind not in (None, "uniform"):
        raise UsageError(
            f"sampling={options.frame_choice.kind!r}: {name} compares adjacent frames, evenly over "
            "the clip; leave sampling out"
        )
    return MotionExtractor()


def _cell_of_each_pixel() -> NDArray[np.int64]:
    """Return the spatial cell of each pixel, row by row: int64, shape (H * W,)."""
    row = np.arange(_SIZE[1]) * _CELLS[1] // _SIZE[1]
    column = np.arange(_SIZE[0]) * _CELLS[2] // _SIZE[0]
    cell: NDArray[np.int64] = (row[:, None] * _CELLS[2] + column[None, :]).ravel()
    return cell


def _gradient(picture: _FloatArray) -> tuple[Any, Any]:
    """Return length and angle of the central difference, each float32, shape (H, W)."""
    across = cv2.Sobel(picture, cv2.CV_32F, 1, 0, ksize=1)
    down = cv2.Sobel(picture, cv2.CV_32F, 0, 1, ksize=1)
    return cv2.cartToPolar(across, down)


def _pool(histograms: _FloatArray) -> _FloatArray:
    """Sum over cells of time, then normalize over the clip.

    Args:
        histograms: One for each pair, in time order, float32, shape (P, cells, bins).

    Returns:
        float32, shape (_CELLS[0] * cells * bins,); squares sum to 1, or all is 0.
    """
    cells = np.stack([part.sum(0) for part in np.array_split(histograms, _CELLS[0])])
    flat = cells.ravel()
    return np.sqrt(flat / max(float(flat.sum()), 1e-6)).astype(np.float32)
