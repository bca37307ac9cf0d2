"""The feature store: clips, embeddings with their provenance, and failures."""

from kinestore.store.errors import KinestoreError, StoreError, UsageError
from kinestore.store.features import Features
from kinestore.store.frames import StoredFrames
from kinestore.store.records import (
    MASKED,
    RESOLVED,
    Clip,
    Embedding,
    Failure,
    FramesSpec,
    Snapshot,
    Source,
    VideoInfo,
    ViewSpec,
)
from kinestore.store.store import Store
from kinestore.store.views import View

__all__ = [
    "MASKED",
    "RESOLVED",
    "Clip",
    "Embedding",
    "Failure",
    "Features",
    "FramesSpec",
    "KinestoreError",
    "Snapshot",
    "Source",
    "Store",
    "StoreError",
    "StoredFrames",
    "UsageError",
    "VideoInfo",
    "View",
    "ViewSpec",
]
