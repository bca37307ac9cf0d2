"""Frozen networks and descriptors that turn a clip into an embedding.

The file name is the registry: the part of a name before the first hyphen is the public module that
makes the extractor, in `build(name, options)`; the module lists its names in `NAMES`.
"""

from kinestore.extractors._architecture import Architecture, architecture_of
from kinestore.extractors._base import Extractor, ExtractorOptions, PreparedClip, embed_clip
from kinestore.extractors._clip import ClipFrames
from kinestore.extractors._frame_selection import SPACES, FrameChoice, clip_seed
from kinestore.extractors._gpus import visible_gpus
from kinestore.extractors._registry import create, create_from_options, module_of, names
from kinestore.extractors._samplers import (
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
    "SPACES",
    "Architecture",
    "ClipFrames",
    "Extractor",
    "ExtractorOptions",
    "FrameChoice",
    "FrameIndices",
    "PreparedClip",
    "architecture_of",
    "center_crop",
    "center_segments",
    "clip_seed",
    "consecutive_clips",
    "create",
    "create_from_options",
    "dense_clip",
    "embed_clip",
    "evenly_spaced",
    "first_frames",
    "module_of",
    "names",
    "random_clip",
    "random_segments",
    "stepped_frames",
    "three_crop",
    "uniform_clips",
    "visible_gpus",
]
