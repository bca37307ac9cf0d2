"""Frozen networks and descriptors that turn a clip into an embedding.

The file name is the registry: what comes before the first hyphen of a name is the public module
that makes it, in `create(name, options)`; the module lists its names in `NAMES`.
"""

from kinestore.extractors._base import Extractor, Options, Prepared, embed_clip
from kinestore.extractors._clip import ClipFrames
from kinestore.extractors._frame_selection import SPACES, FrameChoice, clip_seed, evenly_spaced
from kinestore.extractors._gpus import visible_gpus
from kinestore.extractors._registry import create, make, module_of, names

__all__ = [
    "SPACES",
    "ClipFrames",
    "Extractor",
    "FrameChoice",
    "Options",
    "Prepared",
    "clip_seed",
    "create",
    "embed_clip",
    "evenly_spaced",
    "make",
    "module_of",
    "names",
    "visible_gpus",
]
