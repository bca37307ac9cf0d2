"""What is kept: clips, embeddings with their provenance, and failures."""

from kinestore.store.errors import KinestoreError, StoreError, UsageError
from kinestore.store.frames import Frames
from kinestore.store.records import (
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
from kinestore.store.store import Store
from kinestore.store.views import View

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
