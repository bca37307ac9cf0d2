"""Frozen networks and descriptors that turn a clip into an embedding.

The file name is the registry: the part of a name before the first hyphen is the public module that
makes the extractor, in `build(name, options)`; the module lists its names in `NAMES`.
"""

from kinestore.extractors._base import Extractor, ExtractorOptions, PreparedClip, embed_clip
from kinestore.extractors._clip import ClipFrames
from kinestore.extractors._frame_selection import SPACES, FrameChoice, clip_seed
from kinestore.extractors._gpus import visible_gpus
from kinestore.extractors._registry import create, create_from_options, module_of, names

__all__ = [
    "SPACES",
    "ClipFrames",
    "Extractor",
    "ExtractorOptions",
    "FrameChoice",
    "PreparedClip",
    "clip_seed",
    "create",
    "create_from_options",
    "embed_clip",
    "module_of",
    "names",
    "visible_gpus",
]
