"""Frame samplers, and positions of crops: the public names of `extractors._samplers`."""

from kinestore.extractors import (
    FrameIndices,
    center_crop,
    center_segments,
    consecutive_clips,
    dense_clip,
    evenly_spaced,
    first_frames,
    random_clip,
    random_segments,
    stepped_frames,
    three_crop,
    uniform_clips,
)

__all__ = [
    "FrameIndices",
    "center_crop",
    "center_segments",
    "consecutive_clips",
    "dense_clip",
    "evenly_spaced",
    "first_frames",
    "random_clip",
    "random_segments",
    "stepped_frames",
    "three_crop",
    "uniform_clips",
]
