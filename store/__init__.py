"""What is kept: clips, embeddings with their provenance, and failures."""

from store.errors import KinestoreError, StoreError, UsageError
from store.records import Clip, Embedding, Failure, Features, Source, VideoInfo, ViewSpec

__all__ = [
    "Clip",
    "Embedding",
    "Failure",
    "Features",
    "KinestoreError",
    "Source",
    "StoreError",
    "UsageError",
    "VideoInfo",
    "ViewSpec",
]
