"""What is kept: clips, embeddings with their provenance, and failures."""

from store.errors import KinestoreError, StoreError, UsageError
from store.frames import Frames
from store.records import (
    MADE_GOOD,
    Clip,
    Embedding,
    Failure,
    Features,
    FramesSpec,
    Snapshot,
    Source,
    VideoInfo,
    ViewSpec,
)
from store.store import Store
from store.views import View

__all__ = [
    "MADE_GOOD",
    "Clip",
    "Embedding",
    "Failure",
    "Features",
    "Frames",
    "FramesSpec",
    "KinestoreError",
    "Snapshot",
    "Source",
    "Store",
    "StoreError",
    "UsageError",
    "VideoInfo",
    "View",
    "ViewSpec",
]
